# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A carved host meets every expectation, and what is expected of which host."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from judging import device, judged, messages

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._expectations import (
    SUBJECTS,
    expectations,
    unmet,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

MIB, GIB = 1 << 20, 1 << 30
NODE_0, NODE_1 = "memmap=2G%4G-1+0xefffffff", "memmap=2816M%6400M-1+0xefffffff"
SCRATCH = "memmap=256M%6G-1+2"


def test_a_carved_host_meets_everything(layout: Layout, carved: dict[str, Any]) -> None:
    found = judged(layout, carved)
    assert [e.message for e in unmet(found)] == []
    assert {e.subject for e in found} == set(SUBJECTS) - {"huge pages", "dmemfs"}, "the plan has none"
    # nothing is judged twice under one name, and each says where the plan wants it
    assert len({e.name for e in found}) == len(found) > 50
    assert all(e.message.startswith(f"{e.path}: ") for e in found)
    roots = {e.path.partition(".")[0] for e in found}
    assert roots == {"pools", "kernel"}


def test_the_commit_is_expected_only_where_asked_for(layout: Layout, carved: dict[str, Any]) -> None:
    assert messages(layout, carved, committed=True) == [
        f"pools: no layout is committed, the plan's is {layout.id}"
    ]
    carved["committed"] = layout.id
    assert messages(layout, carved, committed=True) == []


def test_soft_reserved_memory_is_not_looked_for_where_the_kernel_hides_it(
    layout: Layout, carved: dict[str, Any]
) -> None:
    carved["state"]["iomem"] = [line for line in carved["state"]["iomem"] if line[2] != "Soft Reserved"]
    assert messages(layout, carved) == [
        "pools.guests.nodes.0: /proc/iomem shows [0x100000000, 0x180000000) as dax0.1, dax0.2, the plan says "
        "Soft Reserved",
        "pools.guests.nodes.1: /proc/iomem shows [0x190000000, 0x240000000) as dax1.1, dax1.2, the plan says "
        "Soft Reserved",
    ]
    carved["kernel"]["running"] = "7.2.13"
    assert messages(layout, carved) == []


def test_the_next_boot_counts_only_where_it_is_known(layout: Layout, carved: dict[str, Any]) -> None:
    carved["boot_arguments"] = None
    found = judged(layout, carved)
    assert unmet(found) == []
    assert "next boot" not in {e.subject for e in found}


LOADER = {"kind": "grub", "problem": "", "drop_in": "", "drop_in_text": "", "owned": []}


def test_on_trial_the_next_boot_is_none_of_the_layouts_until_it_is_committed(
    layout: Layout, carved: dict[str, Any]
) -> None:
    carved["boot_arguments"] = ["root=/dev/vda1", "ro", "quiet"]
    assert messages(layout, carved) != []
    carved["cmdline"] += " carveout.trial panic=30"
    assert messages(layout, carved) == []
    carved["committed"] = layout.id
    assert any("the entry that boots next names no layout" in message for message in messages(layout, carved))
    # a run was stopped that had made another layout's arguments permanent, and the next one tries the committed one
    carved["state"]["loader"] = {**LOADER, "trial": "1764000000000000000"}
    assert messages(layout, carved) == []


def test_memory_added_from_elsewhere_is_no_fault(layout: Layout, carved: dict[str, Any]) -> None:
    carved["state"]["meminfo"]["MemTotal"] += 8 * GIB
    assert len(messages(layout, carved)) == 1
    carved["state"]["iomem"].append([16 * GIB, 24 * GIB, "System RAM (kmem)", 1])
    assert messages(layout, carved) == []


def test_a_node_without_ram_of_the_kernel_is_not_there(layout: Layout, carved: dict[str, Any]) -> None:
    # the kernel's gibibyte on node 1 becomes firmware's
    data = layout.to_json()
    data["predicted_map"] = [[s, e, 2 if s >= 9 * GIB else k] for s, e, k in data["predicted_map"]]
    _identify(data)
    other = Layout.from_json(data)
    state = carved["state"]
    state["iomem"] = [line for line in state["iomem"] if line[0] < 9 * GIB]
    state["meminfo"]["MemTotal"] -= GIB - 20 * MIB
    unmet_names = [e.name for e in unmet(judged(other, carved)) if e.subject == "memory"]
    assert unmet_names == ["memory of node 1"]
    del state["nodes"]["1"]
    assert [e.name for e in unmet(judged(other, carved)) if e.subject == "memory"] == []


def _identify(data: dict[str, Any]) -> None:
    """Gives changed layout JSON the ID of its content."""
    with pytest.raises(InvalidInput) as error:
        Layout.from_json(data)
    data["id"] = str(error.value).split("has the ID ")[1][:16]
    if data["kernel_arguments"]:
        data["kernel_arguments"][0] = f"carveout.layout={data['id']}"


@pytest.mark.parametrize("section", ["iomem", "meminfo", "nodes", "dax", "links", "files"])
def test_a_snapshot_without_running_state_is_no_basis(
    layout: Layout, carved: dict[str, Any], section: str
) -> None:
    del carved["state"][section]
    with pytest.raises(InvalidInput, match=f"state.{section}: the snapshot does not say it"):
        judged(layout, carved)


def test_a_mechanism_of_another_version_is_refused(layout: Layout, carved: dict[str, Any]) -> None:
    data = layout.to_json()
    data["reservations"][0]["mechanism"] = "teleport"
    _identify(data)
    with pytest.raises(InvalidInput, match="'teleport' is unknown to this version"):
        judged(Layout.from_json(data), carved)


def test_a_layout_that_asks_for_nothing_expects_no_trace(layout: Layout, carved: dict[str, Any]) -> None:
    data = layout.to_json()
    data.update(reservations=[], devices=[], kernel_arguments=[], predicted_map=[[0x100000, 10 * GIB, 1]])
    _identify(data)
    found = messages(Layout.from_json(data), carved)
    assert f"pools: the booted command line names the layout {layout.id}, there should be none" in found
    assert "pools: below /dev/carveout stands vm-a, vm-b, vm-c, vm-d, which no plan asked for" in found


def test_another_layouts_line_will_do_where_its_arguments_are_the_same(
    layout: Layout, carved: dict[str, Any]
) -> None:
    other = dataclasses.replace(layout, kernel="6.12.118")
    carved["cmdline"] = carved["cmdline"].replace(layout.id, other.id)
    carved["layouts"][other.id] = other.to_json()
    (wrong,) = unmet(expectations(layout, host_from_json(carved)))
    assert wrong.message.startswith(f"pools: the booted command line names the layout {other.id}")
    carved["state"]["noted_layout"] = layout.id
    assert unmet(expectations(layout, host_from_json(carved))) == []
    assert unmet(expectations(other, host_from_json(carved)))[0].message == (
        f"pools: the running host has the devices of the layout {layout.id}, the plan's is {other.id}"
    )
    # a note for what this boot cannot have counts for nothing
    carved["cmdline"] += " quiet"
    carved["cmdline"] = carved["cmdline"].replace(" dax_hmem.region_idle=1", "")
    assert len(unmet(expectations(layout, host_from_json(carved)))) > 1


def given_back(layout: Layout, carved: dict[str, Any], online: str, zone: str) -> Layout:
    """The layout with vm-c, of two extents, as memory of the kernel; the snapshot of the host that has it so."""
    devices = tuple(
        dataclasses.replace(d, use="system-ram", online=online) if d.name == "vm-c" else d
        for d in layout.devices
    )
    changed = dataclasses.replace(layout, devices=devices)
    node = carved["state"]["links"].pop("vm-c").removeprefix("/dev/")
    vm_c = next(d for d in changed.devices if d.name == "vm-c")
    found = next(d for r in carved["state"]["dax"]["regions"] for d in r["devices"] if d["name"] == node)
    state = "online" if zone else "offline"
    found.update(driver="kmem", blocks=[[e.start, e.end, state, zone] for e in vm_c.extents])
    carved["state"]["block_size"] = 128 * MIB
    carved["state"]["iomem"] += [[e.start, e.end, "System RAM (kmem)", 2] for e in vm_c.extents]
    if zone:
        carved["state"]["meminfo"]["MemTotal"] += vm_c.size
        carved["state"]["nodes"]["1"]["MemTotal"] += vm_c.size
    carved["cmdline"] = carved["cmdline"].replace(layout.id, changed.id)
    carved["boot_arguments"] = [a.replace(layout.id, changed.id) for a in carved["boot_arguments"]]
    carved["layouts"] = {changed.id: changed.to_json()}
    return changed


@pytest.mark.parametrize(("online", "zone"), [("movable", "Movable"), ("kernel", "Normal"), ("no", "")])
def test_memory_that_the_plan_gives_back_is_expected_with_the_kernel(
    layout: Layout, carved: dict[str, Any], online: str, zone: str
) -> None:
    changed = given_back(layout, carved, online, zone)
    assert messages(changed, carved) == []
    # the same host is wrong for the plan that has tenants there
    assert any("System RAM (kmem)" in text for text in messages(layout, carved))


def test_memory_that_did_not_come_back_is_noticed(layout: Layout, carved: dict[str, Any]) -> None:
    changed = given_back(layout, carved, "movable", "Movable")
    found = device(
        carved,
        next(d["name"] for r in carved["state"]["dax"]["regions"] for d in r["devices"] if "blocks" in d),
    )
    whole = found["blocks"]
    found["blocks"] = whole[:1]
    told = "pools.guests.devices[2].online: of the memory of device vm-c the kernel has 256MiB online in zone Movable"
    assert messages(changed, carved) == [f"{told}, the plan says 512MiB online: movable"]
    found["blocks"] = [whole[0], [*whole[1][:3], "Normal"]]
    assert "256MiB online in zone Movable, 256MiB online in zone Normal" in messages(changed, carved)[0]
    found["blocks"] = whole
    carved["state"]["nodes"]["1"]["MemTotal"] -= 512 * MIB
    (text,) = messages(changed, carved)
    assert text.startswith("kernel.memory.1: on node 1 the kernel has")
    carved["state"]["links"]["vm-c"] = "/dev/dax1.1"
    assert len(messages(changed, carved)) == 2
