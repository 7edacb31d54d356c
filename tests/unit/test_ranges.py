# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The algebra of ranges against sets of single bytes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet

TOP = 48
PAIRS = st.lists(st.tuples(st.integers(0, TOP), st.integers(0, TOP)), max_size=8)


def bits(pairs: object) -> set[int]:
    assert isinstance(pairs, (list, RangeSet))
    return {byte for start, end in pairs for byte in range(start, end)}


def check_form(ranges: RangeSet) -> None:
    """Sorted, not empty, and not even touching."""
    parts = list(ranges)
    assert all(part.start < part.end for part in parts)
    assert all(left.end < right.start for left, right in itertools.pairwise(parts))


@given(PAIRS, PAIRS)
def test_sets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = RangeSet(left), RangeSet(right)
    for result, wanted in (
        (a, bits(left)),
        (a.union(b), bits(left) | bits(right)),
        (a.union(right), bits(left) | bits(right)),
        (a.intersect(b), bits(left) & bits(right)),
        (a.intersect(right), bits(left) & bits(right)),
        (a.subtract(b), bits(left) - bits(right)),
        (a.subtract(right), bits(left) - bits(right)),
    ):
        check_form(result)
        assert bits(result) == wanted
        assert result.size == len(wanted)
        assert bool(result) is bool(wanted)
        assert len(result) == len(list(result))
    assert (a == b) == (bits(left) == bits(right))
    assert RangeSet(list(a)) == a
    assert hash(RangeSet(reversed(list(a)))) == hash(a)


@given(PAIRS, st.integers(1, 9))
def test_aligning(pairs: list[tuple[int, int]], align: int) -> None:
    ranges = RangeSet(pairs)
    blocks = [set(range(start, start + align)) for start in range(0, TOP + align, align)]
    inward, outward = ranges.align_inward(align), ranges.align_outward(align)
    check_form(inward)
    check_form(outward)
    assert bits(inward) == {byte for block in blocks if block <= bits(ranges) for byte in block}
    assert bits(outward) == {byte for block in blocks if block & bits(ranges) for byte in block}


@given(PAIRS, st.integers(0, TOP), st.integers(0, TOP))
def test_one_range_and_a_set(pairs: list[tuple[int, int]], start: int, end: int) -> None:
    ranges, wanted = RangeSet(pairs), Range(start, end)
    assert ranges.contains(wanted) == (set(range(start, end)) <= bits(ranges))
    assert ranges.overlaps(wanted) == bool(set(range(start, end)) & bits(ranges))


@given(*[st.integers(0, 20)] * 4)
def test_two_ranges(a: int, b: int, c: int, d: int) -> None:
    left, right = Range(a, b), Range(c, d)
    shared = set(range(a, b)) & set(range(c, d))
    assert left.overlaps(right) == bool(shared)
    assert set(range(*left.intersect(right))) == shared
    assert left.size == len(range(a, b))
    if left.size and right.size:
        assert left.contains(right) == (set(range(c, d)) <= set(range(a, b)))


def test_how_they_are_shown() -> None:
    assert repr(RangeSet([(16, 32), (0, 4)])) == "RangeSet([[0x0, 0x4), [0x10, 0x20)])"
    assert RangeSet([(0, 1)]) != [(0, 1)]
