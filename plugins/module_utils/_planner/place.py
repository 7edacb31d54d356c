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
_MAX_TRIES = 2000


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

    @property
    def count(self) -> int:
        return sum(len(ranges) for ranges in self.ranges.values())


def place(
    free: RangeSet,
    budget: int,
    demands: Sequence[Demand],
    kept: Mapping[str, Sequence[Range]],
    block: int = SECTION,
) -> Placement | None:
    """Place all demands, or None where the fixed sizes do not fit.

    ``budget`` bounds the bytes that all pools take together (the kernel's share is what remains).
    ``kept`` are aligned ranges that a pool has to have among its own. At most one demand may ask for
    the rest. In order: all fixed sizes, the largest rest, the fewest ranges, whole sections, whole
    blocks of ``block`` bytes, the lowest address.

    The first two are exact always, the third where it takes no more than some thousand tries to
    know (``tests/unit/test_place.py`` compares with trying everything); sections, blocks and
    addresses only order the places that are tried.
    """
    own = {d.pool: tuple(kept.get(d.pool, ())) for d in demands}
    wanted = largest_rest(free, budget, demands, own)
    if wanted is None:
        return None
    free = free.subtract(r for ranges in own.values() for r in ranges)
    todo = []
    rest = 0
    for demand in sorted(demands, key=lambda d: (d.size is None, -d.align, -(d.size or 0), d.pool)):
        have = sum(r.size for r in own[demand.pool])
        if demand.size is None:
            rest = wanted
        left = (wanted if demand.size is None else demand.size) - have
        if left:
            todo.append(_Open(demand.pool, demand.align, left))
    search = _Search(block, own)
    search.run(free, tuple(todo), {}, 0)
    return Placement({d.pool: search.best.get(d.pool) or own[d.pool] for d in demands}, rest)


def largest_rest(
    free: RangeSet, budget: int, demands: Sequence[Demand], kept: Mapping[str, Sequence[Range]]
) -> int | None:
    """The most that the rest can get beside the fixed sizes; None where those do not fit.

    Exact, because aligns are powers of two: whatever lies on a border of the larger lies on one of
    the smaller. So demands fit if and only if, for each align, those of that align and above ask for
    no more than the aligned bytes there are.
    """
    own = {d.pool: kept.get(d.pool, ()) for d in demands}
    taken = RangeSet(r for ranges in own.values() for r in ranges)
    if any(not free.contains(r) for r in taken):
        return None
    free = free.subtract(taken)
    have = {pool: sum([r.size for r in ranges]) for pool, ranges in own.items()}
    sizes = [(d.align, d.size - have[d.pool]) for d in demands if d.size is not None]
    rest = next((d for d in demands if d.size is None), None)
    left = budget - taken.size - sum([size for _, size in sizes])
    if left < 0 or any(size < 0 for _, size in sizes):
        return None
    largest = align_down(left, rest.align) if rest else 0
    for align in {d.align for d in demands}:
        spare = free.align_inward(align).size - sum([size for a, size in sizes if a >= align])
        if spare < 0:
            return None
        if rest and align <= rest.align:
            largest = min(largest, align_down(spare, rest.align))
    return largest + have[rest.pool] if rest else 0


@dataclass(frozen=True)
class _Open:
    """What a pool still has to get."""

    pool: str
    align: int
    left: int


_Placed = Mapping[str, "tuple[Range, ...]"]


