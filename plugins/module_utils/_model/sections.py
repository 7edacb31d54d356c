# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Struct pages: which 128 MiB sections have them, and what device mappings bring back.

Boot memory has struct pages for every section that any RAM touches, counted over the whole host
(mm/sparse.c, memory_present); a section that no RAM touches has none.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._host.model import RAM, MapEntry, NodeRange
from .._ranges import Range, RangeSet
from .._units import GIB, MIB, PAGE, SECTION, STRUCT_PAGE

#: vmemmap pages that stay of a compound page of device-DAX: its head's and one of its tails'.
KEPT_PER_COMPOUND = 2
#: Bytes of struct pages for one section: 2 MiB.
SECTION_COST = SECTION // PAGE * STRUCT_PAGE


def ram_of(entries: Iterable[MapEntry]) -> RangeSet:
    return RangeSet((e.start, e.end) for e in entries if e.type == RAM)


def sections_with_pages(ram: RangeSet) -> RangeSet:
    """The sections (as ranges) that have struct pages at boot."""
    return ram.align_outward(SECTION)


def boot_struct_pages(ram: RangeSet) -> int:
    """Bytes of struct pages that the kernel allocates at boot for this RAM."""
    return sections_with_pages(ram).size // SECTION * SECTION_COST


def boot_struct_pages_by_node(ram: RangeSet, spans: Sequence[NodeRange]) -> dict[int, int]:
    """The same by node, as the kernel allocates them: on the node of the section's lowest RAM.

    memory_present() of mm/sparse.c goes through the RAM from below and a section keeps the first
    node it sees; sparse_init_nid() allocates its struct pages on that node. So where two nodes
    share a section and the lower one's RAM in it is carved out, the struct pages of the section
    move to the higher node, which then pays 2 MiB more than before.
    """
    pieces = sorted(
        [(start, end, node) for node, first, last in spans for start, end in ram.intersect([(first, last)])]
    )
    result: dict[int, int] = {}
    counted = 0  # sections
    for start, end, node in pieces:
        first, last = max(counted, start // SECTION), -(-end // SECTION)
        if last > first:
            result[node] = result.get(node, 0) + (last - first) * SECTION_COST
            counted = last
        else:
            result.setdefault(node, 0)
    return result


def node_of(address: int, spans: Sequence[NodeRange]) -> int:
    """The node whose range holds the address; the first node where none does."""
    for span in spans:
        if span.start <= address < span.end:
            return span.node
    return min((span.node for span in spans), default=0)


def dax_struct_pages(extents: Iterable[Range], align: int, boot: RangeSet, deduplicated: bool) -> int:
    """Bytes of struct pages for a bound DAX device.

    ``boot`` are the sections that have struct pages already: those cost nothing more
    (section_activate of mm/sparse.c). Compound pages of ``align`` keep two vmemmap pages each
    where the kernel deduplicates them (vmemmap_populate_compound_pages, VMEMMAP_RESERVE_NR 2);
    4 KiB pages, and older kernels, need them all.
    """
    new = RangeSet(extents).subtract(boot)
    full = new.size // PAGE * STRUCT_PAGE
    if not deduplicated or not 2 * MIB <= align <= GIB:
        return full
    compound_pages = sum(-(-part.size // align) for part in new)
    return min(full, compound_pages * KEPT_PER_COMPOUND * PAGE)
