# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing devices inside of reservations."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible, Problem
from ansible_collections.carveout.memory.plugins.module_utils._planner.devices import place_devices
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import DevicePlan, Percent
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, parse_size

UNIT = 2 * MIB


def device(name: str, size: Any = None, *extents: tuple[float, float], align: int = UNIT) -> DevicePlan:
    """``size`` and ``extents`` (offset and end) in GiB."""
    if isinstance(size, (int, float)):
        size = int(size * GIB)
    parts = tuple(Range(int(a * GIB), int(b * GIB)) for a, b in extents)
    return DevicePlan(f"pools.p.devices[{name}]", name, 0, align, size, parts, "root", "root", "0600")


def ranges(*pairs: tuple[float, float]) -> tuple[Range, ...]:
    return tuple(Range(int(a * GIB), int(b * GIB)) for a, b in pairs)


def placed(
    reservations: tuple[Range, ...], *devices: DevicePlan, kept: Mapping[str, tuple[Range, ...]] | None = None
) -> dict[str, list[tuple[float, float]]]:
    found = place_devices("pools.p", 0, reservations, devices, kept or {})
    return {name: [(r.start / GIB, r.end / GIB) for r in parts] for name, parts in found.items()}


def refused(
    reservations: tuple[Range, ...], *devices: DevicePlan, kept: Mapping[str, tuple[Range, ...]] | None = None
) -> Problem:
    with pytest.raises(NotPossible) as caught:
        place_devices("pools.p", 0, reservations, devices, kept or {})
    (problem,) = caught.value.problems
    return problem


def test_two_extents_with_another_device_between() -> None:
    devices = (device("c", None, (0, 0.25), (0.75, 1)), device("d", 0.5), device("e", "rest"))
    assert placed(ranges((4, 7)), *devices) == {
        "c": [(4, 4.25), (4.75, 5)],
        "d": [(4.25, 4.75)],
        "e": [(5, 7)],
    }
    assert placed(ranges((4, 7)), *reversed(devices)) == placed(ranges((4, 7)), *devices)


def test_extents_keep_the_order_they_are_written_in() -> None:
    assert placed(ranges((4, 6)), device("c", None, (1, 1.5), (0, 0.5))) == {"c": [(5, 5.5), (4, 4.5)]}


def test_sizes_in_order_and_the_rest_in_the_largest_run() -> None:
    devices = (device("r", "rest"), device("x", 1), device("y", 0.5))
    assert placed(ranges((4, 8)), *devices) == {"x": [(4, 5)], "y": [(5, 5.5)], "r": [(5.5, 8)]}
    assert placed(ranges((4, 6), (8, 11)), *devices) == {"x": [(4, 5)], "y": [(5, 5.5)], "r": [(8, 11)]}


def test_no_device_spans_two_reservations_even_where_they_touch() -> None:
    touching = ranges((4, 5), (5, 6))
    problem = refused(touching, device("x", 2))
    assert (problem.path, problem.code) == ("pools.p.devices[x].size", "device-does-not-fit")
    assert problem.message.endswith("is 1GiB; nearest that fits: pools.p.devices[x].size: 1GiB")
    assert placed(touching, device("x", "rest")) == {"x": [(4, 5)]}
    assert refused(touching, device("x", None, (0, 0.5), (1, 1.5))).code == "extent-outside"


def test_extents_take_the_reservation_that_has_them_all() -> None:
    homes = ranges((4, 5), (8, 10))
    assert placed(homes, device("x", None, (1.5, 2))) == {"x": [(9.5, 10)]}
    first, second = device("x", None, (0, 0.5)), device("y", None, (0, 0.5))
    assert placed(homes, first, second) == {"x": [(4, 4.5)], "y": [(8, 8.5)]}
    problem = refused(homes, first, second, device("z", None, (0.25, 0.75)))
    assert (problem.path, problem.code) == ("pools.p.devices[z].extents", "extents-overlap")


