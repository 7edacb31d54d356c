# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for every layout, on made-up hosts."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from functools import partial
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._model.kaslr import GUARD, placement
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import (
    MINIMUM_KERNEL,
    make_layout,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Percent, Plan
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import (
    GIB,
    MIB,
    SECTION,
    align_down,
    align_up,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

SOFT = 0xEFFFFFFF
LOW = 4 * GIB


def make_host(firmware: list[tuple[int, int, int]], nodes: list[tuple[int, int, int]], **more: Any) -> Host:
    host = Host(
        architecture="x86_64",
        firmware_map=tuple(MapEntry(*entry) for entry in firmware),
        node_ranges=tuple(NodeRange(*part) for part in nodes),
        hmat=False,
        firmware_boot="bios",
        kernel_running="6.12.107",
        kernel_default="6.12.107",
        kernel_config={},
        cmdline="quiet",
        boot_arguments=None,
        foreign=(),
        committed=None,
        layouts={},
    )
    return dataclasses.replace(host, **more)


def make_plan(kernel: Any, pools: dict[str, Any], **more: Any) -> Plan:
    return validated_plan({"version": 1, "kernel": {"memory": kernel}, "pools": pools, **more})


def bytes_of(amount: Any, usable: int) -> int:
    if isinstance(amount, Percent):
        return min(usable, align_up(amount.of(usable), SECTION))
    assert isinstance(amount, int)
    return amount


def carved(host: Host, layout: Layout) -> Host:
    """The host after it booted with the layout: same firmware, our run of arguments on its line."""
    return dataclasses.replace(
        host,
        boot_arguments=(*host.foreign_tokens, *layout.kernel_arguments, "after"),
        layouts={layout.id: json.loads(json.dumps(layout.to_json()))},
        state={"root": True, "boot_id": "x"},
    )


def check_layout(host: Host, plan: Plan, layout: Layout) -> None:
    """Everything that is promised of a layout, from its JSON, the host and the kernel's rules alone."""
    pools = {pool.name: pool for pool in plan.pools}
    taken = [r.range for r in layout.reservations]
    assert sorted(taken) == taken
    assert RangeSet(taken).size == sum(r.size for r in taken)
    for r in layout.reservations:
        pool = pools[r.pool]
        align = max(pool.aligns[r.node], 2 * MIB) if pool.mechanism == "dax" else pool.aligns[r.node]
        assert r.mechanism == pool.mechanism
        assert r.align == pool.aligns[r.node]
        assert r.start % align == r.end % align == 0
        assert r.start >= LOW
        assert host.node_usable(r.node).contains(r.range)
        assert not RangeSet(plan.avoid).overlaps(r.range)
    _check_sizes(host, plan, layout)
    _check_prediction(host, layout)
    _check_devices(plan, layout)
    memory = layout.memory
    assert memory.kernel_after - memory.struct_pages_after >= MINIMUM_KERNEL
    assert memory.saved >= 0
    assert memory.installed == host.usable.size
    for name in ("installed", "kernel_before", "kernel_after", "struct_pages_before", "struct_pages_after"):
        nodes = sum(getattr(m, name) for m in layout.memory_nodes.values())
        total = getattr(memory, name)
        inside = RangeSet((r.start, r.end) for r in host.node_ranges)
        assert nodes == total or host.usable.subtract(inside), name
    # A section on the border of two nodes may change its owner: 2 MiB less on one of them.
    assert all(m.saved >= -4 * MIB for m in layout.memory_nodes.values())
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert len(" ".join([*host.foreign_tokens, *layout.kernel_arguments])) < 2048


def _check_sizes(host: Host, plan: Plan, layout: Layout) -> None:
    for node in {node for pool in plan.pools for node in pool.nodes}:
        usable = host.node_usable(node).size
        keep = bytes_of(plan.keep_for_kernel(node), usable)
        got = {
            p.name: [r.range for r in layout.reservations if (r.pool, r.node) == (p.name, node)]
            for p in plan.pools
        }
        assert sum(r.size for ranges in got.values() for r in ranges) <= usable - keep
        for pool in plan.pools:
            amount = pool.nodes.get(node)
            size = sum(r.size for r in got[pool.name])
            align = max(pool.aligns.get(node, 0), 2 * MIB if pool.mechanism == "dax" else 4096)
            if amount is None:
                assert size == 0
            elif isinstance(amount, Percent):
                assert size == align_down(amount.of(usable), align)
            elif amount != "rest":
                assert size == amount
            elif len([p for p in plan.pools if node in p.nodes]) == 1:
                # One pool that takes the rest: all that is aligned, or all that the kernel does not keep.
                free = host.node_usable(node).intersect([(LOW, 1 << 64)]).subtract(plan.avoid)
                capacity = sum(part.align_inward(align).size for part in free)
                assert size == min(capacity, align_down(usable - keep, align))
            else:
                assert size > 0


def _check_prediction(host: Host, layout: Layout) -> None:
    """In the reservations exactly their type, everywhere else what was there before."""
    before = apply_arguments(host.firmware_map, host.foreign_tokens).entries
    tokens = [*host.foreign_tokens, *layout.kernel_arguments]
    after = apply_arguments(host.firmware_map, tokens)
    assert tuple(tuple(entry) for entry in after.entries) == layout.predicted_map
    assert not [i for i in after.ignored if i.argument in layout.arguments]
    reserved = RangeSet(r.range for r in layout.reservations)
    kinds = {entry.type for entry in (*before, *after.entries)} | {1}
    for kind in kinds:
        was = RangeSet((e.start, e.end) for e in before if e.type == kind)
        now = RangeSet((e.start, e.end) for e in after.entries if e.type == kind)
        mine = RangeSet(
            r.range for r in layout.reservations if {"dax": SOFT, "reserved": 2}[r.mechanism] == kind
        )
        assert now == was.subtract(reserved).union(mine)
    for r in layout.reservations:
        if r.mechanism == "dax":
            assert [e for e in after.entries if e.type == SOFT and e.start == r.start and e.end == r.end]
    assert not placement(tokens).collisions(r.range for r in layout.reservations)
    dax = any(r.mechanism == "dax" for r in layout.reservations)
    assert layout.arguments.count("dax_hmem.region_idle=1") == dax


def _check_devices(plan: Plan, layout: Layout) -> None:
    wanted = {d.name: d for pool in plan.pools for d in pool.devices}
    assert {d.name for d in layout.devices} == set(wanted)
    extents = [e for d in layout.devices for e in d.extents]
    assert RangeSet(extents).size == sum(e.size for e in extents)
    for device in layout.devices:
        ask = wanted[device.name]
        homes = [r for r in layout.reservations if (r.pool, r.node) == (device.pool, device.node)]
        home = next(r for r in homes if all(r.range.contains(e) for e in device.extents))
        unit = max(device.align, 2 * MIB)
        assert all(e.start % unit == e.size % unit == 0 for e in device.extents)
        assert (device.owner, device.group, device.mode) == (ask.owner, ask.group, ask.mode)
        if ask.extents:
            assert [(e.start - home.start, e.end - home.start) for e in device.extents] == list(ask.extents)
        elif isinstance(ask.size, int):
            assert device.size == ask.size
            assert len(device.extents) == 1


# ------------------------------------------------------------------------------------- made-up hosts

PIECE = st.tuples(
    st.integers(0, 3 * 1024),  # MiB of hole before it
    st.integers(700, 24 * 1024),  # MiB of RAM
    st.sampled_from([0, 0, 4096, 0x7F000, 64 * MIB, MIB]),  # and a bit
    st.sampled_from([0, 0, 2, 3, 4, 20]),  # type of what follows at once, if anything
)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """1 to 4 nodes with RAM below and above 4 GiB, holes, odd borders, and ranges of other types."""
    low = draw(st.integers(256, 3 * 1024)) * MIB
    firmware = [(0x1000, 0x9F000, 1), (0x9F000, 0x100000, 2), (MIB, low, 1), (0xFEC00000, LOW, 2)]
    position = LOW
    nodes: list[tuple[int, int, int]] = []
    count = draw(st.integers(1, 4))
    numbers = draw(st.permutations(range(count)))
    border = 0
    for number in numbers:
        for hole, size, bit, kind in draw(st.lists(PIECE, min_size=1, max_size=3)):
            position += hole * MIB
            firmware.append((position, position + size * MIB + bit, 1))
            position += size * MIB + bit
            if kind:
                firmware.append((position, position + 0x3000, kind))
                position += 0x3000
        nodes.append((number, border, position))
        border = position
    return make_host(firmware, nodes)


AMOUNTS = st.one_of(
    st.just("rest"),
    st.integers(1, 900).map(lambda n: f"{2 * n}MiB"),
    st.integers(1, 30).map(lambda n: f"{n}%"),
)
ALIGNS = st.sampled_from(["4KiB", "2MiB", "2MiB", "1GiB"])


@st.composite
def pool_plans(draw: st.DrawFn, name: str, nodes: list[int]) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(nodes), min_size=1, unique=True))
    mechanism = draw(st.sampled_from(["dax", "dax", "reserved"]))
    align = draw(ALIGNS)
    amounts = {str(node): draw(AMOUNTS) for node in chosen}
    if align == "1GiB":
        amounts = {n: f"{a[:-3]}GiB" if a.endswith("MiB") else a for n, a in amounts.items()}
        amounts = {n: f"{int(a[:-3]) % 3 + 1}GiB" if a.endswith("GiB") else a for n, a in amounts.items()}
    pool: dict[str, Any] = {"mechanism": mechanism, "nodes": amounts, "align": align}
    if mechanism == "dax" and draw(st.booleans()):
        node, size = chosen[0], {"1GiB": 1024}.get(align, 2)
        pool["devices"] = [
            {"name": f"{name}a", "node": node, "size": f"{size}MiB"},
            {
                "name": f"{name}b",
                "node": node,
                "size": "rest",
                "align": draw(st.sampled_from(["4KiB", align])),
            },
        ]
    return pool


