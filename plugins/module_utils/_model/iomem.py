# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel does with its table after the arguments: the pages it takes out, and /proc/iomem.

Follows arch/x86/kernel/setup.c (trim_bios_range) and arch/x86/kernel/e820.c
(e820__reserve_resources, e820__reserve_resources_late, e820__memblock_setup) from 5.10 to 7.2.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._host.model import ACPI, NVS, PMEM, PRAM, RAM, RESERVED, SOFT_RESERVED, UNUSABLE, MapEntry
from .._ranges import RangeSet
from .._units import MIB, PAGE, align_down
from .e820 import MAX_ENTRIES, Table
from .releases import has

#: E820_TYPE_RESERVED_KERN: what a boot loader handed over, RAM to kernels before ``reserved-kern-is-no-ram``.
RESERVED_KERN = 128

#: The legacy video and BIOS area (BIOS_BEGIN, BIOS_END).
_BIOS = (0xA0000, 0x100000)

#: e820_type_to_string() of arch/x86/kernel/e820.c.
_NAMES = {
    RAM: "System RAM",
    RESERVED: "Reserved",
    ACPI: "ACPI Tables",
    NVS: "ACPI Non-volatile Storage",
    UNUSABLE: "Unusable memory",
    PMEM: "Persistent Memory",
    PRAM: "Persistent Memory (legacy)",
    SOFT_RESERVED: "Soft Reserved",
}


class IomemRange(NamedTuple):
    """Bytes ``[start, end)`` of a resource that the kernel makes of its table."""

    start: int
    end: int
    name: str


def type_name(kind: int) -> str:
    """The kernel's word for a type of memory."""
    return _NAMES.get(kind, f"Unknown E820 type ({kind})")


def late_table(entries: Iterable[MapEntry], limit: int = MAX_ENTRIES) -> tuple[MapEntry, ...]:
    """The table once the kernel has taken out what it never uses as RAM (trim_bios_range).

    The first page becomes reserved, and RAM from 640 KiB to 1 MiB is taken out.
    """
    table = Table(entries, limit)
    table.convert(0, PAGE, RAM, RESERVED)
    table.remove(_BIOS[0], _BIOS[1] - _BIOS[0], RAM)
    table.update()
    return tuple(entry for entry in table.entries() if entry.start < entry.end)


def is_ram(kind: int, release: str) -> bool:
    return kind == RAM or (kind == RESERVED_KERN and not has(release, "reserved-kern-is-no-ram"))


def ram_pages(table: Sequence[MapEntry], release: str) -> RangeSet:
    """RAM in whole pages, of which the kernel makes its nodes (memblock_trim_memory)."""
    return RangeSet((e.start, e.end) for e in table if is_ram(e.type, release)).align_inward(PAGE)


def last_page(table: Sequence[MapEntry], release: str) -> int:
    """Where the last whole page ends that the kernel goes by (e820__end_of_ram_pfn: max_pfn).

    Of RAM of type 1, and from ``acpi-tables-count-as-end`` on of ACPI tables.
    """
    kinds = (RAM, ACPI) if has(release, "acpi-tables-count-as-end") else (RAM,)
    return max((align_down(e.end, PAGE) for e in table if e.type in kinds), default=0)


def address_limit(firmware: Sequence[MapEntry]) -> int:
    """The first address past what the processor can address, as far as the firmware's map tells.

    40 bits at least: that is what the smallest servers and QEMU's default processor have.
    """
    return 1 << max(40, (max((entry.end for entry in firmware), default=1) - 1).bit_length())


def iomem(table: Sequence[MapEntry], release: str, limit: int) -> tuple[IomemRange, ...]:
    """The lines of /proc/iomem that stem from this table (as :func:`late_table` gives it), in order.

    Ranges keep their odd borders there. One that ends past ``limit`` (iomem_resource.end: what the
    processor can address) is missing. From 7.0 on soft-reserved ranges are missing too, but for
    those that start below 1 MiB. What stems from devices (PCI windows, ROMs, interrupt
    controllers) and what lies inside of a line (the kernel's code, devices in reserved ranges) is not
    known here.
    """
    hidden = has(release, "soft-reserved-not-in-iomem")
    lines = []
    for start, end, kind in table:
        if end > limit or (kind == SOFT_RESERVED and hidden and start >= MIB):
            continue
        name = "System RAM" if is_ram(kind, release) else _NAMES.get(kind, "Unknown E820 type")
        lines.append(IomemRange(start, end, name))
    return tuple(lines)
