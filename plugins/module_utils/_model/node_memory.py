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
from .._ranges import RangeSet
from .._units import MIB, U64
from .sections import boot_struct_pages_by_node


class NodeMemory(NamedTuple):
    """Bytes of a node: RAM in whole pages (``present`` in /proc/zoneinfo), and struct pages for it."""

    ram: int
    struct_pages: int


class Spans(NamedTuple):
    """The nodes' ranges that the kernel goes by, and what is to be said about them."""

    ranges: tuple[NodeRange, ...]
    messages: tuple[str, ...]


_ONE_NODE = (NodeRange(0, 0, U64),)


def spans_of(firmware: Sequence[NodeRange], ram: RangeSet, tokens: Iterable[str]) -> Spans:
    """The nodes' ranges the kernel goes by: the firmware's, or one node 0 over everything.

    It is one node with ``numa=off`` or ``numa=noacpi``, and where the firmware's ranges leave out
    1 MiB of RAM or more.
    """
    messages: list[str] = []
    for argument in iterate(tokens):
        if argument.name != "numa" or argument.value is None:
            continue
        if argument.value.startswith(("off", "noacpi")):
            return Spans(_ONE_NODE, tuple(messages))
        if argument.value.startswith("fake="):
            messages.append(
                f"{argument.text} divides nodes into emulated ones; the prediction tells the real nodes"
            )
    outside = ram.subtract((r.start, r.end) for r in firmware).size
    if outside >= MIB:
        messages.append(
            f"the firmware gives {outside} bytes of RAM to no node: the kernel then takes the host as one node"
        )
        return Spans(_ONE_NODE, tuple(messages))
    return Spans(tuple(firmware), tuple(messages))


def memory_of_nodes(ram: RangeSet, spans: Spans) -> Mapping[int, NodeMemory]:
    """RAM and struct pages by node; a node without RAM is left out."""
    struct_pages = boot_struct_pages_by_node(ram, spans.ranges)
    result = {}
    for node in sorted({span.node for span in spans.ranges}):
        size = ram.intersect((s.start, s.end) for s in spans.ranges if s.node == node).size
        if size:
            result[node] = NodeMemory(size, struct_pages.get(node, 0))
    return result