@st.composite
def cases(draw: st.DrawFn) -> tuple[Host, Plan]:
    host = draw(hosts())
    pools = {n: draw(pool_plans(n, host.nodes)) for n in ("p0", "p1", "p2")[: draw(st.integers(1, 3))]}
    for node in map(str, host.nodes):
        rests = [pool for pool in pools.values() if pool["nodes"].get(node) == "rest"]
        for pool in rests[1:]:
            pool["nodes"][node] = "1GiB"
    kernel: Any = draw(st.sampled_from(["0", "1GiB", "1%", "7%", "33MiB", "1234567B"]))
    avoid = [{"start": f"{draw(st.integers(4096, 30000))}MiB", "size": f"{draw(st.integers(1, 500))}MiB"}]
    return host, make_plan(kernel, pools, avoid=avoid if draw(st.booleans()) else [])


@given(cases())
@settings(max_examples=200)
def test_every_layout_keeps_what_is_promised(case: tuple[Host, Plan]) -> None:
    host, plan = case
    try:
        layout = make_layout(plan, host)
    except NotPossible as error:
        event("refused: " + error.problems[0].code)
        assert all(p.message for p in error.problems)
        return
    event("planned")
    check_layout(host, plan, layout)
    assert make_layout(plan, host).to_json() == layout.to_json(), "the same again, byte for byte"
    after = carved(host, layout)
    assert make_layout(plan, after) == layout, "a carved host plans to what it has"
    assert make_layout(plan, after, layout) == layout
    assert make_layout(plan, after, layout, replan=True) == layout, "and planning anew moves nothing"


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_what_is_written_does_not_matter(case: tuple[Host, Plan], chance: random.Random) -> None:
    host, plan = case
    pools = list(json.loads(json.dumps(plan.source["pools"])).items())
    chance.shuffle(pools)
    for _, pool in pools:
        amounts = list(pool["nodes"].items())
        chance.shuffle(amounts)
        pool["nodes"] = dict(amounts)
    other = validated_plan({**plan.source, "pools": dict(pools)})
    try:
        layout = make_layout(plan, host)
    except NotPossible:
        with pytest.raises(NotPossible):
            make_layout(other, host)
        return
    # A plan's keys have no order, so neither has its layout's ID.
    assert make_layout(other, host).id == layout.id


