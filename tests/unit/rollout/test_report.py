# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a rollout, and the comparison of hosts that should be alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.bench import hosts as some
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.layout_change import disturbs
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.assess import (
    assessed,
    described,
    plan_name,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.classes import strangers
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    COMMITTED,
    FAILED,
    HELD,
    PLANNED,
    SETTLED,
    WORKING,
    Record,
    read_record,
    stop,
    stopped,
    update_record,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.report import (
    outcome,
    report_json,
    report_text,
    write_json,
)

RECORDS = [
    Record("h1", COMMITTED, wave=1),
    Record("h2", SETTLED),
    Record("h3", FAILED, why="The trial failed\nThe host runs with its old arguments again", wave=2),
    Record("h4", WORKING, phase="job", wave=2),
    Record("h5", HELD, why="left alone: of r1"),
    Record("h6", PLANNED),
]


def test_the_text_has_every_host_once_and_the_reasons() -> None:
    text = report_text(RECORDS, "2 hosts failed, and the failure budget is 0")
    lines = text.splitlines()
    assert lines[0] == "The rollout was stopped: 2 hosts failed, and the failure budget is 0"
    assert "    1 committed, verified and back in service: h1" in lines
    assert "    1 as their plans say already: h2" in lines
    assert "    2 failed: h3, h4" in lines
    assert "    2 not touched: h5, h6" in lines
    place = lines.index("      - h3 (wave 2): The trial failed")
    assert lines[place + 1] == "        The host runs with its old arguments again"
    assert "- h4 (wave 2): it became unreachable in the middle of its job (step: job)" in text
    assert "- h5: left alone: of r1" in text and "- h6" not in text


def test_the_outcome_tells_complete_from_not_complete() -> None:
    done = [Record("h1", COMMITTED), Record("h2", SETTLED)]
    assert outcome(done, "") == "The rollout is complete"
    assert outcome([*done, RECORDS[2]], "") == "The rollout is complete, but 1 of its hosts failed"
    assert "1 host is left for a later run" in outcome([*done, RECORDS[5]], "")
    assert report_json(done, "", True)["complete"] is True
    assert report_json(done, "", False)["complete"] is False
    assert report_json([*done, RECORDS[2]], "", True)["complete"] is False
    assert report_json(done, "why", True)["complete"] is False


def test_json_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_json(str(path), report_json(RECORDS, "why", True))
    data = json.loads(path.read_text())
    assert data["counts"] == {"committed": 1, "skipped": 1, "failed": 2, "untouched": 2}
    assert [host["outcome"] for host in data["hosts"]][2:4] == ["failed", "failed"]
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]


def test_a_long_reason_and_odd_characters_stay_readable() -> None:
    record = Record("h1", FAILED, why="\x1b[31mred\n" + "\n".join(f"line {n}" for n in range(30)))
    text = report_text([record], "")
    assert "\x1b" not in text and "\\x1b[31mred" in text
    assert "line 10" in text and "line 11" not in text and "... 19 more lines" in text


def test_records_outlive_what_wrote_them(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert read_record(folder, "h/1") == Record("h/1")
    update_record(folder, "h/1", state=WORKING, phase="drain", changes=("+ a",))
    update_record(folder, "h/1", phase="job")
    assert read_record(folder, "h/1") == Record("h/1", WORKING, phase="job", changes=("+ a",))
    assert stopped(folder) == ""
    stop(folder, "first")
    stop(folder, "second")
    assert stopped(folder) == "first"


@pytest.fixture
def layouts() -> dict[str, Layout]:
    """Two hosts of a kind, and one with another node."""
    plan = validated_plan(some.plan_for(2))
    found = {}
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        found[name] = make_layout(plan, host_from_json(some.host(number, 2, 40)))
    return found


def test_a_host_that_differs_from_its_class_is_named_with_the_difference(layouts: dict[str, Layout]) -> None:
    records = [Record(name, PLANNED, kind="k", **described(layout)) for name, layout in layouts.items()]
    (found,) = strangers([records[2], *records[:2]], layouts.__getitem__)
    assert (found.host, found.like, found.kind) == ("c", "a", "k")
    assert any("pool guests (dax) node 0" in line for line in found.lines)
    assert str(found).startswith("c differs from the class k (compared with a): pool guests")
    alone = [records[0], Record("c", PLANNED, kind="other", **described(layouts["c"]))]
    assert strangers(alone, layouts.__getitem__) == []
    # of as many, the first
    (found,) = strangers([records[2], records[0]], layouts.__getitem__)
    assert (found.host, found.like) == ("a", "c")
    assert plan_name(layouts["a"]) == plan_name(layouts["c"])


def test_a_first_layout_reboots_and_growing_takes_nothing(layouts: dict[str, Layout]) -> None:
    host = host_from_json(some.host(1, 2, 40))
    fields = assessed(host, layouts["a"])
    assert fields["reboots"] and fields["disturbs"] and fields["previous"] == ""
    assert not disturbs(None, layouts["a"])
    assert not disturbs(layouts["a"], layouts["a"])
    plan = some.plan_for(2)
    devices = plan["pools"]["guests"]["devices"]
    fewer = {**plan["pools"]["guests"], "devices": devices[:2]}
    smaller = validated_plan({**plan, "pools": {**plan["pools"], "guests": fewer}})
    without = make_layout(smaller, host, layouts["a"])
    assert disturbs(layouts["a"], without) and not disturbs(without, layouts["a"])
