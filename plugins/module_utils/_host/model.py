# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host snapshot as data: what one machine is, told apart from how it is read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .._arguments import LAYOUT_ARGUMENT, parse, split, without_sequence
from .._ranges import RangeSet

#: e820 types (arch/x86/include/asm/e820/types.h).
RAM, RESERVED, ACPI, NVS, UNUSABLE, PMEM, PRAM = 1, 2, 3, 4, 5, 7, 12
SOFT_RESERVED = 0xEFFFFFFF


class MapEntry(NamedTuple):
    """Bytes ``[start, end)`` of one e820 type."""

    start: int
    end: int
    type: int


class NodeRange(NamedTuple):
    """Bytes ``[start, end)`` that the firmware (SRAT) gives to a node."""

    node: int
    start: int
    end: int


class ForeignArgument(NamedTuple):
    """A memory argument that is not ours, and where it stands (``file`` empty: only booted)."""

    argument: str
    file: str
    line: int


@dataclass(frozen=True)
class Host:
    """One machine.

    ``node_ranges`` come from the SRAT (one range over everything where there is none), never from
    sysfs nodes: a fully carved node is no longer listed there. ``boot_arguments`` are the tokens of
    the entry that boots next, ours included; None where it could not be read. ``committed`` is the
    ID of the layout that verification passed for; ``layouts`` holds the raw JSON of every layout
    stored on the host, by ID. ``hmat`` says whether there is an ACPI table HMAT that kernels go by,
    ``hmat_targets`` the memory ranges of the SRAT that they combine with it (as the table has them,
    whatever the nodes are in the end; empty: as ``node_ranges``). ``state`` is the raw running state
    (iomem, meminfo, nodes, dax, files, ``problems``: what could not be used) as the reader gave it;
    only verification and action reports read it, never the planner.
    """

    architecture: str
    firmware_map: tuple[MapEntry, ...]
    node_ranges: tuple[NodeRange, ...]
    hmat: bool
    firmware_boot: str
    kernel_running: str
    kernel_default: str
    kernel_config: Mapping[str, str]
    cmdline: str
    boot_arguments: tuple[str, ...] | None
    foreign: tuple[ForeignArgument, ...]
    committed: str | None
    layouts: Mapping[str, Mapping[str, Any]]
    state: Mapping[str, Any] = field(default_factory=dict)
    hmat_targets: tuple[NodeRange, ...] = ()

    @property
    def kernel(self) -> str:
        """The release that boots next; the running one where that is unknown."""
        return self.kernel_default or self.kernel_running

    @cached_property
    def usable(self) -> RangeSet:
        """RAM as the firmware reports it."""
        return RangeSet((e.start, e.end) for e in self.firmware_map if e.type == RAM)

    @property
    def nodes(self) -> list[int]:
        """Nodes that own usable RAM, in order."""
        return [node for node, (_span, usable) in self._by_node.items() if usable]

    def node_span(self, node: int) -> RangeSet:
        return self._by_node.get(node, _NOTHING)[0]

    def node_usable(self, node: int) -> RangeSet:
        """Firmware-usable RAM of a node."""
        return self._by_node.get(node, _NOTHING)[1]

    @property
    def foreign_tokens(self) -> list[str]:
        """The command line of the next boot without the run of arguments that is ours."""
        return list(self._foreign_tokens)

    # A planner asks for these again and again; on a host of 200 map entries they cost more than planning.

    @cached_property
    def _by_node(self) -> dict[int, tuple[RangeSet, RangeSet]]:
        """By node, in order: its span, and the usable RAM in it."""
        spans = {
            node: RangeSet((r.start, r.end) for r in self.node_ranges if r.node == node)
            for node in sorted({r.node for r in self.node_ranges})
        }
        return {node: (span, self.usable.intersect(span)) for node, span in spans.items()}

    @cached_property
    def _foreign_tokens(self) -> tuple[str, ...]:
        tokens = list(self.boot_arguments) if self.boot_arguments is not None else split(self.cmdline)
        for layout in self.layouts.values():
            tokens = without_sequence(tokens, [str(a) for a in layout.get("kernel_arguments", [])])
        return tuple(token for token in tokens if parse(token).name != LAYOUT_ARGUMENT)


_NOTHING = (RangeSet(), RangeSet())
