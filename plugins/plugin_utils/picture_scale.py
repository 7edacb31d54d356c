# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A node's memory as bands of whole cells (columns of text, pixels): to scale, small things visible.

The bands are the same for the map before and the map after, so that the two bars stand above one
another. A band is as wide as its bytes, except that

* what is a pool's, a device's or lost has a least width, however small it is;
* small pieces of firmware, kernel and holes between two larger bands are gathered by use;
* large holes are cut out, a gap of fixed width stands for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import MIB

from .memory_map import (
    FIRMWARE,
    HOLE,
    KERNEL,
    Part,
    lost,
    map_before,
    node_extent,
    on_node,
    parts,
    without_lost,
)

#: Firmware's and kernel's pieces that are smaller are not worth a mark: every PC has some.
_WORTH_A_MARK = MIB

#: Stands for devices that are too many to be drawn one by one; none can be called like this.
SEVERAL = "several devices"


@dataclass(frozen=True)
class Band:
    """``size`` bytes from ``start``, used as ``before`` and as ``after``, drawn ``width`` cells wide.

    ``device`` is the name of the DAX device after, or :data:`SEVERAL`. ``cut``: a hole, drawn as a gap of fixed width.
    """

    start: int
    size: int
    before: str
    after: str
    device: str = ""
    cut: bool = False
    width: int = 0

    @property
    def uses(self) -> tuple[str, str, str, bool]:
        return self.before, self.after, self.device, self.cut


@dataclass(frozen=True)
class Drawing:
    """``cell``: bytes a cell stands for. ``enlarged``: some bands are wider than that.

    ``holes``: bytes of holes that were cut out. ``left_out``: bands there was no room for.
    """

    bands: tuple[Band, ...]
    cell: int
    enlarged: bool
    holes: int
    left_out: int


@dataclass(frozen=True)
class NodeMap:
    """What a picture of one node shows; ``bands`` touch, in order, and have no width yet."""

    node: int
    start: int
    end: int
    bands: tuple[Band, ...]

    def drawn(self, width: int, least: int, gap: int) -> Drawing:
        """In ``width`` cells, nothing of importance narrower than ``least``, gaps ``gap`` wide."""
        return _draw(self.bands, width, least, gap)


def node_maps(host: Host, layout: Layout) -> list[NodeMap]:
    """Each node with usable RAM, before and after."""
    before = parts(map_before(host), None)
    after = parts((MapEntry(*entry) for entry in layout.predicted_map), layout)
    result = []
    for node in host.nodes:
        extent, span = node_extent(host, node), host.node_span(node)
        mine = without_lost(on_node(after, span), lost(host, layout, node))
        bands = _overlay(on_node(before, span), mine, extent.start, extent.end)
        result.append(NodeMap(node, extent.start, extent.end, tuple(bands)))
    return result


def _overlay(before: Sequence[Part], after: Sequence[Part], start: int, end: int) -> list[Band]:
    """Both maps cut at the edges of both."""
    edges = {start, end}.union(*((p.start, p.end) for p in (*before, *after)))
    points = sorted(edge for edge in edges if start <= edge <= end)
    result: list[Band] = []
    left = right = 0
    for low, high in itertools.pairwise(points):
        while left < len(before) and before[left].end <= low:
            left += 1
        while right < len(after) and after[right].end <= low:
            right += 1
        was = before[left].use if left < len(before) and before[left].start <= low else HOLE
        now = after[right] if right < len(after) and after[right].start <= low else None
        result.append(Band(low, high - low, was, now.use if now else HOLE, now.device if now else ""))
    return _joined(result)


def _joined(bands: Iterable[Band]) -> list[Band]:
    """Neighbours of the same uses made one."""
    result: list[Band] = []
    for band in bands:
        if result and result[-1].uses == band.uses and not band.cut:
            result[-1] = replace(result[-1], size=result[-1].size + band.size)
        else:
            result.append(band)
    return result


