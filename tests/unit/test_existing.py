# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pools of DAX regions that a host has already: nothing is carved out for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB

LOW = 4 * GIB
SOFT = 0xEFFFFFFF
NODES = [(0, 0, 16 * GIB), (1, 16 * GIB, 32 * GIB), (2, 32 * GIB, 40 * GIB)]
#: Node 2 is nothing but memory that the firmware soft-reserves, in two ranges.
FIRMWARE = [
    (0, 3 * GIB, 1), (3 * GIB, LOW, 2), (LOW, 32 * GIB, 1), (32 * GIB, 36 * GIB, SOFT), (36 * GIB, 40 * GIB, SOFT)
]  # fmt: skip
FOREIGN = "memmap=2G%8G-1+0xefffffff"


def host(**more: Any) -> Host:
    return make_host(FIRMWARE, NODES, **more)


def existing(**more: Any) -> dict[str, Any]:
    return {"mechanism": "dax", "existing": True, "nodes": {"2": "rest"}, **more}


def layout_of(pools: dict[str, Any], on: Host | None = None, **policy: bool) -> Layout:
    return make_layout(make_plan("2GiB", pools, policy=policy), on or host())


def test_what_the_firmware_soft_reserves_is_used_without_any_argument() -> None:
    devices = [{"name": "a", "size": "1GiB"}, {"name": "b", "size": "rest"}, {"name": "c", "size": "4GiB"}]
    layout = layout_of({"hbm": existing(align="1GiB", devices=devices)})
    assert layout.arguments == layout.kernel_arguments == ()
    assert [(r.range, r.node, r.existing) for r in layout.reservations] == [
        (Range(32 * GIB, 36 * GIB), 2, True), (Range(36 * GIB, 40 * GIB), 2, True)
    ]  # fmt: skip
    assert {d.name: d.extents for d in layout.devices} == {
        "a": (Range(32 * GIB, 33 * GIB),), "b": (Range(33 * GIB, 36 * GIB),), "c": (Range(36 * GIB, 40 * GIB),)
    }  # fmt: skip
    assert layout.memory.kernel_after == layout.memory.kernel_before
    # a plain map of the devices' 1 GiB pages is all that is added
    assert layout.memory.saved == -8 * 2 * 4096 == layout.memory_nodes[2].saved
    assert [w.code for w in layout.warnings] == ["existing-kernel-memory"]
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_the_operators_word_keeps_the_kernel_out_by_one_argument() -> None:
    layout = layout_of({"hbm": existing()}, idle_foreign_dax=True)
    assert layout.arguments == ("dax_hmem.region_idle=1",)
    assert layout.warnings == ()


@pytest.mark.parametrize("release", ["5.10.0-32", "6.1.0-50"])
def test_older_kernels_leave_regions_alone(release: str) -> None:
    assert layout_of({"hbm": existing()}, host(kernel_default=release)).warnings == ()


def test_beside_a_pool_that_is_carved_out() -> None:
    pools = {"hbm": existing(), "vms": {"mechanism": "dax", "nodes": {"1": "8GiB"}}}
    layout = layout_of(pools)
    # all that others soft-reserve is the plan's, so nobody has to allow its being idle
    assert layout.arguments == ("memmap=8G%16G-1+0xefffffff", "dax_hmem.region_idle=1")
    assert [(r.pool, r.existing) for r in layout.reservations] == [
        ("vms", False), ("hbm", True), ("hbm", True)
    ]  # fmt: skip
    with pytest.raises(NotPossible, match="idle_foreign_dax"):
        layout_of({"vms": pools["vms"]})


def test_what_arguments_of_others_soft_reserve() -> None:
    on = host(cmdline=f"quiet {FOREIGN}")
    layout = layout_of({"theirs": existing(nodes={"0": "rest"})}, on)
    assert [r.range for r in layout.reservations] == [Range(8 * GIB, 10 * GIB)]
    assert layout.arguments == ()
    assert [w.code for w in layout.warnings] == ["existing-kernel-memory"]
    # KASLR takes the item's size for a limit: 12 GiB are above the start
    on = host(cmdline="quiet memmap=7G%4G-1+0xefffffff")
    layout = layout_of({"theirs": existing(nodes={"0": "rest"})}, on)
    assert [w.code for w in layout.warnings] == ["existing-kernel-memory", "existing-kaslr"]


def test_regions_of_cxl_memory_are_taken_from_the_snapshot() -> None:
    region = {
        "path": "/sys/devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax_region",
        "start": 64 * GIB, "end": 80 * GIB, "align": 2 * MIB, "available": 0, "target_node": 3, "devices": [],
    }  # fmt: skip
    pmem = {
        **region,
        "path": "/sys/devices/platform/e820_pmem/ndbus0/region0/dax0.0/dax_region",
        "start": GIB,
    }
    state = {"dax": {"regions": [region, pmem]}}
    layout = layout_of({"cxl": existing(nodes={"3": "rest"})}, host(state=state))
    assert [(r.start, r.end, r.node) for r in layout.reservations] == [(64 * GIB, 80 * GIB, 3)]
    assert layout.kernel_arguments == ()


def test_the_committed_layout_stays_while_the_regions_do() -> None:
    plan = make_plan("2GiB", {"hbm": existing(devices=[{"name": "a", "size": "rest"}])})
    first = make_layout(plan, host())
    assert make_layout(plan, host(), first) is first
    smaller = make_host([*FIRMWARE[:3], (32 * GIB, 34 * GIB, SOFT), (36 * GIB, 40 * GIB, SOFT)], NODES)
    second = make_layout(plan, smaller, first)
    assert [r.range for r in second.reservations] == [
        Range(32 * GIB, 34 * GIB), Range(36 * GIB, 40 * GIB)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pool", "path", "words"),
    [
        ({"nodes": {"2": "1GiB"}}, "pools.p.nodes.2", "write rest"),
        ({"mechanism": "reserved"}, "pools.p.existing", "carved out"),
        ({"mechanism": "hugetlb", "nodes": {"0": "1GiB"}}, "pools.p.existing", "has no existing"),
    ],
    ids=["size", "reserved", "hugetlb"],
)
def test_refused_by_the_plan_alone(pool: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        make_plan("2GiB", {"p": {**existing(), **pool}})
    assert path in [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("pools", "path", "words"),
    [
        ({"p": existing(nodes={"0": "rest"})}, "pools.p.nodes.0", "regions it has: .* on node 2"),
        ({"p": existing(), "q": existing()}, "pools.q.nodes.2", "pool 'p' uses"),
        ({"p": existing(devices=[{"name": "a", "size": "5GiB"}])}, "pools.p.devices.0..size", "5GiB"),
    ],
    ids=["none", "twice", "device"],
)
def test_refused_on_this_host(pools: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(NotPossible, match=f"{path}: .*{words}"):
        layout_of(pools)


def test_offsets_need_a_region_that_begins_on_a_page() -> None:
    odd = make_host([*FIRMWARE[:3], (32 * GIB + 2 * MIB, 36 * GIB, SOFT)], NODES)
    devices = [{"name": "a", "extents": [{"offset": 0, "size": "1GiB"}]}]
    pool = existing(align="1GiB", devices=devices)
    with pytest.raises(NotPossible, match=r"pools.p.devices\[0\].extents: offsets count"):
        layout_of({"p": pool}, odd)
    pool["devices"] = [{"name": "a", "size": "rest"}]
    assert layout_of({"p": pool}, odd).devices[0].extents == (Range(33 * GIB, 36 * GIB),)
