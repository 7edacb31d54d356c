# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which node owns which memory, as the kernel decides it from the SRAT.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._ranges import Range, RangeSet
from .._units import MIB
from .model import RAM, MapEntry, NodeRange


def one_node(firmware_map: Sequence[MapEntry]) -> tuple[NodeRange, ...]:
    """Node 0 over everything: a host without a SRAT, or with one that the kernel rejects."""
    return (NodeRange(0, 0, max((entry.end for entry in firmware_map), default=0)),) if firmware_map else ()


def node_ranges(affinity: Iterable[NodeRange], firmware_map: Sequence[MapEntry]) -> tuple[NodeRange, ...]:
    """The ranges of the nodes, in order of addresses.

    As the kernel does, the table is dropped altogether, and everything is node 0, where two nodes
    claim the same RAM (numa_cleanup_meminfo) or where 1 MiB or more of the RAM belongs to no node
    (numa_meminfo_cover_memory; both arch/x86/mm/numa.c, later mm/numa_memblks.c).
    """
    ranges = sorted(set(affinity), key=lambda r: (r.start, r.end, r.node))
    usable = RangeSet((e.start, e.end) for e in firmware_map if e.type == RAM)
    if not ranges or not usable:
        return one_node(firmware_map)
    populated = _populated(ranges, usable)
    if _claimed_twice(populated):
        return one_node(firmware_map)
    if usable.subtract(part for _node, part in populated).size >= MIB:
        return one_node(firmware_map)
    return tuple(ranges)


def are_disjoint(ranges: Sequence[NodeRange], firmware_map: Sequence[MapEntry]) -> bool:
    """Whether no RAM belongs to two nodes."""
    usable = RangeSet((e.start, e.end) for e in firmware_map if e.type == RAM)
    return not usable or not _claimed_twice(_populated(sorted(ranges, key=lambda r: r.start), usable))


def _populated(ranges: Iterable[NodeRange], usable: RangeSet) -> list[tuple[int, Range]]:
    """Without what lies past the end of RAM or touches none: room for memory to be plugged in."""
    last = max(part.end for part in usable)
    cut = [(r.node, Range(r.start, min(r.end, last))) for r in ranges]
    return [(node, part) for node, part in cut if part.size and usable.overlaps(part)]


def _claimed_twice(populated: Iterable[tuple[int, Range]]) -> bool:
    """Whether ranges of two nodes overlap; ``populated`` is in order of starts."""
    owner, end = -1, 0
    for node, part in populated:
        if part.start < end and node != owner:
            return True
        if part.end > end:
            owner, end = node, part.end
    return False


def from_early_ranges(
    printed: Iterable[NodeRange], firmware_map: Sequence[MapEntry]
) -> tuple[NodeRange, ...]:
    """The ranges of the nodes from the log's "Early memory node ranges", where the log has no SRAT.

    They are the RAM that the kernel took, after its arguments: what lies between two pieces of one
    node counts to that node, what lies before the first to the first, after the last to the last.
    """
    ranges = sorted(printed, key=lambda r: (r.start, r.end, r.node))
    if len({r.node for r in ranges}) < 2:
        return one_node(firmware_map)
    merged = [NodeRange(ranges[0].node, 0, ranges[0].end)]
    for part in ranges[1:]:
        last = merged[-1]
        if part.node == last.node:
            merged[-1] = NodeRange(last.node, last.start, max(last.end, part.end))
        else:
            merged.append(part)
    end = max([entry.end for entry in firmware_map] + [merged[-1].end])
    merged[-1] = merged[-1]._replace(end=end)
    return tuple(merged)
