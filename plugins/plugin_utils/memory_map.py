# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's memory cut into parts with a meaning, for pictures, reports and diffs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    ACPI,
    NVS,
    PMEM,
    PRAM,
    RAM,
    RESERVED,
    SOFT_RESERVED,
    UNUSABLE,
    Host,
    MapEntry,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._mechanisms import MECHANISMS
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._planner.nodes import LOW
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import read_plan
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import format_size

#: No pool can be called like these (see _layout.NAME).
KERNEL = "(kernel)"
#: The kernel's as well, but also else no pool of the plan could use it (see :func:`lost`).
LOST = "(lost)"
FIRMWARE = "(firmware)"
HOLE = "(hole)"

_TYPE_WORDS = {
    RAM: "RAM",
    RESERVED: "reserved",
    ACPI: "ACPI data",
    NVS: "ACPI NVS",
    UNUSABLE: "unusable",
    PMEM: "persistent",
    PRAM: "persistent (legacy)",
    SOFT_RESERVED: "soft reserved",
}


@dataclass(frozen=True)
class Part:
    """A range with one use: :data:`KERNEL`, :data:`LOST`, :data:`FIRMWARE`, or the name of a pool.

    ``device`` names the device there, empty where the pool has none at that place.
    """

    start: int
    end: int
    use: str
    label: str
    device: str = ""

    @property
    def size(self) -> int:
        return self.end - self.start


def type_word(kind: int) -> str:
    return _TYPE_WORDS.get(kind, f"type {kind}")


def map_before(host: Host) -> tuple[MapEntry, ...]:
    """The kernel's map with Carveout's arguments removed."""
    return apply_arguments(host.firmware_map, host.foreign_tokens, host.kernel).entries


def parts(entries: Iterable[MapEntry], layout: Layout | None) -> list[Part]:
    """The map as parts in order; with a layout, its reservations cut into devices and the rest."""
    result: list[Part] = []
    taken = RangeSet(r.range for r in layout.reservations) if layout else RangeSet()
    for entry in entries:
        use = KERNEL if entry.type == RAM else FIRMWARE
        label = "kernel" if entry.type == RAM else type_word(entry.type)
        for left in RangeSet([(entry.start, entry.end)]).subtract(taken):
            result.append(Part(left.start, left.end, use, label))
    if layout:
        for reservation in layout.reservations:
            extents = [
                (extent, device.name)
                for device in layout.devices
                for extent in device.extents
                if reservation.range.contains(extent)
            ]
            for extent, name in extents:
                result.append(Part(extent.start, extent.end, reservation.pool, reservation.pool, name))
            idle = RangeSet([reservation.range]).subtract(extent for extent, _ in extents)
            result += [Part(p.start, p.end, reservation.pool, reservation.pool) for p in idle]
    return sorted(result, key=lambda part: part.start)


def on_node(items: Sequence[Part], spans: RangeSet) -> list[Part]:
    """The parts that lie on a node, cut at its borders."""
    return [replace(item, start=r.start, end=r.end) for item, r in _common(items, spans)]


def without_lost(items: Sequence[Part], gone: RangeSet) -> list[Part]:
    """The parts with the kernel's share cut where it is lost to every pool."""
    result = [item for item in items if item.use != KERNEL]
    kernels = [item for item in items if item.use == KERNEL]
    whole = RangeSet((item.start, item.end) for item in kernels)
    for use, spans in ((KERNEL, whole.subtract(gone)), (LOST, gone)):
        result += [replace(item, start=r.start, end=r.end, use=use) for item, r in _common(kernels, spans)]
    return sorted(result, key=lambda part: part.start)


def _common(items: Sequence[Part], spans: RangeSet) -> Iterator[tuple[Part, Range]]:
    """Each part with each of its pieces inside the spans; parts are in order and disjoint."""
    ranges, first = list(spans), 0
    for item in items:
        while first < len(ranges) and ranges[first].end <= item.start:
            first += 1
        index = first
        while index < len(ranges) and ranges[index].start < item.end:
            yield item, Range(max(ranges[index].start, item.start), min(ranges[index].end, item.end))
            index += 1


def lost(host: Host, layout: Layout, node: int) -> RangeSet:
    """RAM above 4 GiB that no pool of the node could use: too small or too crooked for their aligns.

    It is the kernel's. Nothing is lost on a node without pools, nor in what the plan wants avoided.
    """
    here = [r for r in layout.reservations if r.node == node]
    if not here:
        return RangeSet()
    align = min(max(r.align, MECHANISMS[r.mechanism].MIN_ALIGN) for r in here)
    free = host.node_usable(node).intersect([(LOW, 1 << 64)]).subtract(read_plan(layout.plan).avoid)
    left = RangeSet((a, b) for a, b, kind in layout.predicted_map if kind == RAM)
    return free.subtract(free.align_inward(align)).intersect(left)


def node_extent(host: Host, node: int) -> Range:
    """From the node's first to its last usable byte: what a picture of the node shows."""
    usable = list(host.node_usable(node))
    return Range(usable[0].start, usable[-1].end)


def lines(items: Iterable[Part]) -> list[str]:
    """One line a part, fit for a diff."""
    return [
        f"{part.start:#016x} - {part.end:#016x}  {format_size(part.size):>12}  {part.label}"
        + (f": {part.device}" if part.device else "")
        for part in items
    ]
