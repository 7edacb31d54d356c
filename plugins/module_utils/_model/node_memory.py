# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which RAM pages a kernel gives to which node, as far as firmware and command line decide it.

Follows arch/x86/mm/numa.c (numa_init, numa_setup, dummy_numa_init) and mm/numa_memblks.c, 5.10 to 7.2.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .._arguments import iterate
from .._host.model import NodeRange
from .._ranges import Range, RangeSet
from .._units import MIB, U64, approximate_size
from .releases import has
from .sections import boot_struct_pages_by_node


class NodeMemory(NamedTuple):
    """Bytes of a node: RAM in whole pages (``present`` in /proc/zoneinfo), and struct pages for it."""

    ram: int
    struct_pages: int


class Spans(NamedTuple):
    """The nodes' ranges that the kernel goes by, and what is to be said about them."""

    ranges: tuple[NodeRange, ...]
    messages: tuple[str, ...]
    #: RAM that is no node's although the kernel goes by the ranges; it does not survive that.
    orphans: RangeSet = RangeSet()
    #: The kernel goes by no table: all is node 0 up to the end of RAM, and what lies above is no node's.
    one_node: bool = False


def spans_of(
    firmware: Sequence[NodeRange],
    ram: RangeSet,
    tokens: Iterable[str],
    release: str = "",
    last: int | None = None,
) -> Spans:
    """The nodes' ranges the kernel goes by: the firmware's, or one node 0 over everything.

    It is one node with ``numa=off`` or ``numa=noacpi``, and where the firmware's ranges leave out more
    than 1 MiB of RAM. With less of it the kernel keeps them (``orphans``). ``last`` is where memory ends
    (:func:`~.iomem.last_page`; default: all RAM): no node's pages reach further, also where memory of another type
    counts as RAM; kernels that then find no node for it do not survive that.
    """
    messages: list[str] = []
    end = last if last is not None else max((part.end for part in ram), default=0)
    beyond = ram.intersect([(end, U64)])
    ram = ram.subtract(beyond)
    if has(release, "nodes-to-the-end-of-memory"):
        beyond = RangeSet()
    whole = (NodeRange(0, 0, end),)
    for argument in iterate(tokens):
        if argument.name != "numa" or argument.value is None:
            continue
        if argument.value.startswith(("off", "noacpi")):
            return Spans(whole, tuple(messages), beyond, True)
        if argument.value.startswith("fake="):
            messages.append(
                f"{argument.text} divides nodes into emulated ones; the prediction tells the real nodes"
            )
    ranges = joined(firmware, ram)
    orphans = ram.subtract((r.start, r.end) for r in ranges)
    if orphans.size > MIB or (orphans.size == MIB and not has(release, "orphans-over-one-mib")):
        messages.append(
            f"the firmware gives {approximate_size(orphans.size)} of RAM to no node: the kernel then takes the "
            "host as one node"
        )
        return Spans(whole, tuple(messages), beyond, True)
    return Spans(ranges, tuple(messages), orphans.union(beyond))


def joined(firmware: Sequence[NodeRange], ram: RangeSet) -> tuple[NodeRange, ...]:
    """The firmware's ranges as numa_cleanup_meminfo() makes them.

    Ranges with RAM are cut to where RAM begins and ends; two of one node become one, the hole between
    them included, where no range of another node is in between. Ranges without RAM stay as they are.
    """
    bounds = list(ram)
    if not bounds:
        return tuple(firmware)
    low, high = bounds[0].start, bounds[-1].end
    used = [
        NodeRange(r.node, max(r.start, low), min(r.end, high))
        for r in firmware
        if ram.overlaps(Range(r.start, r.end))
    ]
    index = 0
    while index < len(used):
        other = index + 1
        while other < len(used):
            one, two = used[index], used[other]
            whole = NodeRange(one.node, min(one.start, two.start), max(one.end, two.end))
            if one.node != two.node or any(
                r.node != one.node and whole.start < r.end and whole.end > r.start for r in used
            ):
                other += 1
                continue
            used[index] = whole
            del used[other]
        index += 1
    unused = [r for r in firmware if not ram.overlaps(Range(r.start, r.end))]
    return tuple(sorted(used + unused, key=lambda r: (r.start, r.end, r.node)))


def ram_of_nodes(ram: RangeSet, spans: Spans) -> dict[int, RangeSet]:
    """RAM by node; a node without any is left out."""
    by_node: dict[int, list[NodeRange]] = {}
    for span in spans.ranges:
        by_node.setdefault(span.node, []).append(span)
    found = {node: ram.intersect((s.start, s.end) for s in own) for node, own in sorted(by_node.items())}
    return {node: own for node, own in found.items() if own}


def memory_of_nodes(ram: RangeSet, spans: Spans) -> Mapping[int, NodeMemory]:
    """RAM and struct pages by node; a node without RAM is left out."""
    struct_pages = boot_struct_pages_by_node(ram, spans.ranges)
    return {
        node: NodeMemory(own.size, struct_pages.get(node, 0))
        for node, own in ram_of_nodes(ram, spans).items()
    }
