# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How lines of /proc/iomem give way to the windows of PCI buses that they half overlap.

Follows arch/x86/kernel/e820.c (do_mark_busy, e820__reserve_resources_late) and kernel/resource.c
(insert_resource_expand_to_fit), the same from 5.10 to 7.2.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._ranges import Range
from .._units import MIB
from .iomem import IomemRange

#: What the kernel enters before it knows of any bus (do_mark_busy).
_LATE = frozenset({"Reserved", "Soft Reserved", "Persistent Memory", "Persistent Memory (legacy)"})
_BUS = re.compile(r"PCI Bus [0-9a-f:]+|[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def windows_of(state: Mapping[str, Any]) -> tuple[Range, ...]:
    """Windows of PCI buses and what devices have of them, from the lines of /proc/iomem in a host's state."""
    return tuple(
        Range(int(line[0]), int(line[1])) for line in state.get("iomem", ()) if _BUS.fullmatch(str(line[2]))
    )


def expanded(lines: Iterable[IomemRange], windows: Sequence[Range]) -> tuple[IomemRange, ...]:
    """The lines, in order of addresses, those grown that meet a window's border.

    RAM and what lies below 1 MiB stands first, and a window that it half overlaps is not entered.
    Everything reserved comes after the windows, and grows until it holds whole what it half overlaps.
    """
    ordered = sorted(lines)
    first = [Range(line.start, line.end) for line in ordered if not _comes_late(line)]
    borders = _borders(first)
    standing = [window for window in windows if not _cut(window, borders) or not _meets(window, first)]
    borders = _borders(standing)
    standing += first
    found = []
    for line in ordered:
        place = Range(line.start, line.end)
        if not _comes_late(line) or not _cut(place, borders):
            found.append(line)
            continue
        conflict = _meets(place, standing)
        while conflict is not None:
            place = Range(min(place.start, conflict.start), max(place.end, conflict.end))
            conflict = _meets(place, standing)
        standing.append(place)
        found.append(IomemRange(place.start, place.end, line.name))
        borders = sorted((*borders, *place))
    return tuple(sorted(found, key=lambda line: (line.start, -line.end)))


def top_level(lines: Iterable[IomemRange], windows: Sequence[Range]) -> tuple[IomemRange, ...]:
    """The lines (as :func:`expanded` gives them) that do not stand inside of a window.

    Of two that are equal the one that comes last holds the other (__insert_resource).
    """
    return tuple(
        line
        for line in lines
        if not any(
            window.start <= line.start
            and line.end <= window.end
            and not (_comes_late(line) and line[:2] == tuple(window))
            for window in windows
        )
    )


def _comes_late(line: IomemRange) -> bool:
    return line.name in _LATE and line.start >= MIB


def _borders(parts: Iterable[Range]) -> list[int]:
    return sorted(border for part in parts for border in part)


def _cut(place: Range, borders: Sequence[int]) -> bool:
    """Whether one of the sorted borders lies within: nothing is half overlapped otherwise."""
    return bisect_right(borders, place.start) < bisect_left(borders, place.end)


def _meets(place: Range, others: Iterable[Range]) -> Range | None:
    """The first that is half overlapped."""
    return next((other for other in others if _half_overlap(place, other)), None)


def _half_overlap(one: Range, other: Range) -> bool:
    """Whether they share something and neither holds the other."""
    if one.end <= other.start or other.end <= one.start:
        return False
    return not (one.start <= other.start and other.end <= one.end) and not (
        other.start <= one.start and one.end <= other.end
    )
