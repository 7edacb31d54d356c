# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The texts of /proc, sysfs and a kernel's configuration as data. What does not parse is left out.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

#: What we ask a kernel's configuration for.
CONFIG_KEYS = (
    "CONFIG_ARCH_HAS_PTE_DMEM",
    "CONFIG_BLK_DEV_PMEM",
    "CONFIG_CMA",
    "CONFIG_DEV_DAX",
    "CONFIG_DEV_DAX_HMEM",
    "CONFIG_DEV_DAX_KMEM",
    "CONFIG_DEV_DAX_PMEM",
    "CONFIG_DMEM",
    "CONFIG_DMEM_FS",
    "CONFIG_EFI_SOFT_RESERVE",
    "CONFIG_HUGETLBFS",
    "CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP",
    "CONFIG_MEMORY_HOTPLUG",
    "CONFIG_NODES_SHIFT",
    "CONFIG_NVDIMM_DAX",
    "CONFIG_NVDIMM_PFN",
    "CONFIG_RANDOMIZE_BASE",
    "CONFIG_TRANSPARENT_HUGEPAGE",
    "CONFIG_X86_PMEM_LEGACY",
    "CONFIG_ZONE_DEVICE",
)

#: What we keep of /proc/meminfo and of a node's meminfo.
MEMINFO_KEYS = frozenset(
    {
        "MemTotal", "MemFree", "MemAvailable", "Hugetlb",
        "HugePages_Total", "HugePages_Free", "Hugepagesize",
    }
)  # fmt: skip
#: Pages of struct pages: at boot, and added later (6.11 and later, mm/sparse.c).
VMSTAT_KEYS = frozenset({"nr_memmap_pages", "nr_memmap_boot_pages"})

_MEMINFO = re.compile(r"(?:Node\s+\d+\s+)?([A-Za-z_]{1,64}):\s+(\d{1,18})( kB)?\s*")
_VMSTAT = re.compile(r"([a-z0-9_]{1,64}) (\d{1,18})")
_IOMEM = re.compile(r"( {0,64})([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.{0,256})")
#: More lines than any /proc/iomem that was seen, by far.
_IOMEM_LINES = 50_000


class IomemLine(NamedTuple):
    """Bytes ``[start, end)`` of a resource; ``depth`` 0 is the top level."""

    start: int
    end: int
    name: str
    depth: int


def parse_meminfo(text: str) -> dict[str, int]:
    """:data:`MEMINFO_KEYS` of /proc/meminfo or of a node's: bytes, the HugePages_* counts as they are."""
    found = {}
    for line in text.splitlines():
        match = _MEMINFO.fullmatch(line)
        if match and match.group(1) in MEMINFO_KEYS:
            found[match.group(1)] = int(match.group(2)) * (1024 if match.group(3) else 1)
    return found


def parse_vmstat(text: str) -> dict[str, int]:
    """:data:`VMSTAT_KEYS` of /proc/vmstat, in pages; a kernel before 6.11 has none of them."""
    matches = (_VMSTAT.fullmatch(line) for line in text.splitlines() if line.startswith("nr_memmap"))
    return {m.group(1): int(m.group(2)) for m in matches if m and m.group(1) in VMSTAT_KEYS}


def parse_iomem(text: str) -> list[IomemLine]:
    """/proc/iomem with its nesting, two blanks a level.

    Empty where all addresses are 0: that is what readers without CAP_SYS_ADMIN get (kernel/resource.c,
    r_show).
    """
    lines = []
    for line in text.splitlines()[:_IOMEM_LINES]:
        match = _IOMEM.fullmatch(line)
        if match:
            start, last = int(match.group(2), 16), int(match.group(3), 16)
            if start <= last:
                lines.append(IomemLine(start, last + 1, match.group(4), len(match.group(1)) // 2))
    return lines if any(line.end > 1 for line in lines) else []


def parse_config(text: str) -> Mapping[str, str]:
    """:data:`CONFIG_KEYS` of a kernel's configuration: ``y``, ``m``, a number, ``n`` where "is not set"."""
    text = f"\n{text}\n"
    found = {}
    for key in CONFIG_KEYS:
        # the file has 10000 lines and these keys are few: searching is much quicker than splitting
        position = text.find(f"\n{key}=")
        if position >= 0:
            start = position + len(key) + 2
            found[key] = text[start : text.find("\n", start)][:64]
        elif f"\n# {key} is not set\n" in text:
            found[key] = "n"
    return found


def parse_hex(text: str) -> int | None:
    """A hexadecimal number, with ``0x`` or without, None where it is none or has more than 64 bits."""
    return int(text, 16) if re.fullmatch(r"(?:0x)?[0-9a-fA-F]{1,16}", text) else None
