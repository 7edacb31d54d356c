# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where early boot may put the kernel (arch/x86/boot/compressed/kaslr.c)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._model.kaslr import (
    GUARD,
    GUARD_LIMIT,
    placement,
    verdict,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, U64, kernel_size
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

NONE = U64 - 1


@pytest.mark.parametrize(
    ("cmdline", "limit", "avoided"),
    [
        ("", NONE, []),
        ("quiet memmap", NONE, []),
        # % and a bare size only lower the limit; the place is not looked at
        ("memmap=2G%6G-1+0xefffffff", 2 * GIB, []),
        ("memmap=5G%4G-1+0xefffffff", 5 * GIB, []),
        ("memmap=5G%4G-1+0xefffffff memmap=1G%9G-1+2", GIB, []),
        ("memmap=3G", 3 * GIB, []),
        ("mem=3G", 3 * GIB, []),
        ("mem=3G memmap=8G%9G", 3 * GIB, []),
        ("mem=nopentium", NONE, []),
        ("memmap=3G@1G", NONE, []),
        ("memmap=0%4G", NONE, []),
        # # $ ! are avoided
        ("memmap=1G$5G", NONE, [(5, 6)]),
        ("memmap=1G#5G,1G!7G", NONE, [(5, 6), (7, 8)]),
        ("memmap=1G$0", GIB, []),
        # a list ends at what is not understood, the next argument is read again
        ("memmap=1G$5G,bogus,1G$7G memmap=1G$9G", NONE, [(5, 6), (9, 10)]),
        ("memmap=1G$5G,exactmap,1G$7G", NONE, [(5, 6)]),
        # after the fourth range nothing more is read
        (
            "memmap=1G$5G memmap=1G$7G memmap=1G$9G memmap=1G$11G memmap=1G$13G memmap=1G%0-77+78",
            NONE,
            [(5, 6), (7, 8), (9, 10), (11, 12)],
        ),
        # nor after mem= without a size
        ("mem=0 memmap=1G%0-77+78", NONE, []),
        ("-- memmap=1G%0-77+78", NONE, []),
    ],
)
def test_what_early_boot_is_told(cmdline: str, limit: int, avoided: list[tuple[int, int]]) -> None:
    told = placement(split(cmdline))
    assert told.limit == limit
    assert told.avoided == tuple(Range(a * GIB, b * GIB) for a, b in avoided)
    assert told.randomised


@pytest.mark.parametrize(
    "cmdline",
    ["nokaslr", "memmap=8G%4G nokaslr", "memmap=1G$5G,1G$7G,1G$9G,1G$11G,1G$13G", "memmap=64M%4G-1+2"],
)
def test_where_the_place_is_not_randomised(cmdline: str) -> None:
    told = placement(split(cmdline))
    assert not told.randomised
    assert told.reason
    assert told.collisions([Range(0, 64 * GIB)]) == []


def test_landing_inside() -> None:
    """The seen cases: 5G%4G was landed in, 2G%6G never, four $ regions hide the fifth."""
    assert placement(split("memmap=5G%4G-1+0xefffffff")).collisions([Range(4 * GIB, 9 * GIB)])
    assert not placement(split("memmap=2G%6G-1+0xefffffff")).collisions([Range(6 * GIB, 8 * GIB)])
    five = [f"memmap=1G${n}G" for n in (5, 7, 9, 11, 13)]
    ranges = [Range(n * GIB, (n + 1) * GIB) for n in (5, 7, 9, 11, 13)]
    assert placement(five).collisions(ranges) == [ranges[4]]


def test_the_guard() -> None:
    assert placement([GUARD]).limit == GUARD_LIMIT
    assert not placement([GUARD, "memmap=5G%4G-1+2"]).collisions([Range(4 * GIB, 9 * GIB)])
    four = [f"memmap=1G${n}G" for n in (5, 7, 9, 11)]
    assert placement([*four, GUARD, "memmap=5G%4G-1+2"]).collisions([Range(20 * GIB, 25 * GIB)])
    assert not placement(["nokaslr", *four]).collisions([Range(20 * GIB, 25 * GIB)])


ITEMS = st.lists(st.tuples(st.integers(1, 64), st.integers(1, 64)), min_size=1, max_size=6)


@given(ITEMS)
def test_percent_items_alone_are_safe_where_the_smallest_size_is_below_every_start(
    items: list[tuple[int, int]],
) -> None:
    tokens = [f"memmap={kernel_size(size * GIB)}%{start}G-1+2" for size, start in items]
    ranges = [Range(start * GIB, (start + size) * GIB) for size, start in items]
    smallest = min(size for size, _ in items)
    assert placement(tokens).collisions(ranges) == [r for r in ranges if r.start < smallest * GIB]
    assert placement([GUARD, *tokens]).collisions(ranges) == []


@given(st.text(alphabet="0123456789xaGMKE%-+@#$!,", max_size=24))
def test_any_value_is_read_as_something(value: str) -> None:
    told = placement([f"memmap={value}", f"mem={value}"])
    assert 0 < told.limit < U64
    assert len(told.avoided) <= 4


