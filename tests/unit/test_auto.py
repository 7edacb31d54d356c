# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``mechanism: auto``: what is chosen on which host, that it says why, and that it keeps to its choice."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.auto import NOTE, mechanisms_of
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import AUTO
from ansible_collections.carveout.memory.plugins.module_utils._planner.ways import (
    CHOICES,
    STAND_IN,
    WAYS,
    struct_pages_in_use,
)
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text

HOST = make_host(
    [(0, 3 * GIB, 1), (4 * GIB, 36 * GIB, 1)],
    [(0, 0, 3 * GIB), (0, 4 * GIB, 20 * GIB), (1, 20 * GIB, 36 * GIB)],
)
#: Linux 5.18 keeps all struct pages of DAX devices and gives back those of huge pages.
OLD = dataclasses.replace(HOST, kernel_default="5.18.0", kernel_running="5.18.0")
NO_DAX = dataclasses.replace(HOST, kernel_config={"CONFIG_DEV_DAX": "n", "CONFIG_HUGETLBFS": "y"})
DEVICE = {"name": "vm-a", "size": "2GiB"}


def pool(**more: Any) -> dict[str, Any]:
    return {"mechanism": "auto", "nodes": {"1": "4GiB"}, **more}


def layout_of(
    pools: dict[str, Any], host: Host = HOST, previous: Layout | None = None, **more: Any
) -> Layout:
    return make_layout(make_plan("2GiB", pools), host, previous, **more)


def note_of(layout: Layout, code: str = NOTE) -> str:
    (note,) = [w.message for w in layout.warnings if w.code == code]
    return note


@pytest.mark.parametrize(
    ("host", "more", "chosen", "reason"),
    [
        # The same saved, or nearly: the order of preference.
        (HOST, {}, "dax", "hugetlb: "),
        (HOST, {"align": "1GiB", "optimize_vmemmap": True}, "dax", "hugetlb: "),
        # An eighth of the struct pages more.
        (HOST, {"optimize_vmemmap": True}, "hugetlb", "dax: "),
        (OLD, {"page_size": "1GiB", "optimize_vmemmap": True}, "hugetlb", "dax: "),
        # What tenants want.
        (HOST, {"devices": [DEVICE], "optimize_vmemmap": True}, "dax", "a 'hugetlb' pool has no devices"),
        (HOST, {"mounts": [{"path": "/mnt/a"}]}, "hugetlb", "a 'dax' pool has no mounts"),
        (HOST, {"nodes": {"1": "rest"}, "optimize_vmemmap": True}, "dax", "there is no 'rest'"),
        (HOST, {"align": "4KiB", "optimize_vmemmap": True}, "dax", "not a size of huge pages"),
        (HOST, {"nodes": {"0": "1GiB", "1": "1GiB"}, "align": {"0": "1GiB"}}, "dax", "has no align"),
        # What the host can do.
        (NO_DAX, {}, "hugetlb", "built without CONFIG_DEV_DAX"),
        (dataclasses.replace(HOST, kernel_default="5.4.0"), {"nodes": {"0": "1GiB", "1": "1GiB"}},
         "hugetlb", "makes no DAX device"),
        (dataclasses.replace(HOST, cmdline="hugepages=4"), {"optimize_vmemmap": True}, "dax", "hugepages=4"),
    ],
)  # fmt: skip
def test_what_is_chosen_and_why(host: Host, more: dict[str, Any], chosen: str, reason: str) -> None:
    layout = layout_of({"a": pool(**more)}, host)
    assert mechanisms_of(layout) == {"a": chosen}
    note = note_of(layout)
    assert note.startswith(f"auto: pool a is {chosen}: ")
    assert reason in note.partition("Passed over: ")[2]
    assert "reserved: nothing that a tenant could map" in note
    assert layout.plan["pools"]["a"]["mechanism"] == AUTO, "the layout answers the plan as it was written"
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_the_choice_leaves_the_least() -> None:
    """The figures of the note are those of the two layouts, planned by hand."""
    fixed = {"nodes": {"1": "4GiB"}}
    dax = layout_of({"a": {"mechanism": "dax", **fixed}})
    huge = layout_of({"a": {"mechanism": "hugetlb", "optimize_vmemmap": True, **fixed}})
    # 35 GiB of the kernel's RAM have 560 MiB; 4 GiB in use by 2 MiB pages: 16 MiB (2 of 8 pages), 8 MiB (1 of 8).
    assert struct_pages_in_use(HOST, dax) == (31 * 16 + 16) << 20
    assert struct_pages_in_use(HOST, huge) == (31 * 16 + 8) << 20
    note = note_of(layout_of({"a": pool(optimize_vmemmap=True)}))
    assert "504 MiB of struct pages stay" in note
    assert "dax: 512 MiB would stay" in note


