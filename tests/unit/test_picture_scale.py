# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Any map at all, cut into parts and bands; lines of any length."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.memory_map import (
    FIRMWARE,
    HOLE,
    KERNEL,
    LOST,
    on_node,
    parts,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_scale import SEVERAL, Band, NodeMap
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import wrap


@given(
    st.lists(st.integers(0, 2000), min_size=2, max_size=12, unique=True).map(sorted),
    st.integers(0, 2000),
)
def test_every_byte_of_the_map_is_in_one_part(edges: list[int], border: int) -> None:
    entries = [MapEntry(a, b, 1 + n % 4) for n, (a, b) in enumerate(itertools.pairwise(edges)) if n % 5]
    found = parts(entries, None)
    assert [(p.start, p.end) for p in found] == [(e.start, e.end) for e in entries]
    low = on_node(found, RangeSet([(0, border)]))
    high = on_node(found, RangeSet([(border, 4000)]))
    assert sum(p.size for p in low + high) == sum(p.size for p in found)


uses = st.sampled_from([KERNEL, FIRMWARE, HOLE, LOST, "a", "b"])
devices = st.one_of(st.just(""), st.sampled_from([f"d{n}" for n in range(200)]))


@given(
    st.lists(st.tuples(st.integers(MIB, 1 << 46), uses, uses, devices), min_size=1, max_size=300),
    st.sampled_from([(68, 1, 2), (824, 6, 16)]),
)
def test_any_map_fits_into_the_cells(
    pieces: list[tuple[int, str, str, str]], measures: tuple[int, int, int]
) -> None:
    """Full width, in order, nothing narrower than it must be, and the large ones to scale."""
    width, least, gap = measures
    start, bands = 0, []
    for size, before, after, device in pieces:
        bands.append(Band(start, size, before, after, device if after in "ab" else ""))
        start += size
    if all({band.before, band.after} == {HOLE} for band in bands):
        return
    drawing = NodeMap(0, 0, start, tuple(bands)).drawn(width, least, gap)
    assert sum(band.width for band in drawing.bands) == width
    assert [b.start for b in drawing.bands] == sorted(b.start for b in drawing.bands)
    assert all(band.width >= (1 if band.cut else least) for band in drawing.bands)
    if not drawing.enlarged:
        for band in drawing.bands:
            assert band.cut or abs(band.width - band.size / drawing.cell) <= 1 + band.size / drawing.cell / 50
    assert {b.device for b in drawing.bands} <= {"", SEVERAL, *(b.device for b in bands)}


def test_wrapping() -> None:
    assert wrap("a bb ccc", "  ", 6) == ["  a bb", "  ccc"]
    assert wrap("toolongaword a", " ", 5) == [" tool", " onga", " word", " a"]
    assert wrap("", "  ") == []
