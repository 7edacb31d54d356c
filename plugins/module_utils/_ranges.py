# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Half-open byte ranges and the algebra of sorted, disjoint sets of them.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ._units import align_down, align_up


class Range(NamedTuple):
    """Bytes ``[start, end)``; empty where ``end <= start``."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return max(0, self.end - self.start)

    def overlaps(self, other: Range) -> bool:
        return max(self.start, other.start) < min(self.end, other.end)

    def contains(self, other: Range) -> bool:
        return self.start <= other.start and other.end <= self.end

    def intersect(self, other: Range) -> Range:
        start = max(self.start, other.start)
        return Range(start, max(start, min(self.end, other.end)))

    def align_inward(self, align: int) -> Range:
        """The largest range inside whose start and end are multiples of ``align`` (may be empty)."""
        start = align_up(self.start, align)
        return Range(start, max(start, align_down(self.end, align)))

    def __str__(self) -> str:
        return f"[{self.start:#x}, {self.end:#x})"


class RangeSet:
    """An immutable set of bytes, kept as sorted, disjoint, non-touching ranges."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[Range] = []
        for start, end in sorted(ranges):
            if end <= start:
                continue
            if merged and start <= merged[-1].end:
                if end > merged[-1].end:
                    merged[-1] = Range(merged[-1].start, end)
            else:
                merged.append(Range(start, end))
        self._ranges: tuple[Range, ...] = tuple(merged)

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"RangeSet([{', '.join(str(part) for part in self._ranges)}])"

    @property
    def size(self) -> int:
        """Bytes in the set."""
        return sum(part.size for part in self._ranges)

    def union(self, other: Iterable[tuple[int, int]]) -> RangeSet:
        return RangeSet([*self._ranges, *other])

    def intersect(self, other: Iterable[tuple[int, int]]) -> RangeSet:
        right = other._ranges if isinstance(other, RangeSet) else RangeSet(other)._ranges
        left = self._ranges
        result = []
        i = j = 0
        while i < len(left) and j < len(right):
            start = max(left[i].start, right[j].start)
            end = min(left[i].end, right[j].end)
            if start < end:
                result.append((start, end))
            if left[i].end < right[j].end:
                i += 1
            else:
                j += 1
        return RangeSet(result)

    def subtract(self, other: Iterable[tuple[int, int]]) -> RangeSet:
        right = other._ranges if isinstance(other, RangeSet) else RangeSet(other)._ranges
        result = []
        j = 0
        for part in self._ranges:
            position = part.start
            while j < len(right) and right[j].end <= position:
                j += 1
            k = j
            while k < len(right) and right[k].start < part.end:
                if right[k].start > position:
                    result.append((position, right[k].start))
                position = max(position, right[k].end)
                k += 1
            if position < part.end:
                result.append((position, part.end))
        return RangeSet(result)

    def align_inward(self, align: int) -> RangeSet:
        """Each range shrunk to multiples of ``align``; ranges that vanish are dropped."""
        return RangeSet(part.align_inward(align) for part in self._ranges)

    def align_outward(self, align: int) -> RangeSet:
        """Each range grown to multiples of ``align``: the units of ``align`` it touches."""
        return RangeSet((align_down(p.start, align), align_up(p.end, align)) for p in self._ranges)

    def contains(self, wanted: Range) -> bool:
        """True where every byte of ``wanted`` is in the set."""
        return wanted.size == 0 or any(part.contains(wanted) for part in self._ranges)

    def overlaps(self, wanted: Range) -> bool:
        return any(part.overlaps(wanted) for part in self._ranges)