# ------------------------------------------------------------------------------------- by hand

LAB = partial(
    make_host,
    [(0, 0x9FC00, 1), (MIB, 3 * GIB, 1), (4 * GIB, 10 * GIB, 1)],
    [(0, 0, 6 * GIB), (1, 6 * GIB, 10 * GIB)],
)


def test_the_guard_stands_first_exactly_where_it_is_needed() -> None:
    large = {"a": {"mechanism": "dax", "nodes": {"0": "5GiB"}}}
    host = make_host([(0, 3 * GIB, 1), (4 * GIB, 32 * GIB, 1)], [(0, 0, 32 * GIB)])
    layout = make_layout(make_plan("1GiB", large), host)
    assert layout.arguments == (GUARD, "memmap=5G%4G-1+0xefffffff", "dax_hmem.region_idle=1")
    # SIZE <= START: not needed
    large["a"]["nodes"] = {"0": "4GiB"}
    assert make_layout(make_plan("1GiB", large), host).arguments[0] == "memmap=4G%4G-1+0xefffffff"
    # a smaller item lowers the limit already
    large["a"]["nodes"] = {"0": "5GiB"}
    large["b"] = {"mechanism": "reserved", "nodes": {"0": "1GiB"}}
    assert GUARD not in make_layout(make_plan("1GiB", large), host).arguments
    # so do foreign arguments, and without KASLR nothing is needed
    del large["b"]
    for foreign in ("mem=30G memmap=1G%31G-1+2", "nokaslr"):
        other = dataclasses.replace(host, cmdline=foreign)
        assert GUARD not in make_layout(make_plan("1GiB", large), other).arguments


