# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packing things that must not be broken into free runs.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._ranges import Range, RangeSet

#: Places that are tried before it is given up; a pool has a handful of devices and one or two ranges.
_MAX_TRIES = 5000


@dataclass(frozen=True)
class Item:
    """``size`` bytes in one piece on a border of ``align``; the size is a multiple of it."""

    name: str
    align: int
    size: int


_State = tuple["tuple[RangeSet, ...]", "tuple[tuple[int, int], ...]"]


class Packer:
    """``free`` are the sets to pack into, none of which is left across its border with another.

    Where ``rest`` is not 0, a run of so many bytes on a border of as many has to be left.
    ``left`` is what remains after :meth:`pack` found a way.
    """

    def __init__(self, free: Sequence[RangeSet], rest: int) -> None:
        self.free = tuple(free)
        self.rest = rest
        self.left = self.free
        self._tries = 0
        self._failed: set[_State] = set()

    @property
    def doubt(self) -> str:
        """Words for a message where not everything was tried; empty where it was."""
        if self._tries < _MAX_TRIES:
            return ""
        return (
            f" ({_MAX_TRIES} places were tried, not all; where you know one that fits, write it as extents:)"
        )

    def pack(self, items: Sequence[Item]) -> dict[str, Range] | None:
        """Where each item goes; None where there is no way.

        First in the order given, each at the first place that has room, then largest first. Then
        everything is tried: whatever lies in a run can be moved down until it touches the next, so
        the lower ends of runs are places enough, in every order.
        """
        for order in (items, sorted(items, key=lambda i: (-i.align, -i.size, i.name))):
            placed = self._first_fit(order)
            if placed is not None:
                return placed
        return self._search(self.free, tuple(sorted(items, key=lambda i: (-i.align, -i.size, i.name))))

    def _first_fit(self, items: Sequence[Item]) -> dict[str, Range] | None:
        free, placed = self.free, {}
        for item in items:
            spots = _spots(free, item)
            if not spots:
                return None
            index, spot = spots[0]
            free = _without(free, index, spot)
            placed[item.name] = spot
        return placed if self._is_enough(free) else None

    def _is_enough(self, free: tuple[RangeSet, ...]) -> bool:
        """Whether the rest has its run; if so, ``free`` is what is left."""
        if self.rest and not any(part.align_inward(self.rest) for part in free):
            return False
        self.left = free
        return True

    def _search(self, free: tuple[RangeSet, ...], items: tuple[Item, ...]) -> dict[str, Range] | None:
        if not items:
            return {} if self._is_enough(free) else None
        state = (free, tuple((i.align, i.size) for i in items))
        if state in self._failed:
            return None
        for number, item in enumerate(items):
            if any((i.align, i.size) == (item.align, item.size) for i in items[:number]):
                continue
            for index, spot in _spots(free, item):
                if self._tries >= _MAX_TRIES:
                    return None
                self._tries += 1
                found = self._search(_without(free, index, spot), items[:number] + items[number + 1 :])
                if found is not None:
                    return {**found, item.name: spot}
        self._failed.add(state)
        return None


def _spots(free: Sequence[RangeSet], item: Item) -> list[tuple[int, Range]]:
    return [
        (index, Range(run.start, run.start + item.size))
        for index, part in enumerate(free)
        for run in part.align_inward(item.align)
        if run.size >= item.size
    ]


def _without(free: Sequence[RangeSet], index: int, spot: Range) -> tuple[RangeSet, ...]:
    return (*free[:index], free[index].subtract((spot,)), *free[index + 1 :])
