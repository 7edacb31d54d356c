# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeping what a host has: committed layouts stay, and changes move as little as they can."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout, Reservation
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

LOW = 4 * GIB
HOST = make_host(
    [(0, 3 * GIB, 1), (3 * GIB, LOW, 2), (LOW, 32 * GIB, 1)],
    [(0, 0, 16 * GIB), (1, 16 * GIB, 32 * GIB)],
    firmware_boot="efi",
    boot_arguments=("quiet",),
)

PLAN: dict[str, Any] = {
    "version": 1,
    "kernel": {"memory": "4GiB"},
    "pools": {
        "a": {
            "mechanism": "dax",
            "nodes": {"1": "4GiB"},
            "devices": [
                {"name": "a1", "size": "1GiB"},
                {"name": "a2", "size": "512MiB"},
                {"name": "a3", "extents": [{"offset": "3GiB", "size": "512MiB"}]},
            ],
        },
        "b": {"mechanism": "reserved", "nodes": {"1": "1GiB"}},
        "c": {"mechanism": "dax", "nodes": {"0": "2GiB", "1": "2GiB"}, "align": "1GiB"},
    },
}


def made(plan: dict[str, Any], host: Host = HOST, previous: Layout | None = None, **more: Any) -> Layout:
    return make_layout(validated_plan(plan), host, previous, **more)


def changed(change: Any) -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    change(plan["pools"])
    return plan


def places(layout: Layout) -> dict[tuple[str, int], list[Range]]:
    found: dict[tuple[str, int], list[Range]] = {}
    for r in layout.reservations:
        found.setdefault((r.pool, r.node), []).append(r.range)
    return found


def devices(layout: Layout) -> dict[str, Device]:
    return {device.name: device for device in layout.devices}


BEFORE = made(PLAN)


def shifted() -> Layout:
    """The same plan answered as another planner might have: pool c of node 1 at the end of the node."""
    reservations = [
        dataclasses.replace(r, start=30 * GIB, end=32 * GIB) if (r.pool, r.node) == ("c", 1) else r
        for r in BEFORE.reservations
    ]
    c = next(r for r in BEFORE.reservations if (r.pool, r.node) == ("c", 1))
    old = f"memmap=2G%{c.start // GIB}G-1+0xefffffff"
    arguments = [a for a in BEFORE.arguments if a != old]
    arguments.insert(arguments.index("dax_hmem.region_idle=1"), "memmap=2G%30G-1+0xefffffff")
    assert len(arguments) == len(BEFORE.arguments)
    after = apply_arguments(HOST.firmware_map, ["quiet", *arguments], HOST.kernel).entries
    return dataclasses.replace(
        BEFORE,
        reservations=tuple(reservations),
        arguments=tuple(arguments),
        predicted_map=tuple((e.start, e.end, e.type) for e in after),
    )


def test_a_layout_that_still_fits_is_kept_byte_for_byte() -> None:
    other = shifted()
    assert other.id != BEFORE.id
    kept = made(PLAN, HOST, other)
    assert kept is other
    assert json.dumps(kept.to_json()) == json.dumps(other.to_json())
    assert made(PLAN, HOST, Layout.from_json(json.loads(json.dumps(other.to_json())))) == other


def test_a_newer_kernel_is_no_reason_to_plan_anew() -> None:
    newer = dataclasses.replace(
        HOST, kernel_default="7.2.13", kernel_running="7.2.13", cmdline="quiet splash"
    )
    assert made(PLAN, newer, BEFORE) is BEFORE
    assert made(PLAN, newer).id != BEFORE.id


def test_the_order_of_the_plans_keys_is_no_change() -> None:
    plan = {key: PLAN[key] for key in reversed(list(PLAN))}
    plan["pools"] = {key: PLAN["pools"][key] for key in reversed(list(PLAN["pools"]))}
    assert made(plan, HOST, BEFORE) is BEFORE


def test_replanning_keeps_places_that_are_as_good() -> None:
    again = made(PLAN, HOST, shifted(), replan=True)
    assert again is not BEFORE
    assert places(again)[("c", 1)] == [Range(30 * GIB, 32 * GIB)]
    assert made(PLAN, HOST, None, replan=True) == BEFORE


