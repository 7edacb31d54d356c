# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``crashkernel=``: what a kernel sets aside for the kernel that runs after a crash.

Follows kernel/crash_core.c, later kernel/crash_reserve.c (parse_crashkernel, get_last_crashkernel,
parse_crashkernel_mem, reserve_crashkernel_generic) and, before 6.7, arch/x86/kernel/setup.c
(reserve_crashkernel, reserve_crashkernel_low). The text is looked for anywhere on the line, even behind
``--`` or inside of another word; the last of each form counts.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .._arguments import iterate
from .._ranges import Range, RangeSet
from .._units import GIB, MIB, SECTION, TIB, align_up, approximate_size, memparse, strtoull
from .e820 import Ignored
from .notes import Note
from .releases import has

_NAME = "crashkernel="
_SUFFIXES = (",high", ",low")
_CMA = ",cma"
#: CRASH_ALIGN, CRASH_ADDR_LOW_MAX and CRASH_ADDR_HIGH_MAX of x86-64.
_ALIGN = 16 * MIB
_LOW_END = 4 * GIB
_HIGH_END = 64 * TIB
#: What the kernel's image and the initrd may take before the reservation is made.
_OTHERS = 512 * MIB


@dataclass(frozen=True)
class CrashkernelResult:
    """Bytes set aside below (``low``) and from 4 GiB on (``high``).

    The addresses are not told: they depend on where the kernel and the initrd are. ``cma`` is memory that
    the running kernel goes on using (``,cma``). Where there is no room nothing is set aside and a warning
    says so.
    """

    low: int = 0
    high: int = 0
    cma: int = 0
    ignored: tuple[Ignored, ...] = ()
    warnings: tuple[Note, ...] = ()


class _Refused(Exception):
    """The kernel does not take a value; the text says why."""


@dataclass
class _Request:
    size: int = 0
    base: int = 0
    low: int | None = None
    high: bool = False
    cma: int = 0
    ignored: list[Ignored] = field(default_factory=list)


def crashkernel(tokens: Sequence[str], ram: RangeSet, release: str) -> CrashkernelResult:
    """What a kernel of this release sets aside on a host whose RAM, in whole pages, is ``ram``."""
    words = _Words(tokens, release)
    if not words.found:
        return CrashkernelResult()
    generic = has(release, "crashkernel-generic")
    request = _generic(words, ram) if generic else _old(words, ram)
    ignored = tuple(request.ignored)
    if not request.size:
        return CrashkernelResult(ignored=ignored)
    default_low = _default_low(tokens)
    placed = _place_generic(request, ram, default_low) if generic else _place_old(request, ram, default_low)
    if placed is None:
        message = (
            f"there is no RAM for crashkernel= of {approximate_size(request.size)}"
            + (f" at {request.base:#x}" if request.base else "")
            + ": nothing is set aside"
        )
        return CrashkernelResult(ignored=ignored, warnings=(Note("crashkernel-fails", message),))
    low, high = placed
    notes = []
    if not request.base and not _room(ram, low + _OTHERS if low else 0, _ALIGN, _LOW_END):
        message = (
            f"crashkernel= takes {approximate_size(low)} in one piece below 4 GiB, where kernel and initrd may be: "
            "it may fail, or go above 4 GiB"
        )
        notes.append(Note("crashkernel-tight", message))
    return CrashkernelResult(low, high, request.cma, ignored, tuple(notes))


class _Words:
    """The places of the line that begin with ``crashkernel=``: ``found`` are (value, rest of the line)."""

    def __init__(self, tokens: Sequence[str], release: str) -> None:
        line = " ".join(tokens)
        self.release = release
        self.saturate = has(release, "numbers-saturate")
        self.suffixes = (*_SUFFIXES, _CMA) if has(release, "crashkernel-cma") else _SUFFIXES
        self.found: list[str] = []
        position = line.find(_NAME)
        while position >= 0:
            self.found.append(line[position + len(_NAME) :].split(" ", 1)[0])
            position = line.find(_NAME, position + 1)

    def last(self, suffix: str) -> str | None:
        """The last value with this suffix; with "" the last that has none."""
        found = None
        for value in self.found:
            whole = _NAME + value
            if whole.endswith(suffix) if suffix else not whole.endswith(self.suffixes):
                found = value
        return found

    def number(self, text: str) -> tuple[int, str]:
        """A number and what follows it; refused where none stands."""
        value, rest = memparse(text, self.saturate)
        if rest == text:
            raise _Refused(f"a size is expected at {text!r}")
        return value, rest

    def overridden(self) -> list[Ignored]:
        """Values that a later one of the same form replaces."""
        counts = [self.last(suffix) for suffix in ("", *self.suffixes)]
        return [
            Ignored(_NAME + value, "a later crashkernel= of this form counts")
            for position, value in enumerate(self.found)
            if value not in counts or value in self.found[position + 1 :]
        ]


def _plain(words: _Words, value: str, ram: RangeSet) -> tuple[int, int]:
    """``size[@offset]`` or ``range:size,...[@offset]``: (size, offset)."""
    if ":" in value:
        return _ranges(words, value, ram)
    size, rest = words.number(value)
    if rest[:1] == "@":
        return size, memparse(rest[1:], words.saturate)[0]
    if rest:
        raise _Refused(f"{rest!r} cannot be read")
    return size, 0