def test_it_is_the_layout_of_the_mechanism_chosen() -> None:
    chosen = layout_of({"a": pool(), "b": {"mechanism": "reserved", "nodes": {"0": "1GiB"}}})
    named = layout_of(
        {
            "a": {"mechanism": "dax", "nodes": {"1": "4GiB"}},
            "b": {"mechanism": "reserved", "nodes": {"0": "1GiB"}},
        }
    )
    assert (chosen.reservations, chosen.arguments, chosen.memory) == (
        named.reservations, named.arguments, named.memory,
    )  # fmt: skip


def test_pools_choose_beside_each_other() -> None:
    """The second does not get what the first takes; the same whatever the plan's order."""
    pools = {
        "a": pool(nodes={"1": "4GiB"}, optimize_vmemmap=True),
        "b": pool(nodes={"1": "rest"}),
        "c": pool(nodes={"0": "1GiB"}, devices=[{**DEVICE, "size": "rest"}]),
    }
    layout = layout_of(pools)
    assert mechanisms_of(layout) == {"a": "hugetlb", "b": "dax", "c": "dax"}
    assert layout_of(dict(reversed(pools.items()))).to_json() == layout.to_json()
    assert sum(r.range.size for r in layout.reservations if r.pool == "b") == 10 * GIB


def test_a_committed_choice_is_kept() -> None:
    first = layout_of({"a": pool()}, NO_DAX)
    assert mechanisms_of(first) == {"a": "hugetlb"}
    assert layout_of({"a": pool()}, HOST, first) is first, (
        "now dax would be possible: nothing moves by itself"
    )
    grown = layout_of({"a": pool(nodes={"1": "5GiB"})}, HOST, first)
    assert mechanisms_of(grown) == {"a": "hugetlb"}, "nor does it where the plan changes otherwise"
    assert note_of(grown).startswith("auto: pool a stays hugetlb (replan chooses anew): ")
    assert layout_of({"a": pool(nodes={"1": "5GiB"})}, HOST, grown) is grown
    assert mechanisms_of(layout_of({"a": pool()}, HOST, first, replan=True)) == {"a": "dax"}


def test_a_choice_that_is_no_longer_possible() -> None:
    first = layout_of({"a": pool()})
    changed = layout_of({"a": pool()}, NO_DAX, first)
    assert mechanisms_of(changed) == {"a": "hugetlb"}
    note = note_of(changed, "mechanism-changed")
    assert note.startswith("auto: pool a is hugetlb now and dax no longer: ")
    assert "built without CONFIG_DEV_DAX" in note


def test_a_pool_that_was_given_a_mechanism_keeps_it() -> None:
    named = layout_of({"a": {"mechanism": "hugetlb", "nodes": {"1": "4GiB"}}})
    assert mechanisms_of(layout_of({"a": pool()}, HOST, named)) == {"a": "hugetlb"}


