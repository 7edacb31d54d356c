# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Raw reads: texts of /proc and of the device files, parsed here anew.

Nothing of the core's readers is used, so that a mistake in one of them cannot hide itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

_PROC = ("/proc/cmdline", "/proc/iomem", "/proc/meminfo")
_NOTED = "/run/carveout/layout"
_DEVICES = "==> device files <=="
_WRITABLE = "==> writable files <=="
#: What is ours on a host and steers what root does there.
_OURS = (
    "/usr/lib/carveout /etc/carveout /etc/default/grub.d/zz-carveout.cfg /etc/systemd/system/carveout* "
    "/etc/systemd/system/*.service.d/50-carveout.conf"
)
_POOL = "/sys/kernel/debug/dmem"
#: f_type of dmemfs (DMEMFS_MAGIC), as stat(1) prints it.
_DMEMFS = "2ace90c6"
#: Touches both ends of a page of a new file. The file has no name any more when that is done: a SIGBUS leaves
#: nothing behind.
TOUCH = """\
import mmap, os, sys
path, size = f"{sys.argv[1]}/.carveout-{os.getpid()}", int(sys.argv[2])
file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.unlink(path)
os.ftruncate(file, size)
memory = mmap.mmap(file, size)
memory[0], memory[size - 1] = 90, 165
print("touched" if (memory[0], memory[size - 1]) == (90, 165) else "reads otherwise than it was written")
"""


class Resource(NamedTuple):
    """A line of /proc/iomem: first and last byte."""

    first: int
    last: int
    name: str


class DeviceFile(NamedTuple):
    """What ``readlink`` and ``stat`` say of a link and of what it points to."""

    target: str
    kind: str
    mode: str
    owner: str
    group: str


class Raw(NamedTuple):
    """``mem_total`` and ``hugetlb`` are in KiB; ``files`` are by device name.

    ``noted`` is the layout that the host says it has. ``touched`` is, by mount, what came of touching a file of
    dmemfs. ``writable`` are files and folders of ours that others than root may write.
    """

    cmdline: str
    iomem: tuple[Resource, ...]
    mem_total: int
    files: dict[str, DeviceFile]
    noted: str = ""
    hugetlb: int = 0
    touched: Mapping[str, str] = MappingProxyType({})
    writable: tuple[str, ...] = ()


def raw_texts_command(layout: Layout) -> str:
    """The command that shows what the raw checks want to see of a host with this layout."""
    mounts = [(mount.path, mount.page_size) for mount in layout.mounts if mount.kind == "dmemfs"]
    return raw_command([device.name for device in layout.devices], mounts)


def raw_command(names: Sequence[str], mounts: Sequence[tuple[str, int]] = ()) -> str:
    """For the host's shell: five texts with a heading each, then a line for every device and every dmemfs mount.

    ``mounts`` are places with the size of their pages.
    """
    links = " ".join(shlex.quote(f"/dev/carveout/{name}") for name in names)
    lines = (
        'printf "%s|%s|%s\\n" "${link##*/}" "$(readlink -f -- "$link")" '
        '"$(stat -L -c \'%F|%a|%U|%G\' -- "$link" 2>&1)"'
    )
    writable = rf"find {_OURS} ! -type l \( -perm /022 -o ! -uid 0 \) 2>/dev/null"
    noted = f"echo '==> {_NOTED} <=='; cat {_NOTED} 2>/dev/null; echo '{_WRITABLE}'; {writable}; echo '{_DEVICES}'"
    command = f"LC_ALL=C tail -v -n +1 {' '.join(_PROC)} && {{ {noted}; }}"
    if names:
        command += f" && for link in {links}; do {lines}; done"
    if mounts:
        command += " && echo '==> dmemfs files <=='"
    return " && ".join([command, *(_touch(path, page_size) for path, page_size in mounts)])


def _touch(path: str, page_size: int) -> str:
    """One line: the mount, and ``touched``, ``full`` (nothing is free), ``empty`` or what went wrong.

    The pool is looked at first, and the touch has a time limit: over an empty pool it never ends.
    """
    place = shlex.quote(path)
    touch = f"timeout -k 5 30 python3 -B -c {shlex.quote(TOUCH)} {place} {page_size} 2>&1 | tail -n 1"
    number = f"$(cat {_POOL}/%s 2>/dev/null || echo unknown)"
    return (
        f"printf '%s|' {place}; if [ \"$(stat -f -c %t -- {place})\" != {_DMEMFS} ]; then echo 'no dmemfs is mounted'; "
        f'elif [ "{number % "registered_pages"}" = 0 ]; then echo empty; '
        f'elif [ "{number % "free_dpages"}" = 0 ]; then echo full; '
        f'else said="$({touch})"; echo "${{said:-it ended before it was done: SIGBUS, or after 30 seconds}}"; fi'
    )


def parse_raw(text: str) -> Raw:
    parts = re.split(r"^==> (.+) <==$\n?", text, flags=re.MULTILINE)
    texts: dict[str, str] = dict(zip(parts[1::2], parts[2::2], strict=True))
    resources = []
    for line in texts.get("/proc/iomem", "").splitlines():
        addresses, _, name = line.strip().partition(" : ")
        first, _, last = addresses.partition("-")
        resources.append(Resource(int(first or "0", 16), int(last or "0", 16), name))
    total = re.search(r"^MemTotal: +(\d+) kB$", texts.get("/proc/meminfo", ""), re.MULTILINE)
    huge = re.search(r"^Hugetlb: +(\d+) kB$", texts.get("/proc/meminfo", ""), re.MULTILINE)
    files = {}
    for entry in texts.get("device files", "").splitlines():
        words = [*entry.split("|"), "", "", "", "", ""]
        files[words[0]] = DeviceFile(*words[1:6])
    touched = dict(line.partition("|")[::2] for line in texts.get("dmemfs files", "").splitlines())
    cmdline, noted = (texts.get(name, "").strip() for name in ("/proc/cmdline", _NOTED))
    hugetlb = int(huge[1]) if huge else 0
    writable = tuple(texts.get("writable files", "").splitlines())
    return Raw(
        cmdline, tuple(resources), int(total[1]) if total else 0, files, noted, hugetlb, touched, writable
    )
