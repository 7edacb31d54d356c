# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told of a host on which nothing is wrong: a kernel that nobody verified, a firmware that moved a little."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.action.verify import answer
from ansible_collections.carveout.memory.plugins.module_utils._expectations import expectations
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._next_kernel import next_kernel_note
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.metrics import host_metrics
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.record import Record
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.summary import (
    report_json,
    report_text,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.run import SuiteResult

MIB = 1 << 20
UNRECORDED = "the record says that the layout was verified with the kernel 6.1.2, 6.12.117 runs; the main job"


@pytest.fixture
def committed(layout: Layout, carved: dict[str, Any]) -> dict[str, Any]:
    carved["committed"] = layout.id
    carved["state"]["verified"] = "6.12.117"
    return carved


def record(layout: Layout, snapshot: dict[str, Any]) -> Record:
    found = [e.to_json() for e in expectations(layout, host_from_json(copy.deepcopy(snapshot)))]
    assert all(e["met"] for e in found)
    return Record("h1", True, (), tuple(found), layout.to_json(), snapshot)


def test_nothing_is_told_of_a_host_as_it_was(layout: Layout, committed: dict[str, Any]) -> None:
    found = record(layout, committed)
    assert found.notes == [] and "note" not in report_text([found])
    assert 'carveout_kernel_verified{verified="6.12.117",running="6.12.117"} 1\n' in host_metrics(found)


def test_a_kernel_that_the_record_does_not_name_is_told(layout: Layout, committed: dict[str, Any]) -> None:
    committed["state"]["verified"] = "6.1.2"
    found = record(layout, committed)
    (note,) = found.notes
    assert note.startswith(UNRECORDED)
    assert f"h1: as committed, layout {layout.id}\n  note: {UNRECORDED}" in report_text([found])
    assert report_json([found])["hosts"][0]["notes"] == [note]
    assert 'carveout_kernel_verified{verified="6.1.2",running="6.12.117"} 0\n' in host_metrics(found)
    told = {"id": layout.id, "expectations": list(found.expectations), "host": committed}
    said = answer("h1", SuiteResult(True, 11, (), {"h1": told}, ""))
    assert said["msg"].endswith(f"tests passed\n- {note}") and said["notes"] == [note]
    committed["state"]["verified"] = ""
    assert "was verified with no known kernel" in record(layout, committed).notes[0]
    # nothing is known of it: a snapshot of an earlier version, or a host without a committed layout
    del committed["state"]["verified"]
    assert record(layout, committed).notes == []
    assert "carveout_kernel_verified" not in host_metrics(record(layout, committed))


def test_a_firmware_that_moved_a_little_is_told(layout: Layout, committed: dict[str, Any]) -> None:
    for line in (*committed["firmware"]["map"], *committed["state"]["iomem"]):
        line[:2] = [value - 2 * MIB if value == 0xBFFDD000 else value for value in line[:2]]
    (note,) = record(layout, committed).notes
    assert "2 MiB of the firmware's map are not as they were" in note
    assert "[0xbfddd000, 0xbffdd000) was RAM and is reserved" in note


def host(snapshot: dict[str, Any], release: str, **more: Any) -> Host:
    return dataclasses.replace(
        host_from_json(copy.deepcopy(snapshot)),
        kernel_default=release,
        state={"verified": "6.12.117"},
        **more,
    )


def test_a_kernel_that_boots_next_is_predicted(committed: dict[str, Any]) -> None:
    assert next_kernel_note(host(committed, "6.12.117")) == ""
    assert next_kernel_note(host(committed, "")) == ""
    assert next_kernel_note(host(committed, "6.16.1", committed=None)) == ""
    said = next_kernel_note(host(committed, "6.16.1"))
    assert said.startswith(
        f"the kernel 6.16.1 boots next; the layout {committed['committed']} was verified with"
    )
    assert "It is predicted to do the same; its boot is held to the layout" in said


def test_one_that_makes_something_else_of_it_is_told_before_it_boots(committed: dict[str, Any]) -> None:
    """5.4 has no DAX regions of soft-reserved memory."""
    said = next_kernel_note(host(committed, "5.4.1"))
    assert (
        "the new one is predicted to make something else of it: the DAX regions lose [0x100000000, 0x180000000)"
        in said
    )
    # too little memory to boot with
    line = [*committed["boot_arguments"], "mem=64M"]
    said = next_kernel_note(host(committed, "6.16.1", boot_arguments=tuple(line)))
    assert "the new one is predicted not to do: " in said
