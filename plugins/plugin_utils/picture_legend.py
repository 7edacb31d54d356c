# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a picture's marks mean, with bytes before and after: the same rows for text and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

from .memory_map import FIRMWARE, HOLE, KERNEL, LOST
from .picture_scale import SEVERAL, Band, NodeMap


@dataclass(frozen=True)
class Row:
    """A use and its bytes. ``idle``: what no device has of a pool that has devices."""

    use: str
    words: str
    before: int
    after: int
    idle: bool = False


def pools(layout: Layout) -> list[str]:
    """By order of their memory."""
    return list(dict.fromkeys(r.pool for r in layout.reservations))


def is_idle(band: Band, layout: Layout) -> bool:
    """Whether the band is a part without a device of a pool with devices."""
    return not band.device and any(device.pool == band.after for device in layout.devices)


def device_labels(layout: Layout) -> dict[str, list[str]]:
    """What pictures call a device: its name, or where that does not fit, its place in the layout."""
    labels = {d.name: [d.name, str(number)] for number, d in enumerate(layout.devices, 1)}
    return {**labels, SEVERAL: [SEVERAL, "several"], "": []}


def legend(maps: Sequence[NodeMap], layout: Layout) -> list[Row]:
    """One row for each use that there is; the bytes are those of all nodes."""
    bands = [band for one in maps for band in one.bands]

    def row(use: str, words: str, idle: bool = False) -> Row:
        before = sum(b.size for b in bands if b.before == use)
        return Row(use, words, before, sum(b.size for b in bands if b.after == use), idle)

    result = [Row(KERNEL, "kernel", row(KERNEL, "").before, row(KERNEL, "").after + row(LOST, "").after)]
    result.append(row(LOST, "of it lost to holes and aligns"))
    result.append(row(FIRMWARE, "firmware"))
    for pool in pools(layout):
        mechanism = next(r.mechanism for r in layout.reservations if r.pool == pool)
        devices = [device for device in layout.devices if device.pool == pool]
        if not devices:
            result.append(row(pool, f"{pool}: {mechanism}"))
            continue
        count = f"{len(devices)} device{'s' if len(devices) > 1 else ''}"
        taken = sum(device.size for device in devices)
        result.append(Row(pool, f"{pool}: {mechanism}, {count}", 0, taken))
        idle = sum(r.range.size for r in layout.reservations if r.pool == pool) - taken
        result.append(Row(pool, f"{pool}: no device there", 0, idle, idle=True))
    result.append(row(HOLE, "no memory of the node"))
    return [r for r in result if r.before or r.after]
