# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Half-open byte ranges and the algebra of sorted, disjoint sets of them.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from bisect import bisect_left
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


def _first_past(ranges: tuple[Range, ...], position: int) -> int:
    """The index of the first of sorted ranges that ends past a position."""
    index = bisect_left(ranges, (position,))
    return index - 1 if index and ranges[index - 1][1] > position else index


class RangeSet:
    """An immutable set of bytes, kept as sorted, disjoint, non-touching ranges."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[Range] = []
        last = 0
        for part in sorted(ranges):
            start, end = part
            if end <= start:
                continue
            if merged and start <= last:
                if end > last:
                    merged[-1] = Range(merged[-1][0], end)
                    last = end
            else:
                merged.append(part if isinstance(part, Range) else Range(start, end))
                last = end
        self._ranges: tuple[Range, ...] = tuple(merged)

    @classmethod
    def _of(cls, ranges: Iterable[Range]) -> RangeSet:
        """A set of ranges that are known to be in order, not empty, and not to touch."""
        new = cls.__new__(cls)
        new._ranges = tuple(ranges)
        return new

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
        return sum([end - start for start, end in self._ranges])

    def union(self, other: Iterable[tuple[int, int]]) -> RangeSet:
        return RangeSet([*self._ranges, *other])

    def intersect(self, other: Iterable[tuple[int, int]]) -> RangeSet:
        right = other._ranges if isinstance(other, RangeSet) else RangeSet(other)._ranges
        left = self._ranges
        result: list[Range] = []
        if not left or not right:
            return RangeSet._of(result)
        # Often a whole host is cut down to one node: what lies before is skipped.
        i, j = _first_past(left, right[0][0]), _first_past(right, left[0][0])
        while i < len(left) and j < len(right):
            left_start, left_end = left[i]
            right_start, right_end = right[j]
            start = left_start if left_start > right_start else right_start
            if left_end < right_end:
                end = left_end
                i += 1
            else:
                end = right_end
                j += 1
            if start < end:
                result.append(Range(start, end))
        # Neighbours in the result do not touch: there is a gap between them in one of the two.
        return RangeSet._of(result)

    def subtract(self, other: Iterable[tuple[int, int]]) -> RangeSet:
        right = other._ranges if isinstance(other, RangeSet) else RangeSet(other)._ranges
        if not right:
            return self
        result = []
        j = 0
        for part in self._ranges:
            position, end = part
            while j < len(right) and right[j][1] <= position:
                j += 1
            if j == len(right) or right[j][0] >= end:
                result.append(part)
                continue
            k = j
            while k < len(right) and right[k][0] < end:
                if right[k][0] > position:
                    result.append(Range(position, right[k][0]))
                position = right[k][1]
                k += 1
            if position < end:
                result.append(Range(position, end))
        return RangeSet._of(result)

    def align_inward(self, align: int) -> RangeSet:
        """Each range shrunk to multiples of ``align``; ranges that vanish are dropped."""
        result = []
        for start, end in self._ranges:
            first, last = -(-start // align) * align, end // align * align
            if first < last:
                result.append(Range(first, last))
        return RangeSet._of(result)

    def align_outward(self, align: int) -> RangeSet:
        """Each range grown to multiples of ``align``: the units of ``align`` it touches."""
        result: list[Range] = []
        for start, end in self._ranges:
            first, last = start // align * align, -(-end // align) * align
            if result and first <= result[-1][1]:
                if last > result[-1][1]:
                    result[-1] = Range(result[-1][0], last)
            else:
                result.append(Range(first, last))
        return RangeSet._of(result)

    def contains(self, wanted: Range) -> bool:
        """True where every byte of ``wanted`` is in the set."""
        start, end = wanted
        if end <= start:
            return True
        index = _first_past(self._ranges, start)
        return index < len(self._ranges) and self._ranges[index][0] <= start and end <= self._ranges[index][1]

    def overlaps(self, wanted: Range) -> bool:
        start, end = wanted
        index = _first_past(self._ranges, start)
        return start < end and index < len(self._ranges) and self._ranges[index][0] < end


def whole_blocks(ranges: Iterable[Range], block: int) -> list[Range]:
    """Of each range by itself what starts and ends at multiples of ``block``; nothing of one without a whole block."""
    aligned = (Range(-(-r.start // block) * block, r.end // block * block) for r in ranges)
    return [r for r in aligned if r.start < r.end]
