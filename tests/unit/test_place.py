# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing pools: exact against an independent formula and against trying everything."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from every_placement import best
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._planner.place import Demand, Placement, place
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB, SECTION


def gib(*pairs: tuple[float, float]) -> RangeSet:
    return RangeSet((int(a * GIB), int(b * GIB)) for a, b in pairs)


def in_gib(placement: Placement | None) -> dict[str, list[tuple[float, float]]]:
    assert placement is not None
    return {pool: [(r.start / GIB, r.end / GIB) for r in ranges] for pool, ranges in placement.ranges.items()}


def check(
    found: Placement,
    free: RangeSet,
    budget: int,
    demands: Sequence[Demand],
    pinned: Mapping[str, Sequence[Range]],
) -> None:
    taken = [r for ranges in found.ranges.values() for r in ranges]
    assert set(found.ranges) == {d.pool for d in demands}
    assert RangeSet(taken).size == sum(r.size for r in taken) <= budget
    assert all(r.size and free.contains(r) for r in taken)
    for demand in demands:
        ranges = found.ranges[demand.pool]
        assert sum(r.size for r in ranges) == (found.rest if demand.size is None else demand.size)
        assert all(RangeSet(ranges).contains(r) for r in pinned.get(demand.pool, ()))
        assert all(r.start % demand.align == r.end % demand.align == 0 for r in ranges)
        assert len(RangeSet(ranges)) == len(ranges), "ranges that touch are one"
        assert list(ranges) == sorted(ranges)


@pytest.mark.parametrize(
    ("free", "budget", "demands", "wanted"),
    [
        # what the kernel keeps is left at the start of a pool that takes the rest only for a section's border
        ([(4, 8)], 3, [("a", GIB, None)], {"a": [(4, 7)]}),
        ([(4.0625, 8)], 3.75, [("a", 2 * MIB, None)], {"a": [(4.125, 7.875)]}),
        # all of the fixed sizes first, then the most for the rest
        ([(4, 8)], 4, [("a", 2 * MIB, 1), ("b", 2 * MIB, None)], {"a": [(4, 5)], "b": [(5, 8)]}),
        # a small pool goes where the rest with its larger pages cannot
        ([(4, 7.5)], 4, [("a", 2 * MIB, 0.5), ("b", GIB, None)], {"a": [(7, 7.5)], "b": [(4, 7)]}),
        ([(4.5, 7)], 4, [("a", 2 * MIB, 0.5), ("b", GIB, None)], {"a": [(4.5, 5)], "b": [(5, 7)]}),
        # even in two parts: a larger rest comes before fewer ranges
        (
            [(4.5, 7), (8, 9.5)],
            9,
            [("a", 2 * MIB, 1), ("b", GIB, None)],
            {"a": [(4.5, 5), (9, 9.5)], "b": [(5, 7), (8, 9)]},
        ),
        # but fewer ranges where the rest gets no more by it
        ([(4.5, 7), (8, 9.5)], 3, [("a", 2 * MIB, 1), ("b", GIB, None)], {"a": [(8, 9)], "b": [(5, 7)]}),
        # each pool in one range although the first place found for the largest would break another
        ([(4, 10), (12, 16)], 10, [("a", GIB, 4), ("b", GIB, 3), ("c", GIB, 3)],
         {"a": [(12, 16)], "b": [(4, 7)], "c": [(7, 10)]}),
        # whole sections rather than the lowest address
        ([(4.0625, 6)], 2, [("a", 2 * MIB, 1)], {"a": [(4.125, 5.125)]}),
        # several ranges where no single one is long enough
        ([(4, 5), (6, 7)], 2, [("a", GIB, 2)], {"a": [(4, 5), (6, 7)]}),
        ([(4, 5), (6, 9)], 2, [("a", GIB, None)], {"a": [(6, 8)]}),
        # nothing for the rest
        ([(4, 5)], 1, [("a", GIB, 1), ("b", 2 * MIB, None)], {"a": [(4, 5)], "b": []}),
        ([(4, 5)], 0.25, [("a", GIB, None)], {"a": []}),
        ([], 9, [("a", GIB, None)], {"a": []}),
    ],
)  # fmt: skip
def test_places(
    free: list[tuple[float, float]],
    budget: float,
    demands: list[tuple[str, int, float | None]],
    wanted: dict[str, list[tuple[float, float]]],
) -> None:
    typed = [Demand(name, align, None if size is None else int(size * GIB)) for name, align, size in demands]
    assert in_gib(place(gib(*free), int(budget * GIB), typed, {})) == wanted


@pytest.mark.parametrize(
    ("free", "budget", "demands"),
    [
        ([(4, 5)], 9, [("a", GIB, 2)]),
        ([(4, 9)], 1, [("a", GIB, 2)]),
        ([(4.5, 5.5)], 9, [("a", GIB, 1)]),
        ([(4, 9)], 9, [("a", GIB, 3), ("b", 2 * MIB, 3)]),
        ([], 9, [("a", GIB, 1)]),
        ([(4, 9)], -1, [("a", GIB, None)]),
    ],
)
def test_what_does_not_fit(
    free: list[tuple[float, float]], budget: int, demands: list[tuple[str, int, int | None]]
) -> None:
    typed = [Demand(name, align, None if size is None else size * GIB) for name, align, size in demands]
    assert place(gib(*free), budget * GIB, typed, {}) is None


def test_pinned_pools_stay_where_they_are() -> None:
    free = gib((4, 12))
    pins = {"a": (Range(7 * GIB, 8 * GIB),), "gone": (Range(4 * GIB, 5 * GIB),)}
    demands = [Demand("a", GIB, GIB), Demand("b", GIB, 2 * GIB), Demand("c", GIB, None)]
    assert in_gib(place(free, 8 * GIB, demands, pins)) == {
        "a": [(7, 8)],
        "b": [(4, 6)],
        "c": [(6, 7), (8, 12)],
    }
    assert place(gib((4, 7)), 8 * GIB, demands, pins) is None


