# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's memory cut into parts with a meaning, for pictures, reports and diffs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import format_size

#: No pool can be called like these (see _layout.NAME).
KERNEL = "(kernel)"
FIRMWARE = "(firmware)"

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
    """A range with one use: :data:`KERNEL`, :data:`FIRMWARE`, or the name of a pool.

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
    return apply_arguments(host.firmware_map, host.foreign_tokens).entries


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
    result = []
    for item in items:
        for piece in spans.intersect([(item.start, item.end)]):
            result.append(Part(piece.start, piece.end, item.use, item.label, item.device))
    return result


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