@pytest.mark.parametrize(
    ("host", "more", "path", "code", "words"),
    [
        (NO_DAX, {"nodes": {"1": "rest"}}, "pools.a.mechanism", "no-mechanism",
         ["dax: pools.a.mechanism: the kernel 6.12.107 is built without CONFIG_DEV_DAX", "hugetlb: pools.a.nodes.1: "]),
        (HOST, {"nodes": {"7": "1GiB"}}, "pools.a.nodes.7", "node-unknown", ["it has: 0, 1"]),
        (dataclasses.replace(HOST, architecture="aarch64"), {}, "", "architecture", ["x86_64 only"]),
    ],
)  # fmt: skip
def test_a_host_that_can_do_none(
    host: Host, more: dict[str, Any], path: str, code: str, words: list[str]
) -> None:
    """What is wrong with all of them is said once."""
    with pytest.raises(NotPossible) as caught:
        layout_of({"a": pool(**more)}, host)
    (problem,) = caught.value.problems
    assert (problem.path, problem.code) == (path, code)
    assert all(word in problem.message for word in words)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"align": "2MiB", "page_size": "2MiB"}, "pools.a.page_size"),
        ({"devices": [DEVICE], "mounts": [{"path": "/mnt/a"}]}, "pools.a.mounts"),
        ({"existing": True, "nodes": {"1": "rest"}}, "pools.a.existing"),
        ({"align": "3MiB"}, "pools.a.align"),
        ({"devices": [{**DEVICE, "name": "a b"}]}, "pools.a.devices[0].name"),
    ],
)
def test_what_no_mechanism_understands(more: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_plan("2GiB", {"a": pool(**more)})
    assert path in [p.path for p in caught.value.problems]


def test_two_pools_with_one_device_name() -> None:
    with pytest.raises(CarveoutError, match="names are unique"):
        make_plan("2GiB", {"a": pool(devices=[DEVICE]), "b": pool(devices=[DEVICE])})


def test_people_read_it_as_a_note() -> None:
    text = layout_text(HOST, layout_of({"a": pool()}))
    assert "\n  auto: pool a is dax: " in text
    assert "warning" not in text
    assert max(map(len, text.splitlines())) < 80


def test_the_list_of_ways() -> None:
    assert STAND_IN not in CHOICES and STAND_IN in WAYS
    assert len({way.label for way in WAYS}) == len(WAYS)
    for way in WAYS:
        assert way.lost
        assert not way.options or way.mechanism in {w.mechanism for w in CHOICES}


def test_devices_where_device_dax_is_not_possible() -> None:
    """Namespaces do, if they take all of the pool."""
    devices = [{**DEVICE, "name": "vm-b"}, {**DEVICE, "size": "rest"}]
    layout = layout_of({"a": pool(devices=devices)}, NO_DAX)
    assert mechanisms_of(layout) == {"a": "pmem"}
    assert mechanisms_of(layout_of({"a": pool(devices=devices)})) == {"a": "dax"}
    with pytest.raises(NotPossible, match="is in no namespace"):
        layout_of({"a": pool(devices=[DEVICE])}, NO_DAX)


#: A kernel that carries dmemfs, and no soft-reserved memory yet (5.4).
DMEMFS = dataclasses.replace(
    HOST,
    kernel_default="5.4.119",
    kernel_running="5.4.119",
    kernel_config={"CONFIG_DMEM": "y", "CONFIG_DMEM_FS": "m", "CONFIG_HUGETLBFS": "y"},
)
EVEN = {"nodes": {"0": "4GiB", "1": "4GiB"}}


@pytest.mark.parametrize("files", [{"mount": "/mnt/a"}, {"mounts": [{"path": "/mnt/a", "mode": "0700"}]}])
def test_a_kernel_with_dmemfs(files: dict[str, Any]) -> None:
    """One word for file systems is as good as the other; what the kernel needs off needs the plan's word."""
    never = {"policy": {"transparent_huge_pages": "never"}}
    layout = make_layout(make_plan("2GiB", {"a": pool(**EVEN, **files)}, **never), DMEMFS)
    assert mechanisms_of(layout) == {"a": "dmemfs"}
    assert [(m.path, m.mode) for m in layout.mounts] == [("/mnt/a", "0700" if "mounts" in files else "0755")]
    assert "hugetlb: 560 MiB would stay" in note_of(layout)
    again = make_layout(make_plan("2GiB", {"a": pool(**EVEN, **files)}, **never), DMEMFS, layout)
    assert again is layout
    without = layout_of({"a": pool(**EVEN, **files)}, DMEMFS)
    assert mechanisms_of(without) == {"a": "hugetlb"}
    assert "policy.transparent_huge_pages: " in note_of(without)


def test_two_sizes_of_mounts_are_not_for_dmemfs() -> None:
    mounts = [{"path": "/mnt/a", "size": "1GiB"}, {"path": "/mnt/b", "size": "1GiB"}]
    assert "a 'dmemfs' pool has no mounts" in note_of(layout_of({"a": pool(mounts=mounts)}))
