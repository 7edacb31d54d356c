# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a kernel can boot at all with the memory that a command line leaves it.

The limits were found by boots of stock kernels in QEMU; what depends on the host (the size of the
initrd, what answers at an address without memory) gives a warning, not an error.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .._errors import NotPossible
from .._host.model import RAM, MapEntry
from .._ranges import Range, RangeSet
from .._units import GIB, KIB, MIB, approximate_size
from .notes import Note

#: The kernel keeps the first 64 KiB for itself (early_reserve_memory); what it starts processors with
#: (reserve_real_mode) must lie between there and 640 KiB, in one piece: 20 KiB do not suffice, 28 do.
_TRAMPOLINE = Range(64 * KIB, 640 * KIB)
_TRAMPOLINE_LEAST = 24 * KIB
_TRAMPOLINE_SIZE = 28 * KIB
#: Stock kernels die with 64 MiB in all: the image alone takes 48.
_LEAST = 64 * MIB
#: What a distribution's kernel and initrd want, unpacked.
_COMFORTABLE = 512 * MIB
#: Where a kernel lies that is not moved (CONFIG_PHYSICAL_START): image, data and what it keeps behind
#: them (_text to _end) take up to 50 MiB in stock kernels.
KERNEL_PLACE = Range(16 * MIB, 80 * MIB)


class Memory(NamedTuple):
    """What a kernel has: RAM in whole pages, and that part of it that is no node's."""

    ram: RangeSet
    orphans: RangeSet


def check_survival(
    firmware: Sequence[MapEntry], plain: Memory, left: Memory, fixed_place: bool
) -> list[Note]:
    """Warnings (``may-not-boot``, ``kernel-place``) about a boot with the memory that is ``left``.

    ``plain`` is what the kernel has without memory arguments; what is amiss there already is no matter of
    the command line: the host is known to boot. ``fixed_place``: the kernel is not moved by KASLR.
    Raises :class:`NotPossible` (code ``does-not-boot``) where the kernel stops for good.
    """
    if left.ram.size <= _LEAST < plain.ram.size:
        raise _death(
            f"only {approximate_size(left.ram.size)} of RAM are left: kernel and initrd do not fit "
            "(panic while the kernel starts)"
        )
    if _low(left.ram) < _TRAMPOLINE_LEAST <= _low(plain.ram):
        raise _death(
            "no 24 KiB of RAM in one piece are left between 64 KiB and 640 KiB: the kernel panics "
            '("Real mode trampoline was not allocated")'
        )
    if left.orphans and not plain.orphans:
        raise _death(
            f"the RAM in {next(iter(left.orphans))} is no node's: the kernel dies when it counts its pages "
            "(free_area_init)"
        )
    return [
        *_scarce(plain.ram, left.ram),
        *_claimed(firmware, left.ram),
        *_place(plain.ram, left.ram, fixed_place),
    ]


def _death(reason: str) -> NotPossible:
    return NotPossible.of("", "does-not-boot", f"the host would not boot with this command line: {reason}")


def _low(ram: RangeSet) -> int:
    """Bytes of the largest piece that can hold the trampoline."""
    return max((part.size for part in ram.intersect([_TRAMPOLINE])), default=0)


def _scarce(plain: RangeSet, ram: RangeSet) -> Iterator[Note]:
    if ram.size < _COMFORTABLE and ram.size < plain.size:
        yield Note(
            "may-not-boot",
            f"only {approximate_size(ram.size)} of RAM are left: whether kernel and initrd fit depends on their sizes",
        )
    if _low(ram) < _TRAMPOLINE_SIZE <= _low(plain):
        yield Note(
            "may-not-boot",
            "less than 28 KiB of RAM in one piece are left between 64 KiB and 640 KiB: the kernel may find no "
            "place to start processors from",
        )


def _claimed(firmware: Sequence[MapEntry], ram: RangeSet) -> Iterator[Note]:
    """RAM that the command line claims and the firmware does not have."""
    claimed = ram.subtract((e.start, e.end) for e in firmware if e.type == RAM)
    nothing = claimed.subtract((e.start, e.end) for e in firmware)
    high = nothing.intersect([(4 * GIB, 1 << 64)])
    if high:
        part = next(iter(high))
        raise _death(
            f"it claims RAM in {part}, where the firmware says there is nothing; the kernel takes its first "
            "memory from the top and dies there"
        )
    for part in nothing:
        yield Note(
            "may-not-boot",
            f"RAM is claimed in {part}, where the firmware says there is nothing: it may be a device's",
        )
    for part in claimed.subtract(nothing):
        yield Note(
            "may-not-boot",
            f"RAM is claimed in {part}, which the firmware keeps: what is there may be lost or no memory at all",
        )


def _place(plain: RangeSet, ram: RangeSet, fixed_place: bool) -> Iterator[Note]:
    if not fixed_place:
        return
    for part in plain.intersect([KERNEL_PLACE]).subtract(ram):
        yield Note(
            "kernel-place",
            f"the kernel itself lies from {KERNEL_PLACE.start:#x} on, and {part} is not left to it: it takes as much "
            "of it as RAM as its image is long, which is not known here (e820_add_kernel_range)",
        )
