# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing pools on one node: which bytes of the free ranges each pool takes.

Knows ranges and alignments, nothing of kernels, files or mechanisms.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._ranges import Range, RangeSet
from .._units import SECTION, align_down, align_up

#: How many places are tried for one pool before the search moves on: real nodes have one to three
#: free ranges, so this bounds only made-up maps.
_MAX_CANDIDATES = 24


@dataclass(frozen=True)
class Demand:
    """What a pool wants on the node: ``size`` bytes, or everything left where it is None."""

    pool: str
    align: int
    size: int | None


@dataclass(frozen=True)
class Placement:
    """Ranges by pool, and how many bytes the pool that takes the rest got."""

    ranges: Mapping[str, tuple[Range, ...]]
    rest: int


def place(
    free: RangeSet, budget: int, demands: Sequence[Demand], pinned: Mapping[str, tuple[Range, ...]]
) -> Placement | None:
    """Place all demands, or None where the fixed sizes do not fit.

    ``budget`` bounds the bytes that all pools take together (the kernel's share is what remains).
    ``pinned`` pools keep the ranges given. At most one demand may ask for the rest. In order:
    all fixed sizes, the largest rest, the fewest ranges, whole sections, the lowest address.
    """
    fixed = [d for d in demands if d.size is not None and d.pool not in pinned]
    fixed.sort(key=lambda d: (-d.align, -(d.size or 0), d.pool))
    rest = next((d for d in demands if d.size is None and d.pool not in pinned), None)
    taken = {pool: ranges for pool, ranges in pinned.items() if any(d.pool == pool for d in demands)}
    for ranges in taken.values():
        if any(not free.contains(r) for r in ranges):
            return None
        free = free.subtract(ranges)
        budget -= sum(r.size for r in ranges)
    budget -= sum(d.size or 0 for d in fixed)
    if budget < 0:
        return None
    best = _search(free, budget, fixed, rest)
    if best is None:
        return None
    return Placement({**taken, **best.ranges}, best.rest)


def _search(free: RangeSet, budget: int, fixed: Sequence[Demand], rest: Demand | None) -> Placement | None:
    if not fixed:
        if rest is None:
            return Placement({}, 0)
        ranges = _take_rest(free, budget, rest.align)
        return Placement({rest.pool: ranges}, sum(r.size for r in ranges))
    demand, later = fixed[0], fixed[1:]
    bound = min(budget, free.align_inward(rest.align).size) if rest else 0
    if rest:
        bound = align_down(bound, rest.align)
    best: Placement | None = None
    for ranges in _candidates(free, demand):
        found = _search(free.subtract(ranges), budget, later, rest)
        if found is None:
            continue
        found = Placement({demand.pool: ranges, **found.ranges}, found.rest)
        if best is None or _rank(found) < _rank(best):
            best = found
        if rest is None or best.rest >= bound:
            # Candidates come in the order of preference: nothing later can be better.
            break
    return best


def _rank(placement: Placement) -> tuple[int, int]:
    return -placement.rest, sum(len(ranges) for ranges in placement.ranges.values())


def _candidates(free: RangeSet, demand: Demand) -> list[tuple[Range, ...]]:
    """Places for a fixed size, best first: one range on section borders, one range, several."""
    size = demand.size or 0
    single: list[tuple[int, int]] = []
    for run in free.align_inward(demand.align):
        if run.size < size:
            continue
        starts = {
            align_up(run.start, max(demand.align, SECTION)),
            run.start,
            align_down(run.end - size, max(demand.align, SECTION)),
            run.end - size,
        }
        for start in starts:
            if run.contains(Range(start, start + size)):
                broken = (start % SECTION != 0) + ((start + size) % SECTION != 0)
                single.append((broken, start))
    result: list[tuple[Range, ...]] = [
        (Range(start, start + size),) for _, start in sorted(set(single))[:_MAX_CANDIDATES]
    ]
    several = _take_rest(free, size, demand.align)
    if sum(r.size for r in several) == size and len(several) > 1:
        result.append(several)
    return result


def _take_rest(free: RangeSet, budget: int, align: int) -> tuple[Range, ...]:
    """The most aligned bytes, at most ``budget``, in the fewest ranges."""
    runs = list(free.align_inward(align))
    excess = sum(run.size for run in runs) - align_down(max(0, budget), align)
    for run in sorted(runs, key=lambda r: (r.size, -r.start)):
        if 0 < run.size <= excess:
            runs.remove(run)
            excess -= run.size
    if excess > 0 and runs:
        last = runs.pop()
        # What must be given up is given up at the start first, as far as that reaches a section's
        # border: a section that the kernel shares with a pool saves nothing.
        start = align_up(last.start, max(align, SECTION))
        if start - last.start <= excess:
            excess -= start - last.start
            last = Range(start, last.end)
        runs.append(Range(last.start, last.end - excess))
    return tuple(run for run in runs if run.size)
