# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pools of persistent memory: a namespace in each reservation, and what it loses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.kaslr import GUARD
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.compare import compare
from ansible_collections.carveout.memory.plugins.module_utils._planner.ways import struct_pages_in_use
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB

LOW = 4 * GIB
HOST = make_host(
    [(0, 3 * GIB, 1), (3 * GIB, LOW, 2), (LOW, 32 * GIB, 1)], [(0, 0, 16 * GIB), (1, 16 * GIB, 32 * GIB)]
)


def pool(*sizes: str, nodes: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    devices = [{"name": f"n{number}", "size": size} for number, size in enumerate(sizes)]
    return {"mechanism": "pmem", "nodes": nodes or {"1": "6GiB"}, "devices": devices, **more}


def layout_of(pools: dict[str, Any], previous: Layout | None = None, on: Host = HOST) -> Layout:
    return make_layout(make_plan("2GiB", pools), on, previous)


def test_each_namespace_has_a_reservation_of_its_own() -> None:
    layout = layout_of({"p": pool("2GiB", "rest")})
    assert layout.arguments == ("memmap=2G!16G", "memmap=4G!18G")
    assert [(r.start, r.end, r.mechanism) for r in layout.reservations] == [
        (16 * GIB, 18 * GIB, "pmem"), (18 * GIB, 22 * GIB, "pmem")
    ]  # fmt: skip
    assert [(d.name, d.extents, d.namespace, d.map) for d in layout.devices] == [
        ("n0", (Range(16 * GIB + 2 * MIB, 18 * GIB),), "devdax", "mem"),
        ("n1", (Range(18 * GIB + 2 * MIB, 22 * GIB),), "devdax", "mem"),
    ]
    assert [w.code for w in layout.warnings] == ["namespace-loss", "namespace-volatile"]
    assert "6140MiB of the 6GiB" in layout.warnings[0].message
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    # two vmemmap pages of 4 KiB stay of each 2 MiB that are mapped, info blocks included
    assert layout.memory.saved == 6 * GIB // 64 - 6 * GIB // (2 * MIB) * 8 * KIB


@pytest.mark.parametrize(
    ("more", "offered", "kept"),
    [
        ({"align": "1GiB"}, 5 * GIB, 6 * 8 * KIB),
        ({"align": "4KiB"}, 6 * GIB - 2 * MIB, 6 * GIB // 64),
        ({"map": "dev"}, 6 * GIB - 98 * MIB, 0),
        ({"mode": "fsdax"}, 6 * GIB, 6 * GIB // 64),
        ({"mode": "fsdax", "map": "dev"}, 6 * GIB - 98 * MIB, 0),
    ],
    ids=["1GiB", "4KiB", "dev", "fsdax", "fsdax-dev"],
)
def test_what_is_lost_and_what_is_given_back(more: dict[str, str], offered: int, kept: int) -> None:
    layout = layout_of({"p": pool("rest", **more)})
    assert layout.devices[0].size == offered
    assert layout.memory.saved == 6 * GIB // 64 - kept


def test_many_namespaces_and_kaslr() -> None:
    few = layout_of({"p": pool("1GiB", "1GiB", "1GiB", "rest")})
    assert GUARD not in few.arguments
    more = layout_of({"p": pool("1GiB", "1GiB", "1GiB", "1GiB", "rest")})
    # KASLR avoids the first four only
    assert more.arguments[0] == GUARD and len(more.arguments) == 6


def test_a_committed_layout_stays_and_namespaces_do_not_move() -> None:
    first = layout_of({"p": pool("2GiB", "1GiB", "3GiB")})
    assert layout_of({"p": pool("2GiB", "1GiB", "3GiB")}, first) is first
    changed = pool("2GiB", "1GiB", "3GiB")
    changed["devices"][0]["owner"] = "daemon"
    second = layout_of({"p": changed}, first)
    assert second.arguments == first.arguments and second.devices[0].owner == "daemon"
    # the middle one goes, so that what it had is left over
    gone = pool("2GiB", "3GiB", nodes={"1": "5GiB"})
    gone["devices"][1]["name"] = "n2"
    third = layout_of({"p": gone}, first)
    assert {d.name: d.extents for d in third.devices}["n0"] == first.devices[0].extents
    # without the middle one both others fit in one piece again
    joined = layout_of({"p": {**pool("6GiB")}}, first)
    assert [r.range for r in joined.reservations] == [Range(16 * GIB, 22 * GIB)]
    assert layout_of({"p": pool("rest", mode="fsdax")}, joined).devices[0].namespace == "fsdax"


@pytest.mark.parametrize(
    ("wrong", "path", "words"),
    [
        ({"devices": []}, "pools.p.devices", "size: rest"),
        ({"nodes": {"0": "1GiB", "1": "1GiB"}, "devices": [{"name": "a", "size": "rest", "node": 0}]},
         "pools.p.devices", "on node 1"),
        ({"use": "devdax"}, "pools.p.use", "has no use"),
        ({"devices": [{"name": "a", "extents": [{"offset": 0, "size": "2MiB"}]}]},
         "pools.p.devices[0].extents", "give it a size"),
        ({"devices": [{"name": "a", "size": "rest", "online": "no"}]}, "pools.p.devices[0].online", "no online"),
        ({"page_size": "2MiB"}, "pools.p.page_size", "has no page_size"),
        ({"mechanism": "dax", "mode": "fsdax"}, "pools.p.mode", "'dax' pool has no mode"),
        ({"mechanism": "reserved", "map": "dev", "devices": []}, "pools.p.map", "'reserved' pool has no map"),
    ],
)  # fmt: skip
def test_refused_by_the_plan_alone(wrong: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        make_plan("2GiB", {"p": {**pool("rest"), **wrong}})
    assert path in [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("wanted", "path", "words"),
    [
        (pool("2GiB", "1GiB"), "pools.p.devices", "3GiB of the pool on node 1 is in no namespace"),
        (pool("rest", nodes={"1": "1GiB"}, align="1GiB"), "pools.p.devices[0].size", "nothing is left"),
        (pool("7GiB"), "pools.p.devices", "1GiB more than"),
    ],
    ids=["left-over", "too-small", "too-large"],
)
def test_refused_on_this_host(wanted: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(NotPossible, match=words) as caught:
        layout_of({"p": wanted})
    assert path in [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("option", "mode", "path"),
    [
        ("CONFIG_X86_PMEM_LEGACY", "fsdax", "pools.p.mechanism"),
        ("CONFIG_NVDIMM_DAX", "devdax", "pools.p.mode"),
        ("CONFIG_DEV_DAX_PMEM", "devdax", "pools.p.mode"),
    ],
)
def test_a_kernel_without_the_drivers(option: str, mode: str, path: str) -> None:
    on = make_host(HOST.firmware_map, HOST.node_ranges, kernel_config={option: "n"})
    with pytest.raises(NotPossible, match=option) as caught:
        layout_of({"p": pool("rest", mode=mode)}, on=on)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_a_layout_whose_devices_are_of_another_mechanism_is_refused() -> None:
    data = json.loads(json.dumps(layout_of({"p": pool("rest")}).to_json()))
    del data["devices"][0]["namespace"]
    with pytest.raises(InvalidInput, match="no device of its pool's mechanism"):
        Layout.from_json(data)


def test_beside_a_pool_that_chooses_its_mechanism() -> None:
    pools = {"p": pool("rest", mode="fsdax"), "vms": {"mechanism": "auto", "nodes": {"0": "4GiB"}}}
    layout = layout_of(pools)
    assert {r.pool: r.mechanism for r in layout.reservations} == {"p": "pmem", "vms": "dax"}
    assert struct_pages_in_use(HOST, layout) - struct_pages_in_use(HOST, layout, without="p") == 0
    tables = compare(make_plan("2GiB", pools), HOST, GIB).tables
    assert [(table.pool, table.way) for table in tables] == [("p", "pmem"), ("vms", "dax")]