def test_four_foreign_regions_hide_ours_from_early_boot() -> None:
    pools = {"a": {"mechanism": "dax", "nodes": {"0": "5GiB"}}}
    lines = [f"memmap=1M${n}G" for n in (26, 27, 28, 29)]
    host = make_host(
        [(0, 3 * GIB, 1), (4 * GIB, 32 * GIB, 1)], [(0, 0, 32 * GIB)], cmdline=" ".join(["quiet", *lines])
    )
    with pytest.raises(NotPossible, match=r"policy\.kaslr: .*allow-disable") as caught:
        make_layout(make_plan("1GiB", pools), host)
    assert [p.code for p in caught.value.problems] == ["kaslr-collision"]
    layout = make_layout(make_plan("1GiB", pools, policy={"kaslr": "allow-disable"}), host)
    assert layout.arguments == ("memmap=5G%4G-1+0xefffffff", "dax_hmem.region_idle=1", "nokaslr")
    assert [w.code for w in layout.warnings] == ["kaslr-physical"]
    three = dataclasses.replace(host, cmdline=" ".join(lines[:3]))
    assert make_layout(make_plan("1GiB", pools), three).arguments[0] == GUARD
    # allow-disable does not disable what need not be
    assert GUARD in make_layout(make_plan("1GiB", pools, policy={"kaslr": "allow-disable"}), three).arguments


def test_the_labs_layout() -> None:
    plan = make_plan(
        {"0": "2GiB", "1": "1GiB"},
        {
            "guests": {
                "mechanism": "dax",
                "nodes": {"0": "2GiB", "1": "rest"},
                "align": {"0": "1GiB", "1": "2MiB"},
            },
            "scratch": {"mechanism": "reserved", "nodes": {"1": "256MiB"}},
        },
    )
    layout = make_layout(plan, LAB())
    assert layout.kernel_arguments == (
        f"carveout.layout={layout.id}",
        "memmap=2G%4G-1+0xefffffff",
        "memmap=256M%6G-1+2",
        "memmap=2816M%6400M-1+0xefffffff",
        "dax_hmem.region_idle=1",
    )
    assert layout.memory.kernel_after == LAB().usable.size - 5 * GIB
    assert layout.memory_nodes[1].struct_pages_before - layout.memory_nodes[1].struct_pages_after == 48 * MIB


