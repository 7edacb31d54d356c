# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The initrd that looks at a kernel and switches it off: one busybox, one script, a few modules."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

#: Every line of the report that is not a file's text starts so.
MARK = "@@@"

#: What is printed file by file; patterns of the shell.
FILES = (
    "/proc/cmdline",
    "/proc/meminfo",
    "/proc/version",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/sys/bus/dax/devices/*/align",
    "/sys/bus/dax/devices/*/numa_node",
    "/sys/bus/dax/devices/*/resource",
    "/sys/bus/dax/devices/*/size",
    "/sys/bus/dax/devices/*/target_node",
    "/sys/devices/platform/hmem*/dax_region/available_size",
    "/sys/devices/platform/hmem*/dax_region/id",
    "/sys/devices/platform/hmem*/dax_region/size",
    "/sys/devices/platform/hmem*/hmem*/dax_region/available_size",
    "/sys/devices/platform/hmem*/hmem*/dax_region/id",
    "/sys/devices/platform/hmem*/hmem*/dax_region/size",
    "/sys/devices/system/memory/block_size_bytes",
    "/sys/devices/system/node/has_memory",
    "/sys/devices/system/node/node*/hugepages/*/nr_hugepages",
    "/sys/devices/system/node/node*/meminfo",
    "/sys/devices/system/node/online",
    "/sys/devices/system/node/possible",
    "/sys/firmware/memmap/*/end",
    "/sys/firmware/memmap/*/start",
    "/sys/firmware/memmap/*/type",
    "/sys/kernel/mm/hugepages/*/nr_hugepages",
)

_TABLES = "/sys/firmware/acpi/tables"
_REGULAR, _DIRECTORY = 0o100000, 0o040000


class Entry(NamedTuple):
    """A file or, with ``data`` None, a directory."""

    name: str
    data: bytes | None
    mode: int


def newc(entries: Iterable[Entry]) -> bytes:
    """A cpio archive in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    archive = bytearray()
    for number, entry in enumerate((*entries, Entry("TRAILER!!!", b"", 0)), 1):
        kind = _DIRECTORY if entry.data is None else _REGULAR
        data = entry.data or b""
        name = entry.name.encode() + b"\0"
        fields = (
            number,
            kind | entry.mode if entry.mode else 0,
            0,
            0,
            1,
            0,
            len(data),
            0,
            0,
            0,
            0,
            len(name),
            0,
        )
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += b"\0" * (-len(archive) % 4)
        archive += data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def build(busybox: bytes, modules: Mapping[str, bytes], script: str) -> bytes:
    """An initrd of ``busybox``, kernel modules (name without .ko to content) and ``/init``."""
    return newc(
        (
            *(Entry(name, None, 0o755) for name in ("bin", "dev", "modules", "proc", "sys")),
            Entry("bin/busybox", busybox, 0o755),
            *(Entry(f"modules/{name}.ko", data, 0o644) for name, data in sorted(modules.items())),
            Entry("init", script.encode(), 0o755),
        )
    )


def init_script(modules: Sequence[str], files: Sequence[str], commands: str) -> str:
    """``/init``: load modules ("name parameter=value ..."), print what is to be known, switch off.

    /proc/iomem is printed before any module is loaded, and again afterwards. ``commands`` (of a shell in which all
    of busybox's programs are found) run last; what they print is the section "commands".
    """
    load = [f"insmod /modules/{shlex.join([w[0] + '.ko', *w[1:]])}" for w in map(str.split, modules)]
    lines = [
        "#!/bin/busybox sh",
        "/bin/busybox mkdir -p /tmp",
        "/bin/busybox --install -s /bin",
        "export PATH=/bin",
        "mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys",
        "exec > /dev/ttyS0 2>&1",
        "stty raw 2>/dev/null",
        f"s() {{ echo; echo '{MARK}' \"$@\"; }}",
        "s section iomem; cat /proc/iomem",
        "s section modules",
        *load,
        "s section dmesg; dmesg -s 4194304",
        "s section iomem-after; cat /proc/iomem",
        f"s section files; grep -H '' {' '.join((*FILES, *files))} 2>/dev/null",
        "s section drivers; for d in /sys/bus/dax/devices/*; do"
        " [ -e $d/driver ] && echo ${d##*/} $(readlink $d/driver); done",
        f"for t in SRAT HMAT SLIT; do [ -e {_TABLES}/$t ] && s table $t && xxd -p {_TABLES}/$t; done",
    ]
    if commands:
        lines += ["s section commands", commands]
    lines += ["s section end; cat /proc/uptime", f"echo '{MARK} done'", "reboot -f", ""]
    return "\n".join(lines)
