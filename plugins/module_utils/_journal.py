# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have a file system write its journal to where a boot loader reads.

GRUB reads ext4 and xfs as they lie on the disk and replays no journal (grub-core/fs/ext2.c, xfs.c). What fsync(2) made
durable may stand in the journal alone: after a power cut Linux finds the new file, GRUB the directory and the inode of
before, whose blocks may hold something else by then.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

#: ``_IOW('f', 43, __u32)``: write the journal to its places (fs/ext4/ioctl.c, ext4_ioctl_checkpoint; Linux 5.14).
_EXT4_CHECKPOINT = 0x4004662B
#: ``_IOWR('X', 119, int)`` and 120: a frozen file system has nothing in its log (fs/ioctl.c).
_FREEZE, _THAW = 0xC0045877, 0xC0045878
#: File systems with a journal that GRUB does not replay.
_JOURNALED = ("ext3", "ext4", "xfs")


def settle(directory: str) -> None:
    """Return when what was done in ``directory`` is where a reader finds it that knows no journal.

    Does what is possible: nothing more than syncing where the file system has no journal, or does not let us.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _checkpoint(handle):
            return
        ctypes.CDLL(None).syncfs(handle)
        if _type_of(os.fstat(handle).st_dev) in _JOURNALED:
            _freeze_and_thaw(handle)
    finally:
        os.close(handle)


def _checkpoint(handle: int) -> bool:
    """Whether the file system took it: it commits what was done before, too."""
    try:
        fcntl.ioctl(handle, _EXT4_CHECKPOINT, (0).to_bytes(4, "little"))
    except OSError as error:
        # ENODEV: an ext4 without a journal
        return error.errno == errno.ENODEV
    return True


def _freeze_and_thaw(handle: int) -> None:
    """What other file systems than ext4 since 5.14 write their log by.

    A process of its own thaws: it also does where this one is killed in between, and would leave a host that can
    write nothing any more.
    """
    waiting, done = os.pipe()
    guard = os.fork()
    if not guard:
        os.close(done)
        os.setsid()
        os.read(waiting, 1)
        try:
            fcntl.ioctl(handle, _THAW, 0)
        finally:
            os._exit(0)
    os.close(waiting)
    try:
        fcntl.ioctl(handle, _FREEZE, 0)
    except OSError:
        pass  # not root, or frozen by somebody else: nothing of ours to thaw
    finally:
        os.close(done)
        os.waitpid(guard, 0)


def _type_of(device: int) -> str:
    """The type of the mounted file system on a device, empty where it is not mounted here (proc_pid_mountinfo(5))."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            fields = line.split(" ")
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return ""
