# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where early boot may put the kernel (arch/x86/boot/compressed/kaslr.c)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._model.kaslr import (
    GUARD,
    GUARD_LIMIT,
    placement,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, U64, kernel_size
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
    host = Host(
        architecture="x86_64",
        firmware_map=(MapEntry(0, 3 * GIB, 1), MapEntry(4 * GIB, 12 * GIB, 1)),
        node_ranges=(NodeRange(0, 0, 12 * GIB),),
        hmat=False,
        firmware_boot="efi",
        kernel_running=kernel,
        kernel_default=kernel,
        kernel_config={},
        cmdline="ro",
        boot_arguments=("ro",),
        foreign=(),
        committed=None,
        layouts={},
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