def test_shared_sections_are_told() -> None:
    plan = make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"1": "64MiB"}}})
    (warning,) = [w for w in make_layout(plan, LAB()).warnings if w.code == "sections-shared"]
    assert "64 MiB of the reservations" in warning.message
    plan = make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"1": "256MiB"}}})
    assert make_layout(plan, LAB()).warnings == ()


def test_a_small_reservation_costs_the_kernels_random_place() -> None:
    """Facts: % items only lower the limit, and below 128 MiB nothing is left to choose."""
    plan = make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"1": "64MiB"}}})
    assert "kaslr-physical" in [w.code for w in make_layout(plan, LAB()).warnings]


def test_nodes_without_memory_above_4_gib() -> None:
    host = make_host([(0, 3 * GIB, 1), (4 * GIB, 8 * GIB, 1)], [(0, 0, 4 * GIB), (1, 4 * GIB, 8 * GIB)])
    plan = make_plan("0", {"a": {"mechanism": "dax", "nodes": {"0": "rest"}}})
    with pytest.raises(NotPossible, match=r"pools\.a\.nodes\.0: nothing is left") as caught:
        make_layout(plan, host)
    assert len(caught.value.problems) == 1
    plan = make_plan("0", {"a": {"mechanism": "dax", "nodes": {"1": "rest"}}})
    layout = make_layout(plan, host)
    assert layout.memory_nodes[1].kernel_after == 0
    # The carved node is still known: nodes come from the firmware's table.
    assert make_layout(plan, carved(host, layout)) == layout


def test_one_range_of_a_node_inside_of_anothers() -> None:
    """Node 1 lies in the middle of node 0's addresses."""
    host = make_host(
        [(0, 3 * GIB, 1), (4 * GIB, 16 * GIB, 1)],
        [(0, 0, 8 * GIB), (1, 8 * GIB, 12 * GIB), (0, 12 * GIB, 16 * GIB)],
    )
    plan = make_plan(
        "1GiB", {"a": {"mechanism": "dax", "nodes": {"0": "rest", "1": "rest"}, "align": "1GiB"}}
    )
    layout = make_layout(plan, host)
    assert [(r.node, r.start // GIB, r.end // GIB) for r in layout.reservations] == [
        (0, 4, 8),
        (1, 8, 11),
        (0, 12, 16),
    ]
    check_layout(host, plan, layout)


def test_large_hosts_are_planned_quickly() -> None:
    firmware = [(0, 0xA0000, 1), (MIB, 2 * GIB, 1)]
    nodes = [(0, 0, LOW)]
    position = LOW
    for node in range(8):
        start = position
        for piece in range(12):
            size = (4 + piece % 3) * GIB + piece * 37 % 64 * MIB
            firmware += [(position, position + size, 1), (position + size, position + size + 2 * MIB, 2)]
            position += size + 3 * MIB
        nodes.append((node, start, position))
    host = make_host(firmware, nodes)
    each = [str(node) for node in range(8)]
    plan = make_plan(
        "4GiB",
        {
            "a": {"mechanism": "dax", "nodes": dict.fromkeys(each, "9GiB"), "align": "1GiB"},
            "b": {"mechanism": "reserved", "nodes": dict.fromkeys(each, "3GiB")},
        },
    )
    started = time.perf_counter()
    layout = make_layout(plan, host)
    assert time.perf_counter() - started < 2
    check_layout(host, plan, layout)
    everything = make_plan("4GiB", {"a": {"mechanism": "dax", "nodes": dict.fromkeys(each, "rest")}})
    with pytest.raises(NotPossible, match="command line would be"):
        make_layout(everything, host)


def test_ranges_stay_whole_at_the_end_of_the_map() -> None:
    assert Range(4 * GIB, 8 * GIB) in [
        r.range
        for r in make_layout(
            make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"0": "rest"}, "align": "1GiB"}}),
            make_host([(0, 3 * GIB, 1), (4 * GIB, 8 * GIB + 5 * MIB, 1)], [(0, 0, 9 * GIB)]),
        ).reservations
    ]