@pytest.mark.parametrize(
    "host",
    [
        # RAM under the reservations is gone, or belongs to another node now
        dataclasses.replace(HOST, firmware_map=(*HOST.firmware_map[:2], MapEntry(5 * GIB, 32 * GIB, 1))),
        dataclasses.replace(HOST, node_ranges=(NodeRange(0, 0, 17 * GIB), NodeRange(1, 17 * GIB, 32 * GIB))),
        # early boot could put the kernel into one of them
        dataclasses.replace(HOST, boot_arguments=("memmap=1M$1G,1M$1025M,1M$1026M", "memmap=1M$1027M")),
    ],
)
def test_a_layout_that_no_longer_fits_is_planned_anew(host: Host) -> None:
    plan = {**PLAN, "policy": {"kaslr": "allow-disable"}}
    large = copy.deepcopy(plan)
    large["pools"]["c"]["nodes"]["0"] = "6GiB"
    before = made(large, dataclasses.replace(HOST, boot_arguments=()))
    anew = made(large, host, before)
    assert anew is not before
    assert anew.id != before.id


def test_a_layout_that_takes_what_the_kernel_is_now_to_keep() -> None:
    plan = copy.deepcopy(PLAN)
    plan["kernel"]["memory"] = "9GiB"
    before = dataclasses.replace(BEFORE, plan=plan)
    assert made(plan, HOST, before) == made(plan, HOST)
    plan["kernel"]["memory"] = "10GiB"
    with pytest.raises(NotPossible, match="largest possible size"):
        made(plan, HOST, dataclasses.replace(BEFORE, plan=plan))


def test_what_is_kept_is_still_checked_against_foreign_arguments() -> None:
    start = places(BEFORE)[("b", 1)][0].start
    token = f"memmap=2M${start >> 20}M"
    host = dataclasses.replace(HOST, boot_arguments=("quiet", token))
    with pytest.raises(
        NotPossible, match=r"pools\.b\.nodes\.1: memmap=2M\$[0-9]+M \(on the kernel's command line\)"
    ):
        made(PLAN, host, BEFORE)
    with pytest.raises(NotPossible, match="command line would be"):
        made(PLAN, dataclasses.replace(HOST, boot_arguments=("x" * 1900,)), BEFORE)


@pytest.mark.parametrize(
    "change",
    [
        lambda pools: pools["b"]["nodes"].update({"1": "2GiB"}),
        lambda pools: pools["b"]["nodes"].update({"1": "512MiB"}),
        lambda pools: pools.pop("b"),
        lambda pools: pools.update(d={"mechanism": "dax", "nodes": {"1": "1GiB"}}),
        lambda pools: pools["c"]["nodes"].update({"0": "3GiB"}),
        lambda pools: pools["c"].update(devices=[{"name": "c1", "node": 0, "size": "rest"}]),
        lambda pools: pools.update(rest={"mechanism": "dax", "nodes": {"1": "rest"}}),
    ],
)  # fmt: skip
def test_other_pools_and_their_devices_stay(change: Any) -> None:
    before = shifted()
    plan = changed(change)
    after = made(plan, HOST, before)
    untouched = [
        (name, int(node))
        for name, pool in PLAN["pools"].items()
        for node, amount in pool["nodes"].items()
        if plan["pools"].get(name, {"nodes": {}})["nodes"].get(node) == amount
    ]
    assert len(untouched) >= 3
    assert {key: places(after)[key] for key in untouched} == {key: places(before)[key] for key in untouched}
    for name in ("a1", "a2", "a3"):
        assert devices(after)[name] == devices(before)[name]
    assert not [w for w in after.warnings if w.code == "pool-moved"]


def test_devices_stay_where_they_are_when_one_goes_or_comes() -> None:
    def without_first(pools: Any) -> None:
        del pools["a"]["devices"][0]
        pools["a"]["devices"].insert(0, {"name": "new", "size": "2MiB"})

    after = devices(made(changed(without_first), HOST, BEFORE))
    assert after["a2"].extents == devices(BEFORE)["a2"].extents
    start = devices(BEFORE)["a1"].extents[0].start
    assert after["new"].extents == (Range(start, start + 2 * MIB),)

    def larger(pools: Any) -> None:
        pools["a"]["devices"][1]["size"] = "1GiB"
        pools["a"]["devices"][1]["owner"] = "nobody"

    grown = devices(made(changed(larger), HOST, BEFORE))
    assert grown["a1"] == devices(BEFORE)["a1"]
    assert grown["a2"].size == GIB


def test_a_kept_device_gives_way_where_another_would_not_fit() -> None:
    """a2 lies at 1 GiB; a new device of 2 GiB fits only if it moves."""

    def change(pools: Any) -> None:
        pools["a"]["devices"] = [{"name": "new", "size": "3GiB"}, {"name": "a2", "size": "512MiB"}]

    after = devices(made(changed(change), HOST, BEFORE))
    assert after["new"].size == 3 * GIB
    assert after["a2"].extents != devices(BEFORE)["a2"].extents


