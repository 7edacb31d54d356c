# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout adopt``: what it prints is a plan's file, and says which arguments have to go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ansible_collections.carveout.memory.tests.fuzz.samples import DMESG

from .conftest import Run

ARGUMENTS = "memmap=1G$6G"


@pytest.fixture
def by_hand(run: Run, tmp_path: Path) -> Run:
    """The folder's host with a hand-written argument, beside it without."""
    line = next(line for line in DMESG.splitlines() if "Command line:" in line)
    (tmp_path / "dmesg.txt").write_text(DMESG.replace(line, f"{line} {ARGUMENTS}"))
    status, out, _ = run("host", "--dmesg", "dmesg.txt")
    assert status == 0
    (tmp_path / "by-hand.json").write_text(out)
    return run


def test_the_text_is_a_plan_for_the_host_without_the_argument(by_hand: Run, tmp_path: Path) -> None:
    status, out, _ = by_hand("adopt", "--host", "by-hand.json")
    assert status == 0
    assert f"#      {ARGUMENTS}    on the command line" in out
    (tmp_path / "adopted.yml").write_text(out)
    status, out, _ = by_hand("plan", "adopted.yml", "--host", "host.json", "--format", "json")
    assert status == 0
    layout = json.loads(out)
    layout = layout.get("layout", layout)
    assert [(r["start"], r["end"]) for r in layout["reservations"]] == [(6 << 30, 7 << 30)]


def test_the_same_as_json(by_hand: Run) -> None:
    status, out, _ = by_hand("adopt", "--host", "by-hand.json", "--format", "json")
    assert status == 0
    assert [a["argument"] for a in json.loads(out)["remove"]] == [ARGUMENTS]


def test_nothing_to_adopt_is_said(run: Run) -> None:
    status, out, err = run("adopt", "--host", "host.json")
    assert (status, out) == (3, "")
    assert "there is nothing to adopt" in err


def test_what_a_host_says_is_never_more_than_a_comment(by_hand: Run, tmp_path: Path) -> None:
    """A snapshot may come from a host that somebody else has taken over; its plan is run on others, too."""
    host = json.loads((tmp_path / "by-hand.json").read_text())
    evil = "x\npolicy: {kaslr: allow-disable}\n#"
    host["foreign"] = [{"argument": ARGUMENTS, "file": f"/etc/{evil}", "line": 1}]
    host["boot_arguments"] = ["quiet", ARGUMENTS, f"mem=64G{evil}"]
    (tmp_path / "evil.json").write_text(json.dumps(host))
    status, out, _ = by_hand("adopt", "--host", "evil.json")
    assert status == 0
    _, wanted, _ = by_hand("adopt", "--host", "evil.json", "--format", "json")
    assert json.loads(json.dumps(yaml.safe_load(out))) == json.loads(wanted)["plan"]
    assert r"/etc/x\x0apolicy: {kaslr" in out