def _draw(bands: Sequence[Band], width: int, least: int, gap: int) -> Drawing:
    bands = _cut_holes(bands)
    gaps = sum(band.cut for band in bands)
    if gaps * gap > width // 3:
        gap = 1 if gaps <= width // 3 else 0
    room = width - gaps * gap
    bands = _gathered(bands, room, least)
    if least * (len(bands) - gaps) > room or 3 * least * len(_small(bands, room, least)) > room:
        # More devices than there is room for; drawn one by one they would push the scale aside.
        bands = _joined(replace(band, device=SEVERAL if band.device else "") for band in bands)
    drawn = sorted((b for b in bands if not b.cut), key=lambda b: b.size, reverse=True)
    left_out = drawn[room // least :]
    bands = [band for band in bands if band not in left_out]
    widths, enlarged = _widths(bands, room, least, gap)
    return Drawing(
        tuple(replace(band, width=cells) for band, cells in zip(bands, widths, strict=True) if cells),
        _shown(bands) // room,
        enlarged,
        sum(band.size for band in bands if band.cut),
        len(left_out),
    )


def _shown(bands: Iterable[Band]) -> int:
    return sum(band.size for band in bands if not band.cut)


def _is_hole(band: Band) -> bool:
    return band.before == band.after == HOLE


def _cut_holes(bands: Sequence[Band]) -> list[Band]:
    """Cut each hole that is more than a quarter of the memory, and more until half of it is left.

    Of holes of one size all are cut or none.
    """
    memory = sum(band.size for band in bands if not _is_hole(band))
    holes = sorted((band.size for band in bands if _is_hole(band)), reverse=True)
    left, least = sum(holes), 1 << 64
    for size in holes:
        if 4 * size > memory or 2 * left > memory:
            left, least = left - size, size
    return [replace(band, cut=_is_hole(band) and band.size >= least) for band in bands]


def _small(bands: Sequence[Band], room: int, least: int) -> list[int]:
    shown = _shown(bands)
    return [n for n, band in enumerate(bands) if not band.cut and band.size * room < least * shown]


def _gathered(bands: Sequence[Band], room: int, least: int) -> list[Band]:
    """Runs of small pieces that are neither a pool's nor lost, each sorted by use."""
    small = set(_small(bands, room, least))
    result: list[Band] = []
    run: list[Band] = []
    for index, band in enumerate([*bands, None]):
        if band is not None and index in small and {band.before, band.after} <= {KERNEL, FIRMWARE, HOLE}:
            run.append(band)
            continue
        around = [b.uses for b in (result[-1] if result else None, band) if b is not None]
        result += _by_use(run, around, _shown(bands) * least // room)
        run = []
        if band is not None:
            result.append(band)
    return _joined(result)


def _by_use(run: Sequence[Band], around: Sequence[tuple[str, str, str, bool]], worth: int) -> list[Band]:
    """One band for each use; none where the band beside it shows that use, or it is next to nothing."""
    found: dict[tuple[str, str, str, bool], Band] = {}
    for band in run:
        known = found.get(band.uses)
        found[band.uses] = replace(known, size=known.size + band.size) if known else band
    return [
        band
        for band in found.values()
        if band.size >= worth
        or (band.uses not in around and band.size >= _WORTH_A_MARK and not _is_hole(band))
    ]


def _widths(bands: Sequence[Band], room: int, least: int, gap: int) -> tuple[list[int], bool]:
    """Cells for each band: ``least`` for the small ones, the rest by size; the sum is all there are."""
    open_ = {index for index, band in enumerate(bands) if not band.cut}
    largest = max(open_, key=lambda index: bands[index].size)
    fixed: set[int] = set()
    while True:
        cells = room - least * len(fixed)
        size = sum(bands[index].size for index in open_ - fixed)
        more = {n for n in open_ - fixed if n != largest and bands[n].size * cells < least * size}
        if not more:
            break
        fixed |= more
    widths, done, used = [], 0, 0
    for index, band in enumerate(bands):
        if band.cut:
            widths.append(gap)
        elif index in fixed:
            widths.append(least)
        else:
            done += band.size
            end = (2 * done * cells + size) // (2 * size)
            widths.append(end - used)
            used = end
    return widths, bool(fixed)
