# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RAM that a kernel reserves for tables of UEFI firmware, as the running kernel shows it.

efi_mem_reserve() (arch/x86/platform/efi/quirks.c: efi_arch_mem_reserve) turns the RAM of a boot logo, of
the list of updates and the like into reserved ranges, in the table only: the nodes keep their pages.
Where these tables lie no firmware map says.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._arguments import split
from .._errors import NotPossible
from .._host.model import RAM, RESERVED, Host, MapEntry
from .._ranges import Range, RangeSet
from .e820 import Table, apply_arguments
from .iomem import late_table


def firmware_tables(host: Host, limit: int) -> RangeSet:
    """Reserved lines of the running kernel inside of what its map has as RAM; none where that is not known."""
    shown = host.state.get("iomem", ())
    if host.firmware_boot != "efi" or not shown:
        return RangeSet()
    try:
        user = apply_arguments(host.firmware_map, split(host.cmdline), host.kernel_running, limit)
    except NotPossible:
        return RangeSet()
    ram = RangeSet((e.start, e.end) for e in late_table(user.entries, limit) if e.type == RAM)
    lines = [Range(start, end) for start, end, name, depth in shown if name == "Reserved" and depth == 0]
    return RangeSet(line for line in lines if ram.contains(line))


def with_firmware_tables(table: Iterable[MapEntry], tables: RangeSet, limit: int) -> tuple[MapEntry, ...]:
    """The table with those parts reserved that are RAM."""
    changed = Table(table, limit)
    for part in tables:
        changed.convert(part.start, part.size, RAM, RESERVED)
    changed.update()
    return changed.entries()