class _Search:
    """Depth first over places, until no better is possible or ``_MAX_TRIES`` are used up.

    A piece is either all that a pool lacks, at the lower or upper end of a free run, or a whole run.
    That is enough, in whatever order the pools get their pieces: whatever lies in a run can be
    pushed to its ends, and where two runs share two pools one of the pieces can be given up. Every
    state that is visited fits by size, so the first descent ends in a placement.

    ``best`` has the fewest ranges of what was found; of equals the first, for places come in the
    order of preference.
    """

    def __init__(self, block: int, own: _Placed) -> None:
        self.best: _Placed = {}
        self._found = False
        self._fewest = 0
        self._least: int | None = None
        self._tries = 0
        self._block = block
        self._own = own
        self._seen: dict[tuple[RangeSet, tuple[_Open, ...]], int] = {}

    def run(self, free: RangeSet, todo: tuple[_Open, ...], placed: _Placed, count: int) -> None:
        if self._least is None:
            self._least = self._at_least(free, todo)
        if len(todo) <= 1 and not any(self._own[last.pool] for last in todo):
            for last in todo:
                mine = self._add(placed, last.pool, self._all_of(free, last))
                count += len(mine) - len(placed.get(last.pool, ()))
                placed = {**placed, last.pool: mine}
            if not self._found or count < self._fewest:
                self.best, self._fewest, self._found = placed, count, True
            return
        for index, now in enumerate(todo):
            others = todo[:index] + todo[index + 1 :]
            for piece in _pieces(free, now, self._own[now.pool], self._block):
                if self._found and (self._tries >= _MAX_TRIES or self._fewest <= self._least):
                    return
                self._tries += 1
                size = piece.end - piece.start
                rest = others if size == now.left else (*others, _Open(now.pool, now.align, now.left - size))
                after = free.subtract((piece,))
                if not _fits(after, rest):
                    continue
                mine = self._add(placed, now.pool, (piece,))
                total = count + len(mine) - len(placed.get(now.pool, self._own[now.pool]))
                if self._found and total + self._at_least(after, rest) >= self._fewest:
                    continue
                if self._seen.get((after, rest), total + 1) <= total:
                    continue
                self._seen[(after, rest)] = total
                self.run(after, rest, {**placed, now.pool: mine}, total)

    def _add(self, placed: _Placed, pool: str, pieces: Sequence[Range]) -> tuple[Range, ...]:
        return tuple(RangeSet([*placed.get(pool, self._own[pool]), *pieces]))

    def _at_least(self, free: RangeSet, todo: Sequence[_Open]) -> int:
        """Ranges that are needed in any case: as many as each would need with nothing in its way.

        What touches a range that the pool has costs nothing, and what closes a gap between two saves one.
        """
        return sum(
            [1 - len(self._own[each.pool]) if self._own[each.pool] else _fewest(free, each) for each in todo]
        )

    def _all_of(self, free: RangeSet, last: _Open) -> Sequence[Range]:
        pieces = _pieces(free, last, (), self._block)
        if pieces and pieces[0].size == last.left:
            return pieces[:1]
        return _take(free, last.left, last.align)


def _fits(free: RangeSet, todo: Sequence[_Open]) -> bool:
    return all(
        free.align_inward(align).size >= sum([each.left for each in todo if each.align >= align])
        for align in {each.align for each in todo}
    )


def _fewest(free: RangeSet, wish: _Open) -> int:
    count, left = 0, wish.left
    for size in sorted([end - start for start, end in free.align_inward(wish.align)], reverse=True):
        if left <= 0:
            break
        left -= size
        count += 1
    return count


def _pieces(free: RangeSet, wish: _Open, own: Sequence[Range], block: int) -> list[Range]:
    """Places for a pool, best first: all of it beside what it has, in one, or a whole run."""
    size, align = wish.left, wish.align
    found = set()
    for run in free.align_inward(align):
        if run.end - run.start <= size:
            found.add(run)
            continue
        last = run.end - size
        for border in {align, max(align, SECTION), max(align, block)}:
            for start in (align_up(run.start, border), align_down(last, border)):
                if run.start <= start <= last:
                    found.add(Range(start, start + size))
    borders = {r.start for r in own} | {r.end for r in own}

    def rank(piece: Range) -> tuple[int, bool, int, int, int]:
        start, end = piece
        return (
            start - end,
            not borders or (start not in borders and end not in borders),
            (start % SECTION != 0) + (end % SECTION != 0),
            (start % block != 0) + (end % block != 0),
            start,
        )

    return sorted(found, key=rank)


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
