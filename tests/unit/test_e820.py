# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What memory arguments make of a firmware map: by hand, against single pages, and against real kernels."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import (
    KernelMap,
    Table,
    apply_arguments,
)
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, U64

SOFT = 0xEFFFFFFF
# 3 GiB below the hole of PCI, 5 GiB above 4 GiB, as in the virtual machines of the facts.
FIRMWARE = [MapEntry(0, 3 * GIB, 1), MapEntry(3 * GIB, 3 * GIB + MIB, 2), MapEntry(4 * GIB, 9 * GIB, 1)]
#: Where releases differ this is as the newest are.
RELEASE = "7.2.12"
LOW = [(0, 3 * GIB, 1), (3 * GIB, 3 * GIB + MIB, 2)]


def applied(cmdline: str) -> KernelMap:
    return apply_arguments(FIRMWARE, split(cmdline), RELEASE)


def high(cmdline: str) -> list[tuple[float, float, int]]:
    """The map from 4 GiB on, in GiB."""
    entries = [tuple(entry) for entry in applied(cmdline).entries]
    assert entries[:2] == LOW
    return [(start / GIB, end / GIB, kind) for start, end, kind in entries[2:]]


@pytest.mark.parametrize(
    ("cmdline", "wanted"),
    [
        ("quiet splash", [(4, 9, 1)]),
        # every form of an item
        ("memmap=1G@16G", [(4, 9, 1), (16, 17, 1)]),
        ("memmap=1G@8G", [(4, 9, 1)]),
        ("memmap=1G#5G", [(4, 5, 1), (5, 6, 3), (6, 9, 1)]),
        ("memmap=1G$5G", [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        ("memmap=1G!5G", [(4, 5, 1), (5, 6, 12), (6, 9, 1)]),
        ("memmap=1G%5G-1+0xefffffff", [(4, 5, 1), (5, 6, SOFT), (6, 9, 1)]),
        ("memmap=1G%5G-1+4026531839", [(4, 5, 1), (5, 6, SOFT), (6, 9, 1)]),
        ("memmap=1G%5G-1+2", [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        ("memmap=1G%5G+2", [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        ("memmap=1G%5G-1", [(4, 5, 1), (6, 9, 1)]),
        ("memmap=1G%5G", [(4, 5, 1), (6, 9, 1)]),
        ("memmap=1G%5G-2", [(4, 9, 1)]),
        ("memmap=1G%5G-2+77", [(4, 9, 1)]),
        ("memmap=6G", [(4, 6, 1)]),
        ("mem=6G", [(4, 6, 1)]),
        ("mem=6144M", [(4, 6, 1)]),
        ("mem=6G mem=5G", [(4, 5, 1)]),
        # lists and repeats add up
        ("memmap=1G$5G,1G$7G", [(4, 5, 1), (5, 6, 2), (6, 7, 1), (7, 8, 2), (8, 9, 1)]),
        ("memmap=1G$5G memmap=1G$7G", [(4, 5, 1), (5, 6, 2), (6, 7, 1), (7, 8, 2), (8, 9, 1)]),
        # the order of arguments decides: what mem= took away is no RAM for the second
        ("mem=4G memmap=2G%6G-1+0xefffffff", []),
        ("memmap=2G%6G-1+0xefffffff mem=4G", [(6, 8, SOFT)]),
        # only RAM is converted: holes stay holes, and asking for more than there is gets what there is
        ("memmap=64G%7G-1+2", [(4, 7, 1), (7, 9, 2)]),
        ("memmap=1G%3G-1+0xefffffff", [(4, 9, 1)]),
        ("memmap=1G%9G-1+0xefffffff", [(4, 9, 1)]),
        # a second conversion of the same place finds no RAM there any more
        ("memmap=2G%5G-1+2 memmap=4G%4G-1+0xefffffff", [(4, 5, SOFT), (5, 7, 2), (7, 8, SOFT), (8, 9, 1)]),
        # one nested in another
        (
            "memmap=3G%5G-1+2 memmap=1G%6G-2+0xefffffff",
            [(4, 5, 1), (5, 6, 2), (6, 7, SOFT), (7, 8, 2), (8, 9, 1)],
        ),
        # neighbours merge, but not where the type marks a range of its own
        ("memmap=1G%5G-1+2 memmap=1G%6G-1+2", [(4, 5, 1), (5, 7, 2), (7, 9, 1)]),
        (
            "memmap=1G%5G-1+0xefffffff memmap=1G%6G-1+0xefffffff",
            [(4, 5, 1), (5, 6, SOFT), (6, 7, SOFT), (7, 9, 1)],
        ),
        ("memmap=1G!5G,1G!6G", [(4, 5, 1), (5, 6, 12), (6, 7, 12), (7, 9, 1)]),
        # where added ranges overlap, the highest type stands
        ("memmap=2G$5G,1G!6G", [(4, 5, 1), (5, 6, 2), (6, 7, 12), (7, 9, 1)]),
        ("memmap=1G!6G,2G$5G", [(4, 5, 1), (5, 6, 2), (6, 7, 12), (7, 9, 1)]),
        ("memmap=2G!5G,1G@5G", [(4, 5, 1), (5, 6, 12), (6, 7, 12), (7, 9, 1)]),
        # a converted range is not touched by what adds a lower type over it
        ("memmap=1G%5G-1+0xefffffff memmap=1G$5G", [(4, 5, 1), (5, 6, SOFT), (6, 9, 1)]),
        # the guard against KASLR changes nothing
        ("memmap=1G%0-77+78", [(4, 9, 1)]),
        ("memmap=0%5G-1+2", [(4, 9, 1)]),
        # numbers
        ("memmap=0x40000000%0x140000000-1+2", [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        ("memmap=010000000000%5G-1+2", [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        ("memmap=1G%5G-0x100000001+2", [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        # nothing after -- is read, and quotes do not matter
        ("-- memmap=1G$5G", [(4, 9, 1)]),
        ('"memmap=1G$5G"', [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
        ('memmap="1G$5G"', [(4, 5, 1), (5, 6, 2), (6, 9, 1)]),
    ],
)
def test_maps(cmdline: str, wanted: list[tuple[float, float, int]]) -> None:
    assert high(cmdline) == wanted


def test_a_size_with_something_unknown_after_it_counts_like_mem() -> None:
    for cmdline in ("memmap=2G+2", "memmap=2Gxyz", "mem=2G,1G", "memmap=2G"):
        assert applied(cmdline).entries == ((0, 2 * GIB, 1), (3 * GIB, 3 * GIB + MIB, 2))


def test_exactmap() -> None:
    entries = applied("memmap=1G$5G memmap=exactmap memmap=640K@0,2G@1M").entries
    assert entries == ((0, 640 << 10, 1), (MIB, MIB + 2 * GIB, 1))
    assert applied("memmap=exactmapXYZ,1G@0,1G@2G").entries == ((0, GIB, 1), (2 * GIB, 3 * GIB, 1))


@pytest.mark.parametrize(
    ("cmdline", "argument", "effect"),
    [
        ("memmap=", "memmap=", False),
        ("memmap", "memmap", False),
        ("mem", "mem", False),
        ("mem=0", "mem=0", False),
        ("mem=nopentium", "mem=nopentium", False),
        ("memmap=bogus", "memmap=bogus", False),
        ("memmap=1G%5G-1+2x", "memmap=1G%5G-1+2x", False),
        ("memmap=1G%5G-1+2G", "memmap=1G%5G-1+2G", False),
        ("memmap=1G%5G-1-2", "memmap=1G%5G-1-2", False),
        ("memmap=1G%5G+2-1", "memmap=1G%5G+2-1", False),
        ("memmap=bogus,1G$5G", "memmap=bogus", True),
        ("memmap=1G%7G@,1G$5G", "memmap=1G%7G@", True),
    ],
)
def test_bad_items_are_passed_over(cmdline: str, argument: str, effect: bool) -> None:
    result = applied(cmdline)
    assert [ignored.argument for ignored in result.ignored] == [argument]
    assert result.ignored[0].reason
    assert (result.entries == tuple(FIRMWARE)) is not effect


def test_what_follows_a_good_item_is_not_looked_at() -> None:
    assert high("memmap=1G!5Gxyz") == [(4, 5, 1), (5, 6, 12), (6, 9, 1)]
    assert applied("memmap=1G!5Gxyz").ignored == ()


@pytest.mark.parametrize(
    ("cmdline", "word"),
    [
        ("memmap=1G%5G-1+1", "BUG_ON"),
        ("memmap=1G%50G-77+77", "BUG_ON"),
        ("memmap=1G%5G-2+0x100000002", "BUG_ON"),
        ("memmap=exactmap", "Invalid user supplied memory map"),
        ("memmap=exactmap memmap=64G@0", "Invalid user supplied memory map"),
        ("memmap=0xffffffffffffffff$8G", "Invalid user supplied memory map"),
        ("memmap=1G$0xffffffffc0000000", "Invalid user supplied memory map"),
    ],
)
def test_lines_that_do_not_boot(cmdline: str, word: str) -> None:
    with pytest.raises(NotPossible, match=word) as caught:
        applied(cmdline)
    assert [problem.code for problem in caught.value.problems] == ["does-not-boot"]


def test_firmware_with_overlaps_and_shreds() -> None:
    """The kernel sorts, resolves and merges what the firmware says before anything else."""
    shreds = [MapEntry(8, 12, 1), MapEntry(0, 8, 1), MapEntry(4, 6, 2), MapEntry(12, 16, 1)]
    assert apply_arguments(shreds, [], RELEASE).entries == ((0, 4, 1), (4, 6, 2), (6, 16, 1))
    assert apply_arguments([MapEntry(0, 8, 1)], [], RELEASE).entries == ((0, 8, 1),)
    assert apply_arguments([], ["quiet"], RELEASE).entries == ()
    with pytest.raises(NotPossible):
        apply_arguments([], ["mem=0"], RELEASE)


def number(words: str) -> int:
    kind = log_type(words)
    assert kind is not None
    return kind


def entries_of(rows: list[list[Any]]) -> tuple[MapEntry, ...]:
    return tuple(MapEntry(first, last + 1, number(words)) for first, last, words in rows)


def test_real_kernels_did_the_same(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "kernel_maps.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        predicted = apply_arguments(entries_of(row["firmware_map"]), split(row["memory_args"]), RELEASE)
        assert predicted.entries == entries_of(row["kernel_map"]), row["id"]
        assert predicted.ignored == ()


def test_firmware_maps_come_out_as_printed(shared_data: Path) -> None:
    """A "BIOS-e820" map is printed after e820__update_table, so a second one changes nothing."""
    rows = [json.loads(line) for line in (shared_data / "firmware_maps.jsonl").read_text().splitlines()]
    # Where the second word of "ACPI data" and "ACPI NVS" was lost the types cannot be told apart.
    rows = [row for row in rows if all(words != "ACPI" for _, _, words in row["firmware_map"])]
    assert len(rows) > 400
    for row in rows:
        entries = entries_of(row["firmware_map"])
        assert apply_arguments(entries, ["quiet"], RELEASE).entries == entries, row["id"]


# ------------------------------------------------------------------------------ against single pages

TOP = 40
KINDS = st.sampled_from([1, 1, 1, 2, 3, 7, 12, 77, SOFT])
PLACES = st.tuples(st.integers(0, TOP), st.integers(0, TOP))
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PLACES, KINDS, KINDS),
        st.tuples(st.just("convert"), PLACES, KINDS, KINDS).filter(lambda o: o[2] != o[3]),
        st.tuples(st.just("remove"), PLACES, st.one_of(st.none(), KINDS), KINDS),
    ),
    max_size=8,
)


@st.composite
def maps(draw: st.DrawFn) -> list[MapEntry]:
    """Disjoint entries in order, with gaps."""
    edges = sorted(draw(st.sets(st.integers(0, TOP), min_size=2, max_size=14)))
    entries = [MapEntry(a, b, draw(KINDS)) for a, b in itertools.pairwise(edges)]
    return [entry for entry in entries if draw(st.integers(0, 4))]


class Pages:
    """Each page holds the set of types that entries put there; the highest counts in the end."""

    def __init__(self, entries: list[MapEntry]) -> None:
        self.held: list[list[int]] = [[] for _ in range(2 * TOP + 2)]
        for entry in entries:
            self.add(entry.start, entry.end, entry.type)

    def add(self, start: int, end: int, kind: int) -> None:
        for page in range(start, end):
            self.held[page].append(kind)

    def convert(self, start: int, end: int, old: int, new: int) -> None:
        for page in range(start, end):
            self.held[page] = [new if kind == old else kind for kind in self.held[page]]

    def remove(self, start: int, end: int, old: int | None) -> None:
        for page in range(start, end):
            self.held[page] = [kind for kind in self.held[page] if old is not None and kind != old]

    def result(self) -> list[int]:
        return [max(kinds, default=0) for kinds in self.held]


@given(maps(), OPERATIONS)
def test_tables_against_pages(entries: list[MapEntry], operations: list[tuple[Any, ...]]) -> None:
    table, pages = Table(entries), Pages(entries)
    for what, (start, size), old, new in operations:
        if what == "add":
            table.add(start, size, new)
            pages.add(start, start + size, new)
        elif what == "convert":
            table.convert(start, size, old, new)
            pages.convert(start, start + size, old, new)
        else:
            table.remove(start, size, old)
            pages.remove(start, start + size, old)
    if not table.update():
        return
    result = table.entries()
    shown = [0] * (2 * TOP + 2)
    for entry in result:
        assert entry.type
        for page in range(entry.start, entry.end):
            assert shown[page] == 0, "entries overlap"
            shown[page] = entry.type
    assert shown == pages.result()
    assert list(result) == sorted(result)
    for left, right in itertools.pairwise(result):
        if left.end == right.start and left.type == right.type:
            assert left.type in (12, SOFT), "neighbours that may merge are merged"
    again = Table(result)
    assert again.update() is (len(result) > 1)
    assert again.entries() == result


@given(maps(), st.lists(PLACES, max_size=6))
def test_ranges_that_are_never_merged_keep_their_borders(
    entries: list[MapEntry], places: list[tuple[int, int]]
) -> None:
    """Disjoint conversions of RAM to soft-reserved give exactly these ranges."""
    table = Table(entries)
    if not table.update():
        return
    ram = [e for e in table.entries() if e.type == 1]
    wanted = []
    for start, size in places:
        fits = any(e.start <= start and start + size <= e.end for e in ram)
        if size and fits and all(start + size <= a or b <= start for a, b in wanted):
            wanted.append((start, start + size))
            table.convert(start, size, 1, SOFT)
    table.update()
    old = {(e.start, e.end) for e in entries if e.type == SOFT}
    assert {(e.start, e.end) for e in table.entries() if e.type == SOFT} == old | set(wanted)


@given(st.text(alphabet="0123456789xXaefGMKE%-+@#$!,", max_size=24))
def test_any_value_is_read_as_something(value: str) -> None:
    try:
        result = apply_arguments(FIRMWARE, [f"memmap={value}"], RELEASE)
    except NotPossible as error:
        assert [problem.code for problem in error.problems] == ["does-not-boot"]
    else:
        assert all(0 <= e.start < e.end < U64 for e in result.entries)