def test_only_what_has_to_move_is_moved_and_told() -> None:
    """s and t each break a GiB that g needs now: one of them moves in with the other."""

    def plan(size: str) -> dict[str, Any]:
        small = {"mechanism": "reserved", "nodes": {"1": "512MiB"}}
        large = {"mechanism": "dax", "nodes": {"1": size}, "align": "1GiB"}
        return {"version": 1, "kernel": {"memory": "0"}, "pools": {"g": large, "s": small, "t": small}}

    half = 512 * MIB
    before = dataclasses.replace(
        BEFORE,
        plan=plan("10GiB"),
        reservations=(
            Reservation("s", "reserved", 1, 20 * GIB + half, 21 * GIB, 2 * MIB),
            Reservation("g", "dax", 1, 21 * GIB, 31 * GIB, GIB),
            Reservation("t", "reserved", 1, 31 * GIB, 31 * GIB + half, 2 * MIB),
        ),
        devices=(),
    )
    after = made(plan("14GiB"), HOST, before)
    assert places(after)[("s", 1)] == [Range(20 * GIB + half, 21 * GIB)]
    assert places(after)[("t", 1)] == [Range(31 * GIB, 31 * GIB + half)]
    assert places(after)[("g", 1)] == [Range(16 * GIB, 20 * GIB), Range(21 * GIB, 31 * GIB)]
    assert after.warnings == ()
    after = made(plan("15GiB"), HOST, before)
    assert places(after)[("s", 1)] == [Range(31 * GIB + half, 32 * GIB)]
    assert places(after)[("t", 1)] == [Range(31 * GIB, 31 * GIB + half)]
    assert [w.message for w in after.warnings] == ["pool s on node 1 moves: its place is needed otherwise"]


SIZES = st.integers(1, 6).map(lambda n: f"{n}GiB")


@given(st.fixed_dictionaries(dict.fromkeys("abc", SIZES)), st.fixed_dictionaries(dict.fromkeys("abc", SIZES)))
def test_pools_of_unchanged_size_stay_where_everything_fits(old: dict[str, str], new: dict[str, str]) -> None:
    def plan(sizes: dict[str, str]) -> dict[str, Any]:
        pools = {name: {"mechanism": "dax", "nodes": {"1": size}} for name, size in sizes.items()}
        return {"version": 1, "kernel": {"memory": "0"}, "pools": pools}

    try:
        before = made(plan(old))
        fresh = made(plan(new))
    except NotPossible:
        return
    after = made(plan(new), HOST, before)
    assert sum(r.range.size for r in after.reservations) == sum(r.range.size for r in fresh.reservations)
    told = [w.message.split()[1] for w in after.warnings if w.code == "pool-moved"]
    for name in "abc":
        if old[name] == new[name]:
            assert (places(after)[(name, 1)] == places(before)[(name, 1)]) == (name not in told)
    if old == new:
        assert after is before
    # In 16 GiB three pools of whole GiB always fit beside those that stay, in pieces if they must.
    assert told == []


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": ("memmap=1G%4G-1+2", "init=/bin/sh")},
        {"arguments": ("memmap=3G%4G-1+2",)},
        {"devices": ()},
        {"device": {"owner": "nobody"}},
        {"device": {"mode": "0666"}},
        {"device": {"extents": (Range(4 * GIB, 4 * GIB + 4 * MIB),)}},
    ],
)
def test_a_committed_layout_that_does_not_answer_its_plan_is_planned_anew(changes: dict[str, Any]) -> None:
    """It comes from the host: nothing in it is believed that the plan does not say."""
    plan = validated_plan(
        {
            "version": 1,
            "kernel": {"memory": "1GiB"},
            "pools": {
                "a": {"mechanism": "dax", "nodes": {0: "1GiB"}, "devices": [{"name": "x", "size": "2MiB"}]}
            },
        }
    )
    machine = HOST
    good = make_layout(plan, machine)
    assert make_layout(plan, machine, good) is good
    changes = dict(changes)
    if "device" in changes:
        changes["devices"] = (dataclasses.replace(good.devices[0], **changes.pop("device")),)
    bad = dataclasses.replace(good, **changes)
    assert bad.id != good.id
    assert make_layout(plan, machine, bad).id == good.id