@pytest.mark.parametrize(
    ("kernel", "policy", "warned", "disabled"),
    [
        ("6.12.107", "keep", False, False),
        ("6.8.0-31-generic", "keep", True, False),
        ("6.8.0-31-generic", "allow-disable", False, True),
    ],
)
def test_efi_stub_that_may_not_mind_memmap(kernel: str, policy: str, warned: bool, disabled: bool) -> None:
    host = make_host(
        (MapEntry(0, 3 * GIB, 1), MapEntry(4 * GIB, 12 * GIB, 1)),
        (NodeRange(0, 0, 12 * GIB),),
        firmware_boot="efi",
        kernel_running=kernel,
        kernel_default=kernel,
        cmdline="ro",
        boot_arguments=("ro",),
    )
    plan = {
        "version": 1,
        "kernel": {"memory": "1GiB"},
        "pools": {"a": {"mechanism": "dax", "nodes": {0: "1GiB"}}},
        "policy": {"kaslr": policy},
    }
    layout = make_layout(validated_plan(plan), host)
    assert ("efi-kaslr" in {w.code for w in layout.warnings}) is warned
    assert ("nokaslr" in layout.kernel_arguments) is disabled


LARGE = "memmap=8G%4G-1+0xefffffff"
CARVE = [Range(4 * GIB, 12 * GIB)]


@pytest.mark.parametrize(
    ("cmdline", "release", "firmware", "expected"),
    [
        # the decompressor: tests.kernel kaslr boots these two many times
        (LARGE, "6.12.117", "bios", "may_collide"),
        (f"{GUARD} {LARGE}", "6.12.117", "bios", "avoids"),
        ("nokaslr", "6.12.117", "bios", "not_randomised"),
        # it knows no quotes: a word is what stands between blanks
        ('x="a nokaslr b"', "6.12.117", "bios", "not_randomised"),
        ('x="a nokaslr"', "6.12.117", "bios", "may_collide"),
        ("memmap=64M%4G-1+2", "6.12.117", "bios", "not_randomised"),
        ("memmap=8G$4G", "7.2.12", "bios", "avoids"),
        ("memmap=3G$4G,5G!7G", "7.2.12", "bios", "avoids"),
        ("dmem=8G", "6.12.117", "bios", "may_collide"),
        # pages of 1 GiB that KASLR leaves out are no protection
        ("hugepagesz=1G hugepages=64", "6.12.117", "bios", "may_collide"),
        # the EFI stub: left to the decompressor before 6.6 (6.1.81)
        (LARGE, "5.10.223", "efi", "may_collide"),
        (f"{GUARD} {LARGE}", "5.10.223", "efi", "avoids"),
        (f"{GUARD} {LARGE}", "6.1.76", "efi", "avoids"),
        # from there on it minds nothing ...
        (f"{GUARD} {LARGE}", "6.1.85", "efi", "may_collide"),
        (f"{GUARD} {LARGE}", "6.8.0-31-generic", "efi", "may_collide"),
        ("memmap=8G$4G", "6.8.0-31-generic", "efi", "may_collide"),
        ("memmap=8G$4G nokaslr", "6.8.0-31-generic", "efi", "not_randomised"),
        # ... until 6.10 (6.1.93), which gives up the random place
        (LARGE, "6.1.93", "efi", "not_randomised"),
        (LARGE, "6.1.0-22-amd64", "efi", "not_randomised"),
        (LARGE, "6.1.0-21-amd64", "efi", "may_collide"),
        (LARGE, "6.12.117", "efi", "not_randomised"),
        ("hugepagesz=1G hugepages=4", "6.12.117", "efi", "not_randomised"),
        ("dmem=8G", "6.12.117", "efi", "may_collide"),
        # only the first place of a text is looked at
        ("dmem=8G mem=16G", "6.12.117", "efi", "may_collide"),
        ("quiet mem=16G", "6.12.117", "efi", "not_randomised"),
        # not known how it boots: the worse of the two
        (LARGE, "6.12.117", "", "may_collide"),
        (f"{GUARD} {LARGE}", "6.12.117", "", "avoids"),
        (f"nokaslr {LARGE}", "6.12.117", "", "not_randomised"),
    ],
)
def test_verdicts(cmdline: str, release: str, firmware: str, expected: str) -> None:
    found = verdict(split(cmdline), release, firmware, CARVE)
    assert found.verdict == expected, found.reason
    assert found.reason


def test_the_fixed_place_may_be_taken() -> None:
    low = [Range(64 * MIB, GIB)]
    assert verdict(["nokaslr"], "6.12.117", "bios", low).verdict == "may_collide"
    assert verdict(["nokaslr"], "6.12.117", "bios", [Range(GIB, 3 * GIB)]).verdict == "not_randomised"
    # where the firmware has its first free place is not known
    assert verdict(["nokaslr"], "6.12.117", "efi", [Range(GIB, 3 * GIB)]).verdict == "may_collide"


def test_nothing_is_put_below_16_mib_or_where_all_of_it_is_avoided() -> None:
    assert verdict([], "6.12.117", "bios", [Range(MIB, 16 * MIB)]).verdict == "avoids"
    assert verdict([], "6.12.117", "bios", []).verdict == "avoids"
    assert verdict([], "6.12.117", "efi", []).verdict == "avoids"
    both = ["memmap=1G$4G", "memmap=1G$5G"]
    assert verdict(both, "6.12.117", "bios", [Range(4 * GIB, 6 * GIB)]).verdict == "avoids"
    assert verdict(both, "6.12.117", "bios", [Range(4 * GIB, 6 * GIB + 1)]).verdict == "may_collide"


@given(st.lists(st.text(alphabet="0123456789xaGMKE%-+@#$!,=mepkslrn ", max_size=24), max_size=5), st.data())
def test_any_line_has_a_verdict(tokens: list[str], data: st.DataObject) -> None:
    release = data.draw(st.sampled_from(("", "5.10.0", "6.1.85", "6.12.117", "7.2.12")))
    firmware = data.draw(st.sampled_from(("bios", "efi", "")))
    assert verdict(tokens, release, firmware, CARVE).verdict in {"avoids", "may_collide", "not_randomised"}