# ------------------------------------------------------------- against an independent formula, in small

ALIGNS = st.sampled_from([1, 2, 4, 8])
FREE = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=5).map(
    lambda pairs: RangeSet((a, a + n) for a, n in pairs)
)


@st.composite
def demands(draw: st.DrawFn, count: int = 4, largest: int = 5) -> list[Demand]:
    names = [f"p{n}" for n in range(draw(st.integers(1, count)))]
    found = [Demand(n, a, a * draw(st.integers(1, largest))) for n, a in ((n, draw(ALIGNS)) for n in names)]
    return [*found, Demand("rest", draw(ALIGNS), None)] if draw(st.booleans()) else found


def blocks(free: RangeSet, align: int) -> int:
    """Whole aligned blocks, counted one by one."""
    return sum(free.contains(Range(a, a + align)) for a in range(0, 96, align))


def largest(free: RangeSet, budget: int, wanted: Sequence[Demand]) -> int | None:
    """The largest rest, by trying every size of it; None where not even none fits."""
    fixed = [d for d in wanted if d.size is not None]
    rest = next((d for d in wanted if d.size is None), None)
    best = None
    for size in range(0, 96, rest.align) if rest else [0]:
        everything = [(d.align, d.size or 0) for d in fixed] + ([(rest.align, size)] if rest else [])
        fits = sum(s for _, s in everything) <= budget and all(
            sum(s for a, s in everything if a >= align) <= align * blocks(free, align)
            for align in (1, 2, 4, 8)
        )
        if fits:
            best = size
    return best


@given(FREE, st.integers(-2, 60), demands())
@settings(max_examples=300)
def test_all_sizes_fit_and_the_rest_is_the_largest(free: RangeSet, budget: int, wanted: list[Demand]) -> None:
    found, best = place(free, budget, wanted, {}), largest(free, budget, wanted)
    if best is None:
        assert found is None
    else:
        assert found is not None
        assert found.rest == best
        check(found, free, budget, wanted, {})


@given(FREE, st.integers(0, 60), demands(count=3))
def test_pins(free: RangeSet, budget: int, wanted: list[Demand]) -> None:
    before = place(free, budget, wanted, {})
    if before is None:
        return
    fixed = [d.pool for d in wanted if d.size is not None]
    pins = {pool: before.ranges[pool] for pool in fixed[:2]}
    found = place(free, budget, wanted, pins)
    assert found is not None
    check(found, free, budget, wanted, pins)
    # It cannot be better than without pins, and what was found with these pins is possible.
    assert found.rest == before.rest


# ------------------------------------------------------------- against everything there is, in small


def small_case(
    chance: random.Random, top: int
) -> tuple[RangeSet, int, list[Demand], dict[str, tuple[Range, ...]]]:
    free = RangeSet((page, page + 1) for page in range(top) if chance.random() < 0.8)
    wanted = []
    for n in range(chance.randint(1, 3)):
        align = chance.choice([1, 1, 2, 4])
        wanted.append(Demand(f"p{n}", align, align * chance.randint(1, max(1, 5 // align))))
    if chance.random() < 0.6:
        wanted.append(Demand("rest", chance.choice([1, 2, 4]), None))
    kept = {}
    left = free
    for demand in wanted if chance.random() < 0.5 else ():
        some: list[Range] = []
        for _ in range(chance.randint(0, 2)):
            pages = [
                Range(a, a + demand.align) for a in range(0, top, demand.align)
                if left.contains(Range(a, a + demand.align))
            ]  # fmt: skip
            if pages and (demand.size is None or demand.align * (len(some) + 1) <= demand.size):
                some.append(chance.choice(pages))
                left = left.subtract(some)
        if some:
            kept[demand.pool] = tuple(RangeSet(some))
    return free, chance.choice([96, chance.randint(0, top)]), wanted, kept


@pytest.mark.parametrize("block", range(8))
def test_nothing_better_exists(block: int) -> None:
    """Whether it fits, the rest and the number of ranges, on 4,000 maps of up to 14 pages."""
    fit = 0
    for seed in range(500 * block, 500 * (block + 1)):
        free, budget, wanted, kept = small_case(random.Random(seed), 4 + seed % 11)
        possible = best(free, budget, wanted, kept)
        found = place(free, budget, wanted, kept, block=4)
        assert (found and (found.rest, found.count)) == possible, seed
        if found:
            fit += 1
            check(found, free, budget, wanted, kept)
    assert fit > 120


def test_sections_are_broken_only_where_they_must() -> None:
    free = RangeSet([(4 * GIB + 64 * MIB, 12 * GIB)])
    found = place(free, 8 * GIB, [Demand("a", 4 * KIB, 3 * SECTION), Demand("b", 2 * MIB, 2 * SECTION)], {})
    assert found is not None
    assert all(r.start % SECTION == r.end % SECTION == 0 for ranges in found.ranges.values() for r in ranges)


def test_shredded_nodes() -> None:
    shreds = RangeSet(
        (4 * GIB + n * 96 * MIB, 4 * GIB + n * 96 * MIB + (16 + 7 * n % 64) * MIB) for n in range(100)
    )
    many = [Demand(f"p{n}", 2 * MIB, (30 + 10 * n) * MIB) for n in range(12)]
    rests = [*many, Demand("rest", 2 * MIB, None)]
    for budget in (shreds.size, shreds.size // 2):
        for wanted in (many, rests):
            found = place(shreds, budget, wanted, {})
            assert found is not None
            check(found, shreds, budget, wanted, {})
