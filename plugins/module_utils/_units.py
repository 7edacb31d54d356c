# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sizes: the kernel's number grammar, the plan's grammar, and how sizes are printed.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

PAGE = 4 * KIB
#: SPARSEMEM section on x86_64 (arch/x86/include/asm/sparsemem.h, SECTION_SIZE_BITS 27): struct
#: pages exist for whole sections only.
SECTION = 128 * MIB
#: sizeof(struct page) on every x86_64 kernel from 5.10 to 7.x.
STRUCT_PAGE = 64

U64 = 1 << 64

_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]")
_SUFFIX_SHIFT = {
    letter: 10 * (index + 1)
    for index, pair in enumerate(("kK", "mM", "gG", "tT", "pP", "eE"))
    for letter in pair
}
_PLAN_UNITS = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_PLAN_SIZE = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,9}))?\s?([A-Za-z]*)")


def strtoull(text: str, saturate: bool = False) -> tuple[int, str]:
    """Parse as the kernel's ``simple_strtoull`` with base 0 does: ``(value, rest)``.

    ``0x`` before a digit is hexadecimal, another leading ``0`` octal. Where nothing parses the value
    is 0 and the rest is the whole text. Values wrap at 64 bits, or, with ``saturate``, stay at the
    largest number as in kernels with the row ``numbers-saturate`` (lib/kstrtox.c,
    _parse_integer_limit).
    """
    if _HEXADECIMAL.match(text):
        base, digits, position = 16, "0123456789abcdef", 2
    elif text[:1] == "0":
        base, digits, position = 8, "01234567", 0
    else:
        base, digits, position = 10, "0123456789", 0
    value = 0
    while position < len(text) and text[position].isascii():
        digit = digits.find(text[position].lower())
        if digit < 0:
            break
        value = value * base + digit
        if value >= U64:
            value = U64 - 1 if saturate else value % U64
        position += 1
    return value, text[position:]


def memparse(text: str, saturate: bool = False) -> tuple[int, str]:
    """Parse a number with an optional suffix K M G T P E as the kernel's ``memparse`` does.

    Returns ``(bytes, rest)``; where no number stands the value is 0 and the rest is the text
    (lib/cmdline.c, memparse). In a hexadecimal number a trailing ``E`` is a digit. What exceeds 64
    bits wraps, and a suffix counts as read even where no digit stands before it; with ``saturate``
    (kernels with the row ``numbers-saturate``) it stays at the largest number, and such a suffix is
    not read.
    """
    value, rest = strtoull(text, saturate)
    shift = _SUFFIX_SHIFT.get(rest[:1])
    if shift is None or (saturate and rest == text):
        return value, rest
    value <<= shift
    if value >= U64:
        value = U64 - 1 if saturate else value % U64
    return value, rest[1:]


def parse_size(text: object) -> int:
    """Bytes of a plan's size: ``16GiB``, ``1.5GiB``, ``4096`` or an integer of bytes.

    Raises ``ValueError`` with a message fit for an operator: unknown unit (and the nearest right
    one), a fraction that is not a whole number of bytes, a negative number.
    """
    if isinstance(text, bool):
        raise ValueError("a size is expected, not a boolean")
    if isinstance(text, int):
        if text < 0:
            raise ValueError("a size cannot be negative")
        if text >= U64:
            raise ValueError("the size does not fit in 64 bits")
        return text
    if not isinstance(text, str):
        raise ValueError(
            f"{text!r} is not a size; write for example 16GiB, 512MiB or a whole number of bytes"
        )
    match = _PLAN_SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 16GiB, 512MiB or 4096")
    whole, fraction, unit = match.group(1), match.group(2) or "", match.group(3)
    if unit not in _PLAN_UNITS:
        raise ValueError(f"unknown unit {unit!r} in {text!r}{_unit_hint(unit)}")
    factor = _PLAN_UNITS[unit]
    scaled, divisor = int(whole + fraction) * factor, int("1" + "0" * len(fraction))
    if scaled % divisor:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    value = scaled // divisor
    if value >= U64:
        raise ValueError(f"{text!r} does not fit in 64 bits")
    return value


def _unit_hint(unit: str) -> str:
    for known in ("KiB", "MiB", "GiB", "TiB"):
        if unit.lower() in (known.lower(), known[0].lower(), known[0].lower() + "b"):
            return f"; did you mean {known}? (sizes are powers of 1024: KiB, MiB, GiB, TiB)"
    return "; known units are KiB, MiB, GiB and TiB"


def format_size(size: int) -> str:
    """Exact and short: the largest unit that divides, or a decimal fraction with the bytes.

    ``1610612736`` gives ``1.5GiB``; what no unit expresses in three decimals is given in bytes.
    """
    if size < 0:
        return "-" + format_size(-size)
    for name, unit in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= unit:
            if size % unit == 0:
                return f"{size // unit}{name}"
            if size * 1000 % unit == 0:
                return f"{size / unit:.3f}".rstrip("0").rstrip(".") + name
    return f"{size}B"


def approximate_size(size: int) -> str:
    """For people: at most two decimals in the unit that fits (``2.75 GiB``)."""
    if size < 0:
        return "-" + approximate_size(-size)
    for name, unit in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= unit:
            return f"{size / unit:.2f}".rstrip("0").rstrip(".") + f" {name}"
    return f"{size} B"


def kernel_size(size: int) -> str:
    """A number for the kernel's command line that ``memparse`` reads back exactly.

    Sizes that are whole GiB, MiB or KiB use the suffix; others are hexadecimal bytes.
    """
    if size:
        for suffix, unit in (("G", GIB), ("M", MIB), ("K", KIB)):
            if size % unit == 0:
                return f"{size // unit}{suffix}"
    return hex(size)


def align_up(value: int, align: int) -> int:
    return -(-value // align) * align


def align_down(value: int, align: int) -> int:
    return value // align * align
