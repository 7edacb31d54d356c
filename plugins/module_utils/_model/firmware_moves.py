# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a firmware's map is not where it was when a layout was computed: other memory, or areas that moved. Pure.

A firmware places its own areas anew at each boot. Among logs of machines that were booted several times with one
version of their firmware, 26 pairs of boots differ in where RAM lies, by less than 20 MiB and all of it below 4 GiB:
20 by less than 1 MiB, five of one desktop by 10 to 16 MiB (areas of 5 to 8 MiB at other places, counted where they
were and where they are), one of a laptop by 16 MiB. What differs by more has other memory.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._host.model import RAM, MapEntry
from .._ranges import Range
from .._units import GIB, MIB
from .e820 import apply_arguments

#: Bytes in all, below :data:`BOUND`, that may be of another type than when a layout was computed.
FIRMWARE_MOVES = 32 * MIB
#: From here on nothing may move: memory that is there or not, and the ranges of layouts.
BOUND = 4 * GIB
#: What lies below is the BIOS's, and the kernel takes part of it (arch/x86/kernel/e820.c, trim_bios_range).
_LOW = MIB

#: Of e820 types; 0 is nothing.
_WORDS = {0: "nothing", 1: "RAM", 2: "reserved", 3: "ACPI data", 4: "ACPI NVS", 5: "unusable"}


class Move(NamedTuple):
    """Bytes ``[start, end)`` that were of the e820 type ``before`` and are of the type ``now``; 0 is nothing."""

    start: int
    end: int
    before: int
    now: int

    @property
    def text(self) -> str:
        return f"{Range(self.start, self.end)} was {_word(self.before)} and is {_word(self.now)}"


def moves(
    known: Sequence[tuple[int, int, int]],
    firmware: Sequence[MapEntry],
    tokens: Sequence[str],
    release: str,
    outside: Sequence[Range],
) -> list[Move]:
    """What differs between a layout's map and today's, but for the layout's own ranges (``outside``).

    ``known`` is the map that the layout was computed for, after the arguments of that time; ``firmware`` is today's
    without any, ``tokens`` are arguments of others that may change it. What differs only because of arguments did not
    move.
    """
    changed = apply_arguments(firmware, tokens, release).entries
    bounds = sorted(
        {_LOW, *(e[0] for e in known), *(e[1] for e in known)}
        | {edge for entries in (firmware, changed) for e in entries for edge in (e.start, e.end)}
        | {edge for part in outside for edge in part}
    )
    own = _Lookup([(part[0], part[1], 1) for part in sorted(outside)])
    before, plain, now = _Lookup(known), _Lookup(firmware), _Lookup(changed)
    found: list[Move] = []
    for start, end in zip(bounds, bounds[1:]):
        was, bare, kind = before.type_at(start), plain.type_at(start), now.type_at(start)
        if own.type_at(start) or start < _LOW or was in (bare, kind):
            continue
        last = found[-1] if found else None
        if last and (last.end, last.before, last.now) == (start, was, bare):
            found[-1] = last._replace(end=end)
        else:
            found.append(Move(start, end, was, bare))
    return found


def tolerable(found: Iterable[Move]) -> bool:
    """Whether a firmware's own areas alone have moved: little, and nothing above :data:`BOUND`."""
    moved = list(found)
    return all(move.end <= BOUND for move in moved) and sum(m.end - m.start for m in moved) <= FIRMWARE_MOVES


def describe(found: Sequence[Move], most: int = 4) -> str:
    """The first few of them in words, RAM before all else."""
    ordered = sorted(found, key=lambda move: RAM not in (move.before, move.now))
    return "; ".join(move.text for move in ordered[:most]) + ("; ..." if len(ordered) > most else "")


def _word(kind: int) -> str:
    return _WORDS.get(kind, f"of type {kind:#x}")


class _Lookup:
    """Types by address, asked for in ascending order."""

    def __init__(self, entries: Sequence[tuple[int, int, int]]) -> None:
        self._entries = sorted(entries)
        self._index = 0

    def type_at(self, address: int) -> int:
        while self._index < len(self._entries) and self._entries[self._index][1] <= address:
            self._index += 1
        if self._index < len(self._entries) and self._entries[self._index][0] <= address:
            return self._entries[self._index][2]
        return 0
