# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dmem pool of the running host: what its kernel registered, and how much of it is there for files.

Facts: mm/dmem.c (debugfs, CONFIG_DMEM_DEBUG_FS) and mm/dmem_reserve.c (messages) of the OpenCloudOS 5.4
kernels. /proc/iomem goes on calling the memory System RAM, so the messages alone tell its addresses.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from typing import Any

from .._arguments import iterate, split
from .._system import System
from .._units import PAGE
from .files import Reader

_POOL = "/sys/kernel/debug/dmem"
_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
_REGION = re.compile(r"dmem: register region \[(0x[0-9a-f]{1,16}) - (0x[0-9a-f]{1,16})\] on node (\d{1,4})\.")
#: The kernel has room for 93 regions.
_MANY_REGIONS = 200


def read_dmemfs(reader: Reader, system: System, cmdline: str, running: bool) -> dict[str, Any]:
    """``pool`` is None where debugfs does not show it; ``log`` are the regions by the kernel's messages.

    ``running``: this is the host itself, whose kernel log can be asked for; only where its command line has a
    ``dmem=``. The log is None where it is not known or no longer reaches back to the boot.
    """
    asked = any(a.name == "dmem" for a in iterate(split(cmdline)))
    return {
        "pool": _pool(reader) if "region_num" in reader.names(_POOL) else None,
        "log": parse_regions(system.run(["dmesg"]).stdout) if running and asked else None,
        "transparent_huge_pages": _chosen(reader.line(_HUGE_PAGES)),
    }


def _pool(reader: Reader) -> dict[str, Any]:
    shift = min(_number(reader, f"{_POOL}/dpage_shift"), 40)
    nodes = {}
    for name in reader.names(_POOL):
        if re.fullmatch(r"node\d{1,4}", name):
            nodes[str(int(name[4:]))] = _number(reader, f"{_POOL}/{name}/total_dpages")
    return {
        "regions": _number(reader, f"{_POOL}/region_num"),
        "registered": _number(reader, f"{_POOL}/registered_pages") * PAGE,
        # the last mount's, also when it is gone
        "page_size": 1 << shift if shift else 0,
        "free_pages": _number(reader, f"{_POOL}/free_dpages"),
        "pages": nodes,
    }


def _number(reader: Reader, path: str) -> int:
    text = reader.line(path)
    return int(text) if re.fullmatch(r"\d{1,15}", text) else 0


def parse_regions(log: str) -> list[list[int]] | None:
    """``[start, end, node]`` in order of address; None where the log does not reach back to where they are named."""
    if "dmem: pre-defined region" not in log:
        return None
    found = [[int(m[1], 16), int(m[2], 16), int(m[3])] for m in _REGION.finditer(log)]
    return sorted(region for region in found[:_MANY_REGIONS] if region[0] < region[1])


def _chosen(text: str) -> str:
    """The word in brackets of ``always madvise [never]``; empty where the kernel has no such setting."""
    found = re.search(r"\[([a-z]{1,20})\]", text)
    return found[1] if found else ""
