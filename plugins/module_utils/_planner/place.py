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

#: How many places are tried before the best found so far is taken: real nodes have one to three free
#: ranges and need a handful, so this bounds only made-up maps.
_MAX_TRIES = 300


@dataclass(frozen=True)
class Demand:
    """What a pool wants on the node: ``size`` bytes, or everything left where it is None.

    Aligns are powers of two; sizes are multiples of them.
    """

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
    all fixed sizes, the largest rest, the fewest ranges, whole sections, the lowest address. The
    first two are exact; the others are sought among the likely places.
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
    wanted = _largest_rest(free, budget, fixed, rest)
    if wanted is None:
        return None
    search = _Search(wanted, rest)
    search.run(free, fixed, {})
    return Placement({**taken, **(search.best or {})}, wanted)


def _largest_rest(free: RangeSet, budget: int, fixed: Sequence[Demand], rest: Demand | None) -> int | None:
    """The most that the rest can get beside the fixed sizes; None where those do not fit.

    Exact, because aligns are powers of two: whatever lies on a border of the larger lies on one of
    the smaller. So demands fit if and only if, for each align, those of that align and above ask for
    no more than the aligned bytes there are.
    """
    left = budget - sum(d.size or 0 for d in fixed)
    if left < 0:
        return None
    largest = align_down(left, rest.align) if rest else 0
    for align in {d.align for d in fixed} | ({rest.align} if rest else set()):
        spare = free.align_inward(align).size - sum(d.size or 0 for d in fixed if d.align >= align)
        if spare < 0:
            return None
        if rest and align <= rest.align:
            largest = min(largest, align_down(spare, rest.align))
    return largest


_Ranges = Mapping[str, "tuple[Range, ...]"]


class _Search:
    """Depth first, demand by demand, over places that leave the rest what it can have.

    ``best`` has the fewest ranges of what was found; of equals the first, for places come in the
    order of preference.
    """

    def __init__(self, wanted: int, rest: Demand | None) -> None:
        self.best: _Ranges | None = None
        self._wanted = wanted
        self._rest = rest
        self._least = 0
        self._tries = 0

    def run(self, free: RangeSet, fixed: Sequence[Demand], placed: _Ranges) -> None:
        if not placed:
            # No fewer than one range for each, and for the rest what it would need with nothing in its way.
            self._least = len(fixed) + (len(self._take_rest(free)) if self._rest else 0)
        if not fixed:
            found = dict(placed)
            if self._rest:
                found[self._rest.pool] = self._take_rest(free)
            if self.best is None or _count(found) < _count(self.best):
                self.best = found
            return
        demand, later = fixed[0], fixed[1:]
        for ranges in _candidates(free, demand, self._rest.align if self._rest else 0):
            if self.best is not None and (self._tries >= _MAX_TRIES or _count(self.best) <= self._least):
                return
            self._tries += 1
            left = free.subtract(ranges)
            if (
                _largest_rest(left, sum(d.size or 0 for d in later) + self._wanted, later, self._rest)
                == self._wanted
            ):
                self.run(left, later, {**placed, demand.pool: ranges})

    def _take_rest(self, free: RangeSet) -> tuple[Range, ...]:
        return _take(free, self._wanted, self._rest.align) if self._rest else ()


def _count(ranges: _Ranges) -> int:
    return sum(len(parts) for parts in ranges.values())


def _candidates(free: RangeSet, demand: Demand, rest_align: int) -> list[tuple[Range, ...]]:
    """Places for a fixed size, best first: one range on section borders, one range, several.

    The last one always leaves a rest of ``rest_align`` the most it can have.
    """
    size = demand.size or 0
    border = max(demand.align, SECTION)
    single: set[tuple[int, int]] = set()
    for run in free.align_inward(demand.align):
        for start in (
            align_up(run.start, border),
            run.start,
            align_down(run.end - size, border),
            run.end - size,
        ):
            if run.contains(Range(start, start + size)):
                broken = (start % SECTION != 0) + ((start + size) % SECTION != 0)
                single.add((broken, start))
    result: list[tuple[Range, ...]] = [(Range(start, start + size),) for _, start in sorted(single)]
    several = _beside(free, size, demand.align, rest_align)
    return [*result, several] if several not in result else result


def _beside(free: RangeSet, size: int, align: int, rest_align: int) -> tuple[Range, ...]:
    """``size`` bytes of what no rest of ``rest_align`` could use, then of as few of its pages as possible."""
    pages = free.align_inward(rest_align) if rest_align > align else RangeSet()
    scraps = free.align_inward(align).subtract(pages)
    beside = _take(scraps, min(size, scraps.size), align)
    return tuple(RangeSet([*beside, *_take(pages, size - sum(r.size for r in beside), align)]))


def _take(free: RangeSet, size: int, align: int) -> tuple[Range, ...]:
    """``size`` aligned bytes in the fewest ranges; ``free`` has to have them."""
    runs = list(free.align_inward(align))
    excess = sum(run.size for run in runs) - size
    for run in sorted(runs, key=lambda r: (r.size, -r.start)):
        if run.size <= excess:
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
    return tuple(runs)
