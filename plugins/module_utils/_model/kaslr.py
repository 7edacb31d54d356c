# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where early boot may put the kernel, as far as the command line decides it.

Follows arch/x86/boot/compressed/kaslr.c (handle_mem_options, mem_avoid_memmap, parse_memmap),
the same from 5.10 to 7.x: ``# $ !`` items are avoided, at most four of them; every other item,
``%`` included, only lowers the address below which the kernel is put.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._arguments import iterate
from .._ranges import Range
from .._units import GIB, MIB, U64, memparse

_MAX_MEMMAP_REGIONS = 4

#: A first item that changes nothing (it converts a type no firmware uses into another such type)
#: but lowers KASLR's limit to 1 GiB, so that large ``%`` items cannot be landed in.
GUARD_LIMIT = GIB
GUARD = "memmap=1G%0-77+78"

#: Below this limit hardly a slot is left for the kernel (image plus decompression buffers), and
#: the kernel stays at its default physical place.
_SMALL_LIMIT = 128 * MIB


@dataclass(frozen=True)
class Placement:
    """What KASLR is told: land below ``limit``, outside of ``avoided``; or not at all."""

    limit: int
    avoided: tuple[Range, ...]
    randomised: bool
    reason: str

    def collisions(self, ranges: Iterable[Range]) -> list[Range]:
        """Those of ``ranges`` inside which the kernel may land."""
        if not self.randomised:
            return []
        return [r for r in ranges if r.start < self.limit and not any(a.contains(r) for a in self.avoided)]


def placement(tokens: Sequence[str]) -> Placement:
    """Read a command line as the decompressor does."""
    limit = U64 - 1
    avoided: list[Range] = []
    too_many = False
    for argument in iterate(tokens):
        if argument.text == "nokaslr":
            return Placement(limit, (), False, "nokaslr is on the command line")
        if argument.name == "memmap" and argument.value is not None:
            if len(avoided) >= _MAX_MEMMAP_REGIONS:
                continue
            items = argument.value.split(",")
            while items and len(avoided) < _MAX_MEMMAP_REGIONS:
                item = items.pop(0)
                size, rest = memparse(item)
                if item.startswith("exactmap") or rest == item:
                    items = []
                    break
                start = 0
                if rest[:1] in ("#", "$", "!"):
                    start, _ = memparse(rest[1:])
                elif rest[:1] == "@":
                    size = 0
                if start == 0:
                    if 0 < size < limit:
                        limit = size
                    continue
                avoided.append(Range(start, min(start + size, U64 - 1)))
            too_many = too_many or (len(avoided) >= _MAX_MEMMAP_REGIONS and bool(items))
        elif argument.name == "mem" and argument.value is not None:
            size, _ = memparse(argument.value)
            if argument.value == "nopentium":
                continue
            if size == 0:
                # handle_mem_options reads nothing after it.
                break
            limit = min(limit, size)
    if too_many:
        return Placement(limit, tuple(avoided), False, "more than four regions in one memmap= list")
    if limit < _SMALL_LIMIT:
        reason = "an item smaller than 128 MiB leaves no room to randomise the physical address"
        return Placement(limit, tuple(avoided), False, reason)
    return Placement(limit, tuple(avoided), True, f"the kernel is put below {limit:#x}")