def test_aligns() -> None:
    """A small device does not stand in the way of one with large pages where another order helps."""
    small, large = device("s", 0.5), device("l", 3, align=GIB)
    assert placed(ranges((4, 8)), small, large) == {"s": [(4, 4.5)], "l": [(5, 8)]}
    assert placed(ranges((4, 7.5)), small, large) == {"l": [(4, 7)], "s": [(7, 7.5)]}
    assert placed(ranges((4, 8)), small, device("r", "rest", align=GIB)) == {"s": [(4, 4.5)], "r": [(5, 8)]}
    assert placed(ranges((4, 5)), device("x", 0.5, align=4096)) == {"x": [(4, 4.5)]}


def test_shares() -> None:
    homes = ranges((4, 6), (8, 10))
    assert placed(homes, device("x", Percent(25_000_000))) == {"x": [(4, 5)]}
    assert placed(homes, device("x", Percent(30_000_000), align=GIB)) == {"x": [(4, 5)]}
    problem = refused(homes, device("x", Percent(1)))
    assert (problem.path, problem.code) == ("pools.p.devices[x].size", "size-invalid")
    problem = refused(homes, device("x", Percent(100_000_000)), device("y", 1))
    assert (problem.path, problem.code) == ("pools.p.devices", "devices-exceed-pool")


def test_what_was_kept_stays_and_the_others_go_around_it() -> None:
    kept = {"y": ranges((4.5, 5.5)), "z": ranges((9, 9.5)), "gone": ranges((4, 5))}
    devices = (device("x", 1), device("y", 1), device("z", 1))
    assert placed(ranges((4, 8)), *devices, kept=kept) == {
        "y": [(4.5, 5.5)],
        "x": [(5.5, 6.5)],
        "z": [(6.5, 7.5)],
    }
    # y would leave no run for x: given up rather than refused
    assert placed(ranges((4, 6)), *devices[:2], kept=kept) == {"x": [(4, 5)], "y": [(5, 6)]}
    # and another order is tried before anything is given up
    kept = {"s": ranges((7, 7.5))}
    small, large, middle = device("s", 0.5), device("l", 2, align=GIB), device("m", 1)
    assert placed(ranges((4, 7.5)), middle, small, large, kept=kept)["s"] == [(7, 7.5)]


def test_messages_are_about_the_plans_own_order() -> None:
    problem = refused(ranges((4, 6)), device("x", None, (0.5, 1)), device("y", 0.25), device("z", 1.25))
    assert problem.path == "pools.p.devices[z].size"
    assert problem.message == (
        "no unbroken 1.25GiB is left in the pool on node 0; the largest aligned run there, without the other "
        "devices, is 1GiB; nearest that fits: pools.p.devices[z].size: 1GiB"
    )
    problem = refused(ranges((4, 6)), device("x", 2), device("r", "rest"))
    assert (problem.path, problem.code) == ("pools.p.devices[r].size", "nothing-left")
    problem = refused(ranges((4, 6)), device("x", None, (0, 1)), device("y", None, (0.5, 1.5)))
    assert (problem.path, problem.code) == ("pools.p.devices[y].extents", "extents-overlap")


