# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File systems over pools: which places they may have, and the systemd units that mount them.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ._sandbox import SANDBOX
from ._units import kernel_size

HUGETLBFS = "hugetlbfs"
DMEMFS = "dmemfs"
MODULE_SERVICE = "carveout-dmemfs.service"
OWNER_SERVICE = "carveout-dmemfs-owner.service"
#: No character that a unit file, a shell or mount(8) could read as more than itself.
_PATH = re.compile(r"(?:/[A-Za-z0-9_.-]{1,64}){1,16}")
#: What the system has there: a mount would hide it.
_TAKEN = frozenset(
    {
        "/bin", "/boot", "/dev", "/dev/carveout", "/dev/hugepages", "/dev/mqueue", "/dev/pts", "/dev/shm", "/etc",
        "/home", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/media", "/mnt", "/opt", "/proc", "/root",
        "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/cache", "/var/lib", "/var/local", "/var/log",
        "/var/run", "/var/spool", "/var/tmp",
    }
)  # fmt: skip
_BELOW = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr")


@dataclass(frozen=True)
class Mount:
    """A file system of ``kind`` over a pool, in pages of ``page_size``, of at most ``size`` bytes."""

    pool: str
    kind: str
    path: str
    page_size: int
    size: int
    owner: str = "root"
    group: str = "root"
    mode: str = "0755"

    @property
    def unit(self) -> str:
        return unit_name(self.path)


def path_problem(path: object) -> str:
    """Why nothing can be mounted there; empty where it can."""
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        return (
            f"{path!r} is not a place for a mount: an absolute path of letters, digits, '_', '-' and '.' is "
            "expected, without a slash at its end"
        )
    if any(part in (".", "..") for part in path.split("/")):
        return f"{path!r} has a part that is '.' or '..'; write the path itself"
    if path in _TAKEN or path.startswith(tuple(f"{top}/" for top in _BELOW)):
        return (
            f"{path!r} is the system's own; use a place such as /mnt/NAME, /dev/NAME or /var/lib/NAME/pages"
        )
    return ""


def unit_name(path: str) -> str:
    r"""The mount unit's name, as ``systemd-escape --path`` makes it: ``/a-b/c`` gives ``a\x2db-c.mount``."""
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_."
    text = path.strip("/")
    result = ""
    for index, char in enumerate(text):
        if char == "/":
            result += "-"
        elif char in plain and not (index == 0 and char == "."):
            result += char
        else:
            result += "".join(f"\\x{byte:02x}" for byte in char.encode())
    return f"{result}.mount"


def unit_text(mount: Mount, header: str, target: str) -> str:
    """The unit: it mounts at boots that are for a layout, before the target is reached.

    Names of accounts are turned into numbers by mount(8) (libmount, mnt_optstr_fix_uid). dmemfs takes nothing
    but its page size, so owner and mode are set by a service that the mount pulls in.
    """
    options = [f"pagesize={kernel_size(mount.page_size)}", "nosuid", "nodev"]
    what, services = "Files", f"Wants={MODULE_SERVICE} {OWNER_SERVICE}\nAfter={MODULE_SERVICE}\n"
    if mount.kind == HUGETLBFS:
        what, services = "Huge pages", ""
        own = [f"size={mount.size}", f"uid={mount.owner}", f"gid={mount.group}", f"mode={mount.mode}"]
        options[1:1] = own
    return f"""\
{header}
[Unit]
Description={what} of the Carveout pool {mount.pool}
ConditionKernelCommandLine=carveout.layout
{services}Before={target}

[Mount]
What={mount.kind}
Where={mount.path}
Type={mount.kind}
Options={",".join(options)}
"""


def service_texts(mounts: Sequence[Mount], header: str, target: str) -> dict[str, str]:
    """Text by name of the services around a dmemfs mount: one loads its module, one sets owner and mode.

    The module has no alias that mount(2) would load it by (fs/dmemfs/inode.c); the directory comes up with
    mode 0000.
    """
    found = [mount for mount in mounts if mount.kind == DMEMFS]
    if not found:
        return {}
    mount = found[0]
    module = f"""\
{header}
[Unit]
Description=Load dmemfs for the Carveout pool {mount.pool}
ConditionKernelCommandLine=carveout.layout
# Mounts come before local-fs.target, and that before all that has the usual dependencies.
DefaultDependencies=no
Conflicts=shutdown.target
Before={mount.unit} shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/sbin/modprobe dmemfs
CapabilityBoundingSet=CAP_SYS_MODULE
SystemCallFilter=@system-service @module
RestrictAddressFamilies=none
UMask=0077
{SANDBOX}"""
    owner = f"""\
{header}
[Unit]
Description=Owner and mode of {mount.path}
ConditionKernelCommandLine=carveout.layout
BindsTo={mount.unit}
After={mount.unit}
Before={target}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/chown -- {mount.owner}:{mount.group} {mount.path}
ExecStart=/bin/chmod -- {mount.mode} {mount.path}
CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_DAC_READ_SEARCH
SystemCallFilter=@system-service
RestrictAddressFamilies=AF_UNIX
UMask=0077
PrivateNetwork=yes
{SANDBOX}"""
    return {MODULE_SERVICE: module, OWNER_SERVICE: owner}
