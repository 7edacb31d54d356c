# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one small interface through which the boot-loader and DAX rooms act on a host.

Everything else in the core computes. Whoever acts is handed a :class:`System`; the real one is
:class:`RealSystem`, a test may hand in another.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from ._journal import settle

#: Nothing that Carveout reads is nearly as long; what is has no business where it stands.
_MAX_READ = 64 << 20

#: The extended attribute that holds a file's SELinux label.
_LABEL = "security.selinux"


class Completed(NamedTuple):
    """What a command left: its status and its output as text."""

    status: int
    stdout: str
    stderr: str


class Stat(NamedTuple):
    """What ``stat(2)`` says of a file, links followed.

    ``mode`` holds type and permissions; ``device`` is the number of the device that a node stands
    for (0 for others), ``modified`` nanoseconds since 1970, ``size`` bytes (sysfs and procfs make it up).
    """

    mode: int
    uid: int
    gid: int
    device: int
    modified: int
    size: int = 0


class System(Protocol):
    """What acting rooms may do. Paths are absolute as the host knows them."""

    def read(self, path: str) -> str | None:
        """Text of a regular file, None where it does not exist. Raises OSError for other reasons.

        Nothing is translated: encoded as UTF-8 with ``surrogateescape`` it gives the file's bytes.
        """

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Replace a file: written beside it, synced, renamed over, the directory synced.

        The SELinux label of the file before stays. What a killed run left of a file is overwritten.
        """

    def write_boot(self, path: str, text: str, mode: int = 0o644) -> None:
        """The same for a file that a boot loader reads, which replays no journal: see :mod:`._journal`.

        At every moment it finds the old file or the new one, whole.
        """

    def write_sysfs(self, path: str, text: str, seconds: int = 0) -> None:
        """One write into an existing attribute, never creating a file.

        Raises OSError; ETIMEDOUT where the kernel is still at it after so many seconds (0: however long it takes).
        """

    def remove(self, path: str) -> bool:
        """Remove a file; False where there was none."""

    def remove_boot(self, path: str) -> bool:
        """The same for a file that a boot loader reads: it finds the whole file or none."""

    def listdir(self, path: str) -> list[str]:
        """Sorted names in a directory, empty where it does not exist."""

    def readlink(self, path: str) -> str | None:
        """Target of a link, None where there is none."""

    def stat(self, path: str) -> Stat | None:
        """What a file is and whose, None where it does not exist or may not be looked at."""

    def run(self, argv: Sequence[str]) -> Completed:
        """Run a program without a shell. Bytes of its output that are not UTF-8 are shown as ``\\xNN``.

        Status 127: it could not be started; 124: it was stopped because it came to no end.
        """


#: How the name of a file begins that stands beside its target for a moment; boot loaders, systemd and sh's `*` pass
#: over such names.
BESIDE = ".carveout-"


def _beside(target: str, what: str) -> str:
    directory, name = os.path.split(target)
    return f"{directory}/{BESIDE}{name}.{what}"


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _time_is_up(signum: int, frame: object) -> None:
    # a signal is what makes the kernel give up a wait (mm/memory_hotplug.c, offline_pages)
    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class RealSystem:
    """The host itself, or a tree of files below ``root`` (programs then are not run there).

    A program may take ``longest`` seconds.
    """

    def __init__(self, root: str = "/", longest: float = 1800) -> None:
        self._root = root.rstrip("/")
        self._longest = longest

    def _path(self, path: str) -> str:
        return self._root + path

    def read(self, path: str) -> str | None:
        try:
            # a pipe left where a file belongs must not block us
            handle = os.open(self._path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "not a regular file", path)
        # unbuffered and in small pieces: /proc/sys answers large reads with "out of memory"
        pieces: list[bytes] = []
        length = 0
        with open(handle, "rb", buffering=0) as file:
            while length <= _MAX_READ:
                piece = file.read(1 << 16)
                if not piece:
                    return b"".join(pieces).decode("utf-8", "surrogateescape")
                pieces.append(piece)
                length += len(piece)
        raise OSError(errno.EFBIG, f"longer than {_MAX_READ} bytes", path)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self._path(path)
        new = _beside(target, "new")
        try:
            self._stage(new, target, text, mode)
            os.replace(new, target)
        except BaseException:
            _unlink(new)
            raise
        self._sync_directory(os.path.dirname(target))

    def write_boot(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self._path(path)
        directory, new, old = os.path.dirname(target), _beside(target, "new"), _beside(target, "old")
        try:
            self._stage(new, target, text, mode)
            _unlink(old)
            # the blocks of the file before stay its own as long as a loader may look there; FAT has no links, and
            # no journal either
            with suppress(OSError):
                os.link(target, old)
            # all but the name: what is left then is one sector of the directory, old or new
            self._settle(directory)
            os.replace(new, target)
            self._settle(directory)
        finally:
            _unlink(new)
            _unlink(old)
        self._sync_directory(directory)

    def _stage(self, new: str, target: str, text: str, mode: int) -> None:
        """The file-to-be, synced, under its name ``new``."""
        self._make_directory(os.path.dirname(target))
        # what a run that was killed left there goes; what somebody else puts there meanwhile is not written to
        _unlink(new)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(
            os.open(new, flags, 0o600), "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            file.write(text)
            file.flush()
            self._keep_label(target, file.fileno())
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())

    @classmethod
    def _make_directory(cls, path: str) -> None:
        """With what is missing above it. A umask counts for nothing: everybody may look, only the owner may write."""
        if os.path.isdir(path):
            return
        cls._make_directory(os.path.dirname(path))
        with suppress(FileExistsError):  # another run was quicker
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)

    @staticmethod
    def _keep_label(target: str, handle: int) -> None:
        # a new file has its directory's label: /etc/default/grub, for one, is of a type of its own
        try:
            label = os.getxattr(target, _LABEL)
        except OSError:
            return  # there is none: no file before, or no SELinux
        os.setxattr(handle, _LABEL, label)

    @staticmethod
    def _sync_directory(directory: str) -> None:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def write_sysfs(self, path: str, text: str, seconds: int = 0) -> None:
        # One write(2) only: the kernel takes each as a command of its own. No O_CREAT, so that a
        # mistaken path can never leave a file behind.
        handle = os.open(self._path(path), os.O_WRONLY)
        before = signal.signal(signal.SIGALRM, _time_is_up) if seconds else None
        try:
            if seconds:
                signal.alarm(seconds)
            os.write(handle, text.encode())
        finally:
            if seconds:
                signal.alarm(0)
                signal.signal(signal.SIGALRM, before)
            os.close(handle)

    def remove(self, path: str) -> bool:
        target = self._path(path)
        _unlink(_beside(target, "new"))
        if not _unlink(target):
            return False
        self._sync_directory(os.path.dirname(target))
        return True

    def remove_boot(self, path: str) -> bool:
        target = self._path(path)
        old = _beside(target, "old")
        try:
            os.replace(target, old)
        except FileNotFoundError:
            return False
        self._settle(os.path.dirname(target))
        _unlink(old)
        self.remove(path)  # and what a killed run left beside it
        return True

    def _settle(self, directory: str) -> None:
        # a tree of files is no disk that anything boots from
        if not self._root:
            settle(directory)

    def listdir(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self._path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def readlink(self, path: str) -> str | None:
        try:
            return os.readlink(self._path(path))
        except OSError:
            return None

    def stat(self, path: str) -> Stat | None:
        try:
            found = os.stat(self._path(path))
        except OSError:
            return None
        return Stat(
            found.st_mode, found.st_uid, found.st_gid, found.st_rdev, found.st_mtime_ns, found.st_size
        )

    def run(self, argv: Sequence[str]) -> Completed:
        try:
            # os-prober has grub-mkconfig print the names of other systems in whatever encoding they have
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8", errors="backslashreplace",
                # who became root by su has a user's PATH: grub-mkconfig then finds no grub-probe
                env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
                # what it starts itself ends with it
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return Completed(127, "", f"{argv[0]}: {error.strerror}")
        try:
            output, errors = process.communicate(timeout=self._longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            return Completed(
                124, output, f"{errors}{argv[0]}: no end within {self._longest:g} s; it was stopped"
            )
        return Completed(process.returncode, output, errors)
