# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where early boot may put the kernel, as far as the command line decides it.

Two pieces of code choose the place. The decompressor (arch/x86/boot/compressed/kaslr.c:
handle_mem_options, mem_avoid_memmap, parse_memmap, find_random_phys_addr; the same from 5.10 to 7.2)
avoids ``# $ !`` items, at most four of them; every other item, ``%`` included, only lowers the address
below which the kernel is put. The EFI stub (drivers/firmware/efi/libstub/x86-stub.c: parse_options,
efi_decompress_kernel) reads no ranges at all: it either takes any free memory, or, in newer kernels,
the first free place where an argument it knows is on the line.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._arguments import iterate
from .._ranges import Range, RangeSet
from .._units import GIB, MIB, U64, memparse
from .releases import has, version

AVOIDS = "avoids"
MAY_COLLIDE = "may_collide"
NOT_RANDOMISED = "not_randomised"

_MAX_MEMMAP_REGIONS = 4

#: A first item that changes nothing (it converts a type no firmware uses into another such type)
#: but lowers KASLR's limit to 1 GiB, so that large ``%`` items cannot be landed in.
GUARD_LIMIT = GIB
GUARD = "memmap=1G%0-77+78"

#: Below this limit hardly a slot is left for the kernel (image plus decompression buffers), and
#: the kernel stays at its default physical place.
_SMALL_LIMIT = 128 * MIB

#: LOAD_PHYSICAL_ADDR (CONFIG_PHYSICAL_START): nothing is put below it, and a kernel whose place is not
#: randomised begins there. Its image with bss and the room to unpack it stays below 128 MiB.
_LOWEST = 16 * MIB
_FIXED_PLACE = Range(_LOWEST, _LOWEST + 128 * MIB)
#: The EFI stub without randomness takes the first free place from 16 MiB on that is large enough. What
#: is free is the firmware's business; in the first 4 GiB there is always such a place.
_FIRST_FREE = Range(_LOWEST, 4 * GIB)

#: What makes a newer EFI stub give up the random place (parse_options).
_MINDED = ("mem=", "memmap=", "hugepages=")


@dataclass(frozen=True)
class Verdict:
    """Whether the kernel may land inside given ranges.

    ``verdict`` is ``avoids``, ``may_collide`` or ``not_randomised`` (its physical place is fixed, and
    not in the ranges); ``reason`` says why.
    """

    verdict: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"verdict": self.verdict, "reason": self.reason}


@dataclass(frozen=True)
class Placement:
    """What the decompressor is told: land below ``limit``, outside of ``avoided``; or not at all."""

    limit: int
    avoided: tuple[Range, ...]
    randomised: bool
    reason: str

    def collisions(self, ranges: Iterable[Range]) -> list[Range]:
        """Those of ``ranges`` inside which the kernel may land."""
        if not self.randomised:
            return []
        within = RangeSet([(_LOWEST, self.limit)]).subtract(self.avoided)
        return [r for r in ranges if within.intersect([r])]


def placement(tokens: Sequence[str], release: str = "") -> Placement:
    """Read a command line as the decompressor does."""
    saturate = has(release, "numbers-saturate")
    limit = U64 - 1
    avoided: list[Range] = []
    too_many = False
    if "nokaslr" in _words(tokens):
        return Placement(limit, (), False, "nokaslr is on the command line")
    for argument in iterate(tokens):
        if argument.name == "memmap" and argument.value is not None:
            if len(avoided) >= _MAX_MEMMAP_REGIONS:
                continue
            items = argument.value.split(",")
            while items and len(avoided) < _MAX_MEMMAP_REGIONS:
                item = items.pop(0)
                size, rest = memparse(item, saturate)
                if item.startswith("exactmap") or rest == item:
                    items = []
                    break
                start = 0
                if rest[:1] in ("#", "$", "!"):
                    start, _ = memparse(rest[1:], saturate)
                elif rest[:1] == "@":
                    size = 0
                if start == 0:
                    if 0 < size < limit:
                        limit = size
                    continue
                # A range that ends past 64 bits wraps, and hides nothing (mem_overlaps).
                end = start + size
                avoided.append(Range(start, end if end < U64 else start))
            too_many = too_many or (len(avoided) >= _MAX_MEMMAP_REGIONS and bool(items))
        elif argument.name == "mem":
            if argument.value == "nopentium":
                continue
            size, _ = memparse(argument.value or "", saturate)
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


