# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Numbers as the kernel reads them, sizes as plans write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._units import (
    GIB,
    KIB,
    MIB,
    TIB,
    U64,
    align_down,
    align_up,
    approximate_size,
    format_size,
    kernel_size,
    memparse,
    parse_size,
    strtoull,
)

SIZES = st.one_of(
    st.integers(0, U64 - 1),
    st.builds(
        lambda n, unit: n * unit % U64, st.integers(0, 1 << 24), st.sampled_from([512, KIB, MIB, GIB, TIB])
    ),
)


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("", 0, ""),
        ("0", 0, ""),
        ("42", 42, ""),
        ("42x", 42, "x"),
        ("010", 8, ""),  # octal
        ("08", 0, "8"),  # 8 is no octal digit
        ("0x", 0, "x"),  # no digit after it: octal 0
        ("0xg", 0, "xg"),
        ("0X1f", 31, ""),
        ("0x10E", 0x10E, ""),
        ("x", 0, "x"),
        ("-1", 0, "-1"),
        (" 1", 0, " 1"),
        ("1\u0663", 1, "\u0663"),  # an Arabic digit is none
        ("4026531839", 0xEFFFFFFF, ""),
        ("18446744073709551615", U64 - 1, ""),
        ("18446744073709551616", 0, ""),  # wraps, and all digits are read
        ("18446744073709551617+2", 1, "+2"),
        ("0x1ffffffffffffffff", U64 - 1, ""),
    ],
)
def test_strtoull(text: str, value: int, rest: str) -> None:
    assert strtoull(text) == (value, rest)


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("1G", GIB, ""),
        ("1g%5G-1+2", GIB, "%5G-1+2"),
        ("1GiB", GIB, "iB"),  # one letter only: what follows is left
        ("16K", 16 * KIB, ""),
        ("3m@1", 3 * MIB, "@1"),
        ("2T", 2 * TIB, ""),
        ("1P", 1 << 50, ""),
        ("1E", 1 << 60, ""),
        ("16E", 0, ""),  # 2**64 wraps
        ("17e", 1 << 60, ""),
        ("0x10E", 0x10E, ""),  # a digit, not a suffix
        ("0x10EE", 0x10EE, ""),
        ("0x10G", 16 * GIB, ""),
        ("010M", 8 * MIB, ""),
        ("09M", 0, "9M"),
        ("0x", 0, "x"),
        ("K", 0, ""),  # the suffix is taken without a number too
        ("x", 0, "x"),
        ("", 0, ""),
        ("1\u212a", 1, "\u212a"),  # the sign for kelvin is no K
        ("-1G", 0, "-1G"),
        ("1.5G", 1, ".5G"),
    ],
)
def test_memparse(text: str, value: int, rest: str) -> None:
    assert memparse(text) == (value, rest)


@given(SIZES)
def test_the_kernel_reads_back_what_is_written_for_it(size: int) -> None:
    assert memparse(kernel_size(size) + "%") == (size, "%")
    assert strtoull(hex(size)) == strtoull(str(size)) == (size, "")


@given(st.text())
def test_any_text_is_read_without_failing(text: str) -> None:
    value, rest = memparse(text)
    assert 0 <= value < U64
    assert text.endswith(rest)
    assert strtoull(text)[1].endswith(rest)


@given(SIZES)
def test_sizes_are_printed_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size
    assert parse_size(str(size)) == parse_size(size) == size


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(["KiB", "MiB", "GiB", "TiB"]))
def test_fractions(whole: int, thousandths: int, unit: str) -> None:
    text = f"{whole}.{thousandths:03}{unit}"
    exact = Decimal(f"{whole}.{thousandths:03}") * {"KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}[unit]
    if exact == int(exact):
        assert parse_size(text) == exact
    else:
        with pytest.raises(ValueError, match="whole number of bytes"):
            parse_size(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("16GB", "unknown unit 'GB' in '16GB'; did you mean GiB?"),
        ("16G", "did you mean GiB?"),
        ("16gib", "did you mean GiB?"),
        ("16kb", "did you mean KiB?"),
        ("16parsec", "known units are KiB, MiB, GiB and TiB"),
        ("0.3B", "not a whole number of bytes"),
        ("0.1KiB", "not a whole number of bytes"),
        ("", "is not a size"),
        ("GiB", "is not a size"),
        ("-1GiB", "is not a size"),
        ("1 000", "is not a size"),
        ("1e9", "is not a size"),
        ("0x1000", "unknown unit 'x'|is not a size"),
        ("\u0663GiB", "is not a size"),
        ("rest", "is not a size"),
        ("5%", "is not a size"),
        ("9" * 5000, "is not a size"),
        ("16777216TiB", "does not fit in 64 bits"),
        (U64, "does not fit in 64 bits"),
        (-1, "cannot be negative"),
        (True, "not a boolean"),
        (1.0, "1.0 is not a size"),
        (None, "None is not a size"),
        ([1], "is not a size"),
    ],
)
def test_what_is_no_size(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(value)


@pytest.mark.parametrize(
    ("size", "exact", "about"),
    [
        (0, "0B", "0 B"),
        (1023, "1023B", "1023 B"),
        (KIB, "1KiB", "1 KiB"),
        (1536 * MIB, "1.5GiB", "1.5 GiB"),
        (GIB + 1, "1073741825B", "1 GiB"),
        (2816 * MIB, "2.75GiB", "2.75 GiB"),
        (100 * GIB, "100GiB", "100 GiB"),
        (U64 - 1, "18446744073709551615B", "16777216 TiB"),
        (-GIB, "-1GiB", "-1 GiB"),
    ],
)
def test_how_sizes_are_printed(size: int, exact: str, about: str) -> None:
    assert format_size(size) == exact
    assert approximate_size(size) == about


@given(st.integers(0, U64), st.integers(1, U64))
def test_aligning(value: int, align: int) -> None:
    low, high = align_down(value, align), align_up(value, align)
    assert low % align == high % align == 0
    assert value - align < low <= value <= high < value + align