def _ranges(words: _Words, value: str, ram: RangeSet) -> tuple[int, int]:
    total = ram.size
    if has(words.release, "crashkernel-rounds-ram"):
        total = align_up(total, SECTION)
    rest = value
    chosen = 0
    while True:
        start, rest = words.number(rest)
        if rest[:1] != "-":
            raise _Refused(f"'-' is expected at {rest!r}")
        rest = rest[1:]
        end = 1 << 64
        if rest[:1] != ":":
            end, rest = words.number(rest)
            if end <= start:
                raise _Refused("a range ends before it begins")
        if rest[:1] != ":":
            raise _Refused(f"':' is expected at {rest!r}")
        size, rest = words.number(rest[1:])
        if size >= total:
            raise _Refused(f"{approximate_size(size)} is all of the RAM or more")
        if start <= total < end:
            chosen = size
            break
        if rest[:1] != ",":
            break
        rest = rest[1:]
    if not chosen:
        return 0, 0
    _, at, offset = rest.partition("@")
    return chosen, words.number(offset)[0] if at else 0


def _suffixed(words: _Words, value: str, suffix: str) -> int:
    size, rest = words.number(value)
    if rest != suffix:
        raise _Refused(f"{rest!r} cannot be read")
    return size


def _generic(words: _Words, ram: RangeSet) -> _Request:
    """From 6.7 on: ``,high`` counts only where there is no plain form; any mistake ends it all."""
    request = _Request(ignored=words.overridden())
    plain, high, low, cma = (words.last(suffix) for suffix in ("", ",high", ",low", _CMA))
    current = plain
    try:
        if plain is not None:
            request.size, request.base = _plain(words, plain, ram)
            request.ignored += [
                Ignored(_NAME + value, f"it counts only with {form}")
                for value, form in ((high, "no plain crashkernel="), (low, "crashkernel=SIZE,high"))
                if value is not None
            ]
        elif high is not None:
            current = high
            request.size, request.high = _suffixed(words, high, ",high"), True
            if low is not None:
                current = low
                request.low = _suffixed(words, low, ",low")
        else:
            current = low if low is not None else cma
            raise _Refused("it counts only with another crashkernel= that tells a size")
        if not request.size:
            raise _Refused("it comes to zero bytes")
        if request.size >= ram.size:
            raise _Refused(f"{approximate_size(request.size)} is all of the RAM or more")
    except _Refused as refused:
        request.size = 0
        request.ignored.append(Ignored(f"{_NAME}{current}", str(refused)))
    if request.size and cma is not None and _CMA in words.suffixes:
        try:
            request.cma = _suffixed(words, cma, _CMA)
        except _Refused as refused:
            request.ignored.append(Ignored(_NAME + cma, str(refused)))
    return request


def _old(words: _Words, ram: RangeSet) -> _Request:
    """Before 6.7: where the plain form gives nothing, ``,high`` is tried; a wrong ``,low`` is the default."""
    request = _Request(ignored=words.overridden())
    plain, high, low = (words.last(suffix) for suffix in ("", ",high", ",low"))
    if plain is not None:
        try:
            request.size, request.base = _plain(words, plain, ram)
            if not request.size:
                raise _Refused("it comes to zero bytes")
        except _Refused as refused:
            request.size = request.base = 0
            request.ignored.append(Ignored(_NAME + plain, str(refused)))
    if high is not None:
        if request.size:
            request.ignored.append(Ignored(_NAME + high, "it counts only with no plain crashkernel="))
        else:
            try:
                request.size, request.high = _suffixed(words, high, ",high"), True
            except _Refused as refused:
                request.ignored.append(Ignored(_NAME + high, str(refused)))
    if low is not None:
        try:
            request.low = _suffixed(words, low, ",low")
        except _Refused as refused:
            request.ignored.append(Ignored(_NAME + low, str(refused)))
        if not request.size:
            request.ignored.append(Ignored(_NAME + low, "no crashkernel= tells a size"))
    return request


def _place_generic(request: _Request, ram: RangeSet, default_low: int) -> tuple[int, int] | None:
    size, base = request.size, request.base
    if base:
        if base % _ALIGN or not ram.contains(Range(base, base + size)):
            return None
        return (size, 0) if base < _LOW_END else (0, size)
    wants_low = request.low if request.low is not None else default_low
    below, above = _room(ram, size, 0, _LOW_END), _room(ram, size, _LOW_END, _HIGH_END)
    if (not request.high and below) or (request.high and not above and below):
        return size, 0
    if not above or (wants_low and not _room(ram, wants_low, 0, _LOW_END)):
        return None
    return wants_low, size


def _place_old(request: _Request, ram: RangeSet, default_low: int) -> tuple[int, int] | None:
    size, base = request.size, request.base
    if base:
        if base % MIB or not ram.contains(Range(base, base + size)):
            return None
        high = base >= _LOW_END
    elif not request.high and _room(ram, size, _ALIGN, _LOW_END):
        high = False
    elif _room(ram, size, _LOW_END, _HIGH_END):
        high = True
    elif _room(ram, size, _ALIGN, _HIGH_END):
        high = False
    else:
        return None
    if not high:
        return size, 0
    wants_low = request.low if request.low is not None else default_low
    if wants_low and not _room(ram, wants_low, 0, _LOW_END):
        return None
    return wants_low, size


def _room(ram: RangeSet, size: int, start: int, end: int) -> bool:
    """Whether a piece of RAM within ``[start, end)`` holds ``size`` bytes at a multiple of 16 MiB."""
    return any(align_up(part.start, _ALIGN) + size <= part.end for part in ram.intersect([Range(start, end)]))


def _default_low(tokens: Iterable[str]) -> int:
    """256 MiB, or what ``swiotlb=`` asks for and 8 MiB (crash_low_size_default)."""
    slabs = 0
    for argument in iterate(tokens):
        if argument.name == "swiotlb" and argument.value and argument.value[0].isdigit():
            slabs = align_up(strtoull(argument.value)[0], 128)
    return max((slabs * 2048 if slabs else 64 * MIB) + 8 * MIB, 256 * MIB)