def packs(homes: Sequence[range], sizes: Sequence[tuple[int, int]], rest: int) -> bool:
    """Whether items (size, align) and a free run for the rest fit, page by page, trying every place."""
    if not sizes:
        return rest == 0 or any(
            home.start <= a and a + rest <= home.stop for home in homes for a in range(0, 40, rest)
        )
    (size, align), later = sizes[0], sizes[1:]
    for n, home in enumerate(homes):
        for a in range(-(-home.start // align) * align, home.stop - size + 1, align):
            cut = (range(home.start, a), range(a + size, home.stop))
            if packs([*homes[:n], *cut, *homes[n + 1 :]], later, rest):
                return True
    return False


@pytest.mark.parametrize("block", range(6))
def test_devices_fit_exactly_where_a_way_to_place_them_exists(block: int) -> None:
    """And where none does, the plan that the message names fits. 900 pools; a page is 512 MiB."""
    refusals = fits = 0
    for seed in range(150 * block, 150 * (block + 1)):
        chance = random.Random(seed)
        homes, position = [], 8
        for _ in range(chance.randint(1, 3)):
            position += chance.randint(0, 2)
            homes.append(range(position, position := position + chance.randint(1, 6)))
        wanted = []
        for n in range(chance.randint(1, 5)):
            align = chance.choice([1, 1, 2])
            wanted.append(
                device(f"d{n}", align * chance.randint(1, 3) / 2, align=UNIT if align == 1 else GIB)
            )
        if chance.random() < 0.3:
            wanted.append(device("r", "rest", align=chance.choice([UNIT, GIB])))
        pages = [(int(d.size) * 2 // GIB, 2 if d.align == GIB else 1) for d in wanted if d.size != "rest"]
        rest = sum(2 if d.align == GIB else 1 for d in wanted if d.size == "rest")
        places = ranges(*((home.start / 2, home.stop / 2) for home in homes))
        if packs(homes, pages, rest):
            fits += 1
            assert placed(places, *wanted), seed
            continue
        refusals += 1
        problem = refused(places, *wanted)
        assert "not all;" not in problem.message, seed
        _, found, nearest = problem.message.partition("; nearest that fits: ")
        for change in nearest.split(", ") if found else ():
            gone = change.startswith("no ")
            path, _, size = change.removeprefix("no ").removesuffix(".size").partition(".size: ")
            index = next(n for n, d in enumerate(wanted) if d.path == path)
            if gone:
                del wanted[index]
            else:
                wanted[index] = dataclasses.replace(wanted[index], size=parse_size(size))
        if found:
            assert placed(places, *wanted) or not wanted, seed
        else:
            assert not packs(homes, [], rest), seed
    assert min(refusals, fits) > 30


HOMES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 16)), min_size=1, max_size=3).map(
    lambda pairs: tuple(
        Range(UNIT * 512 * (40 * n + 1) + UNIT * a, UNIT * 512 * (40 * n + 1) + UNIT * (a + size))
        for n, (a, size) in enumerate(pairs)
    )
)
SIZES = st.one_of(
    st.integers(1, 8).map(lambda n: n * UNIT), st.just("rest"), st.integers(1, 100_000_000).map(Percent)
)


@given(HOMES, st.lists(st.tuples(st.integers(0, 2), SIZES), min_size=1, max_size=5), st.booleans())
def test_devices_never_overlap_and_never_leave(
    homes: tuple[Range, ...], wanted: list[tuple[int, Any]], again: bool
) -> None:
    devices = []
    rest = False
    for n, (offset, size) in enumerate(wanted):
        if size == "rest" and rest:
            continue
        rest = rest or size == "rest"
        part = Range(offset * UNIT, (offset + 1) * UNIT)
        extents = (part,) if n == 0 and isinstance(size, Percent) else ()
        devices.append(
            DevicePlan(f"d{n}", f"d{n}", 0, UNIT, None if extents else size, extents, "root", "root", "0600")
        )
    try:
        found = place_devices("p", 0, homes, devices, {})
    except NotPossible as error:
        assert len(error.problems) == 1
        return
    assert set(found) == {d.name for d in devices}
    parts = [r for extents in found.values() for r in extents]
    assert RangeSet(parts).size == sum(r.size for r in parts)
    total = sum(home.size for home in homes)
    for d in devices:
        extents = found[d.name]
        assert any(all(home.contains(e) for e in extents) for home in homes)
        assert all(e.start % UNIT == e.size % UNIT == 0 and e.size for e in extents)
        if isinstance(d.size, int):
            assert extents[0].size == d.size
        elif isinstance(d.size, Percent):
            assert extents[0].size == d.size.of(total) // UNIT * UNIT
        elif d.size == "rest":
            left = [
                r for home in homes for r in RangeSet([home]).subtract(r for r in parts if r not in extents)
            ]
            assert extents[0].size == max(r.size for r in left)
    assert place_devices("p", 0, homes, devices, found) == found, "what is there stays"
