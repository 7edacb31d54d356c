# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Huge pages of the running host: how many on which node, and the file systems that hand them out.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
import stat
from typing import Any

from .._dax.accounts import account_name
from .._mounts import DMEMFS, HUGETLBFS
from .._system import System
from .._units import KIB, memparse
from .files import Reader
from .text import printable

_NODES = "/sys/devices/system/node"
_ONE_NODE = "/sys/kernel/mm/hugepages"
_SIZE = re.compile(r"hugepages-([1-9]\d{0,14})kB")
_VMEMMAP = "/proc/sys/vm/hugetlb_optimize_vmemmap"
_MANY_MOUNTS = 1000


def read_pages(reader: Reader) -> dict[str, dict[str, int]]:
    """Pages by node and by size in bytes; all are node 0's where the kernel lists no nodes (no CONFIG_NUMA)."""
    found = {}
    for name in reader.names(_NODES):
        if re.fullmatch(r"node\d{1,4}", name):
            found[str(int(name[4:]))] = _sizes(reader, f"{_NODES}/{name}/hugepages")
    return found or {"0": _sizes(reader, _ONE_NODE)}


def _sizes(reader: Reader, path: str) -> dict[str, int]:
    result = {}
    for name in reader.names(path):
        size = _SIZE.fullmatch(name)
        count = reader.line(f"{path}/{name}/nr_hugepages") if size else ""
        if size and re.fullmatch(r"\d{1,15}", count):
            result[str(int(size[1]) * KIB)] = int(count)
    return result


def read_vmemmap(reader: Reader) -> bool | None:
    """Whether struct pages of huge pages are given back; None where the kernel does not say (before 5.19)."""
    text = reader.line(_VMEMMAP)
    return text == "1" if text in ("0", "1") else None


def read_mounts(reader: Reader, system: System) -> list[dict[str, Any]]:
    """Mounted file systems of huge pages (fs/hugetlbfs/inode.c, hugetlbfs_show_options) and of dmemfs.

    dmemfs tells no page size here (its dmemfs_show_options prints one only where it is wrong): 0.
    """
    result: list[dict[str, Any]] = []
    for line in (reader.text("/proc/mounts", 4 << 20) or "").splitlines():
        fields = line.split(" ")
        if len(fields) < 4 or fields[2] not in (HUGETLBFS, DMEMFS) or len(result) >= _MANY_MOUNTS:
            continue
        path = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1])
        options = dict(option.partition("=")[::2] for option in fields[3].split(","))
        found = system.stat(path)
        if found is None:
            continue
        result.append(
            {
                "path": printable(path),
                "kind": fields[2],
                "page_size": memparse(options.get("pagesize", ""))[0],
                "size": memparse(options["size"])[0] if "size" in options else None,
                "owner": printable(account_name(system, "passwd", found.uid)),
                "group": printable(account_name(system, "group", found.gid)),
                "mode": f"{stat.S_IMODE(found.mode):04o}",
            }
        )
    return result