def verdict(tokens: Sequence[str], release: str, firmware_boot: str, ranges: Iterable[Range]) -> Verdict:
    """Whether a kernel of this release may land inside ``ranges`` (bytes) with this command line.

    ``firmware_boot`` is ``bios`` (the decompressor chooses the place), ``efi`` (entered through the EFI
    stub, as GRUB of the distributions does) or empty where it is not known: then the worse of the two.
    Only what was RAM in the firmware's map can be landed in; ranges outside of it may be left out.
    """
    wanted = [r for r in ranges if r.size]
    answers = []
    if firmware_boot != "bios":
        answers.append(_by_efi_stub(tokens, release, wanted))
    if firmware_boot != "efi":
        answers.append(_by_decompressor(tokens, release, wanted))
    order = (MAY_COLLIDE, AVOIDS, NOT_RANDOMISED)
    return min(answers, key=lambda answer: order.index(answer.verdict))


def _by_decompressor(tokens: Sequence[str], release: str, ranges: Sequence[Range]) -> Verdict:
    told = placement(tokens, release)
    if not told.randomised:
        return _fixed(told.reason, _FIXED_PLACE, ranges)
    hit = told.collisions(ranges)
    if not hit:
        return Verdict(
            AVOIDS, told.reason + (", outside of what it is told to avoid" if told.avoided else "")
        )
    if len(told.avoided) >= _MAX_MEMMAP_REGIONS:
        return Verdict(
            MAY_COLLIDE, f"KASLR avoids the first four memmap= ranges only; {hit[0]} is not one of them"
        )
    if told.limit < U64 - 1:
        return Verdict(
            MAY_COLLIDE,
            f"KASLR may put the kernel anywhere below {told.limit:#x} (the smallest size among memmap= and mem=), "
            f"and {hit[0]} begins below that",
        )
    return Verdict(MAY_COLLIDE, f"nothing on the command line keeps KASLR out of {hit[0]}")


def _by_efi_stub(tokens: Sequence[str], release: str, ranges: Sequence[Range]) -> Verdict:
    minds = has(release, "efi-stub-minds-memmap")
    # Kernels 6.1 that do not tell their patch level may be of either kind.
    unsure = version(release) == (6, 1) and re.match(r"6\.1\.0-", release) is not None
    if not minds and not has(release, "efi-stub-decompresses") and not unsure:
        return _by_decompressor(tokens, release, ranges)
    if any(argument.name == "nokaslr" for argument in iterate(tokens)):
        return _fixed("nokaslr is on the command line", _FIRST_FREE, ranges)
    found = _minded(tokens)
    if minds and found:
        reason = f"the EFI stub does not randomise the physical place where {found} is on the command line"
        return _fixed(reason, _FIRST_FREE, ranges)
    if not ranges:
        return Verdict(AVOIDS, "no range is to be avoided")
    if minds:
        return Verdict(
            MAY_COLLIDE,
            "the EFI stub puts the kernel anywhere: neither mem=, memmap= nor hugepages= is there",
        )
    return Verdict(MAY_COLLIDE, f"the EFI stub of {release} puts the kernel anywhere, whatever memmap= says")


def _fixed(reason: str, place: Range, ranges: Sequence[Range]) -> Verdict:
    for taken in ranges:
        if taken.overlaps(place):
            return Verdict(MAY_COLLIDE, f"{reason}; its fixed place, within {place}, may be inside {taken}")
    return Verdict(NOT_RANDOMISED, reason)


def _words(tokens: Sequence[str]) -> list[str]:
    """Words as cmdline_find_option_bool takes them: no quotes, no end at ``--``."""
    return re.split(r"[\x00-\x20]+", " ".join(tokens))


def _minded(tokens: Sequence[str]) -> str:
    """The first of the arguments that the stub looks for; only the first place of each text counts."""
    line = " ".join(tokens)
    for option in _MINDED:
        position = line.find(option)
        if position == 0 or (position > 0 and line[position - 1] in " \t\n\v\f\r\xa0"):
            return option
    return ""
