# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Namespaces are made, found again, made anew after a power cut, held to their layout, and taken away."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._dax.apply import converge, preview, remove
from ansible_collections.carveout.memory.plugins.module_utils._dax.report import (
    describe_layout,
    describe_state,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.state import read_state
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._expect.namespaces import namespaces
from ansible_collections.carveout.memory.plugins.module_utils._host.state import check_state
from ansible_collections.carveout.memory.plugins.module_utils._host_files import layout_path, layout_text
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

DEVICES = [
    {"name": "vm", "size": "2GiB", "owner": "daemon", "group": "kvm", "mode": "0660"},
    {"name": "db", "size": "rest"},
]


def run(host: Any, layout: Layout) -> list[str]:
    """What is told is what is done, and done once."""
    told = preview(host, layout).actions
    assert converge(host, layout, lambda seconds: None).actions == told
    assert preview(host, layout).actions == ()
    return list(told)


def unmet(host: Any, layout: Layout) -> list[str]:
    state = read_state(host)
    told = check_state({"namespaces": [n.to_json() for n in state.namespaces], "links": dict(state.links)})
    snapshot = make_host([(0, 1, 1)], [(0, 0, 1)], state=json.loads(json.dumps(told)))
    found = namespaces(layout, snapshot)
    assert len(found) > 1
    return [expectation.name for expectation in found if not expectation.met]


@pytest.mark.parametrize(("mode", "place"), [("devdax", "mem"), ("devdax", "dev"), ("fsdax", "dev")])
def test_made_found_lost_and_made_anew(booted: Any, mode: str, place: str) -> None:
    host, layout = booted(DEVICES, mode=mode, map=place)
    assert unmet(host, layout)[0] == ("namespace vm mode" if mode == "devdax" else "namespace vm map")
    told = run(host, layout)
    assert told[0] == (
        f"make the namespace vm of [0x400000000, 0x480000000) (2GiB): {mode}, align 2MiB, struct pages on {place}"
    )
    assert [
        "ndctl", "create-namespace", "--force", "--reconfig=namespace1.0", f"--mode={mode}", f"--map={place}",
        "--align=2M",
    ] in host.said  # fmt: skip
    nodes = ["dax0.0", "dax1.0"] if mode == "devdax" else ["pmem0", "pmem1"]
    assert read_state(host).links == {"vm": f"/dev/{nodes[0]}", "db": f"/dev/{nodes[1]}"}
    assert host.access[f"/dev/{nodes[0]}"] == (1, 104, 0o660)
    assert unmet(host, layout) == []
    assert describe_state([layout], read_state(host)) == describe_layout(layout)
    host.raw(1)
    assert ("namespace db mode" if mode == "devdax" else "namespace db map") in unmet(host, layout)
    assert [text.split(" of ")[0] for text in run(host, layout)] == ["make the namespace db"]
    assert unmet(host, layout) == []


def test_what_the_kernel_makes_by_itself_is_named_and_no_more(booted: Any) -> None:
    host, layout = booted(DEVICES, mode="fsdax")
    assert "namespace vm mode" not in unmet(host, layout)
    assert all("make the namespace" not in text for text in run(host, layout))
    assert not any(argv[0] == "ndctl" for argv in host.said)
    assert read_state(host).links == {"vm": "/dev/pmem0", "db": "/dev/pmem1"}
    assert unmet(host, layout) == []
    assert describe_state([layout], read_state(host)) == describe_layout(layout)
    # a block device with an info block goes back to that
    other = dataclasses.replace(
        layout.devices[1], map="dev", align=2 << 20, extents=(Range(0x482200000, 0x580000000),)
    )
    changed = dataclasses.replace(layout, devices=(layout.devices[0], other))
    host.run(
        ["ndctl", "create-namespace", "--reconfig=namespace1.0", "--mode=fsdax", "--map=dev", "--align=2M"]
    )
    assert unmet(host, changed)[0] != "namespace db map" and "namespace db map" in unmet(host, layout)
    assert run(host, layout)[0].startswith("make the namespace db")
    assert unmet(host, layout) == []


def test_another_owner_is_no_new_namespace(booted: Any) -> None:
    host, layout = booted(DEVICES, mode="fsdax")
    run(host, layout)
    host.said.clear()
    devices = tuple(dataclasses.replace(d, owner="daemon", mode="0640") for d in layout.devices)
    changed = dataclasses.replace(layout, devices=devices)
    host.put(layout_path(changed.id), layout_text(changed))
    run(host, changed)
    assert not any(argv[0] == "ndctl" for argv in host.said)
    assert host.access["/dev/pmem1"] == (1, 0, 0o640)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (("/proc/self/mountinfo", "36 1 259:0 / /srv/data rw - xfs /dev/pmem0 rw\n"), "the file system at /srv/data"),
        (("/sys/class/block/pmem0/holders/dm-3", ""), "/dev/dm-3"),
    ],
)  # fmt: skip
def test_what_is_in_use_is_not_taken(booted: Any, use: tuple[str, str], words: str) -> None:
    host, layout = booted(DEVICES, mode="fsdax")
    run(host, layout)
    host.put(*use)
    other = dataclasses.replace(
        layout, devices=tuple(dataclasses.replace(d, map="dev") for d in layout.devices)
    )
    host.said.clear()
    for attempt in (
        lambda: converge(host, other, lambda seconds: None),
        lambda: remove(host, [layout], False),
    ):
        with pytest.raises(NotPossible, match=f"pmem0.* is in use by .*{words}"):
            attempt()
    assert not any(argv[0] == "ndctl" for argv in host.said)


@pytest.mark.parametrize(("broken", "lying"), [("failed to do it", False), ("", True)])
def test_a_failure_is_told(booted: Any, broken: str, lying: bool) -> None:
    host, layout = booted(DEVICES)
    host.broken, host.lying = broken, lying
    with pytest.raises(NotPossible, match=broken or "reports success, but the kernel has fsdax") as caught:
        converge(host, layout, lambda seconds: None)
    assert caught.value.problems[0].path == "pools.p.devices[0]"


def test_without_ndctl(booted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    host, layout = booted(DEVICES)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "_ndctl", RealSystem(str(tmp_path)).run)
    with pytest.raises(NotPossible, match="ndctl is not installed"):
        converge(host, layout, lambda seconds: None)


def test_a_namespace_that_the_kernel_did_not_make(booted: Any) -> None:
    host, layout = booted(DEVICES)
    (host.root / "sys/bus/nd/devices/namespace1.0").unlink()
    with pytest.raises(NotPossible, match=r"no namespace of \[0x480000000, 0x580000000\) for db"):
        converge(host, layout, lambda seconds: None)
    assert unmet(host, layout)[-1] == "namespace db"


def test_removal_takes_all_of_ours_and_nothing_else(booted: Any) -> None:
    host, layout = booted(DEVICES, mode="fsdax")
    run(host, layout)
    one = dataclasses.replace(layout, reservations=layout.reservations[:1], devices=layout.devices[:1])
    told = remove(host, [one], dry_run=True).actions
    assert told[0] == "destroy the namespace of [0x400000000, 0x480000000) (fsdax)"
    assert remove(host, [one], dry_run=False).actions == told
    assert [n.mode for n in read_state(host).namespaces] == ["raw", "fsdax"]
    assert remove(host, [one], dry_run=True).actions == ()
