# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout diff``: which hosts change, which reboot, which change while they run, what the fleet gains."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.carveout.memory.plugins.module_utils._units import GIB
from ansible_collections.carveout.memory.tests.fuzz.samples import PLAN

Run = Callable[..., tuple[int, str, str]]
Commit = Callable[[dict[str, Any]], None]
CALL = ("diff", "plan.yml", "--host", "hosts", "--format", "json")


@pytest.fixture
def commit(run: Run, tmp_path: Path) -> Commit:
    """Makes hosts/a.json a host that runs what a plan gives it, and hosts/new.json the same one without."""

    def make(plan: dict[str, Any]) -> None:
        (tmp_path / "old.yml").write_text(yaml.safe_dump(plan))
        status, out, err = run("plan", "old.yml", "--host", "host.json", "--format", "json")
        assert status == 0, err
        layout = json.loads(out)
        host = json.loads((tmp_path / "host.json").read_text())
        (tmp_path / "hosts").mkdir(exist_ok=True)
        (tmp_path / "hosts" / "new.json").write_text(json.dumps(host))
        arguments = layout["kernel_arguments"]
        host["cmdline"] = " ".join([host["cmdline"], *arguments])
        host.update(committed=layout["id"], layouts={layout["id"]: layout})
        (tmp_path / "hosts" / "a.json").write_text(json.dumps(host))

    return make


def changed(run: Run, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of hosts/a.json, and of the fleet."""
    status, out, err = run(*CALL, *more)
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert answer["errors"] == []
    return next(h for h in answer["hosts"] if h["host"] == "a.json")["change"], answer["fleet"]


def test_a_host_that_stays_and_a_new_one(run: Run, commit: Commit) -> None:
    commit(PLAN)
    change, fleet = changed(run)
    assert (change["kind"], change["reboot"]) == ("same", False)
    assert change["pools"] == change["devices"] == change["mounts"] == []
    assert (fleet["hosts"], fleet["reboot"], fleet["cannot"]) == (2, 1, 0)
    assert fleet["kinds"] == {"first": 1, "reboot": 0, "live": 0, "record": 0, "same": 1}
    assert fleet["after"]["tenants"] == 2 * fleet["before"]["tenants"]


def test_devices_change_while_the_host_runs(run: Run, commit: Commit) -> None:
    old = copy.deepcopy(PLAN)
    first, _, last = old["pools"]["guests"]["devices"]
    first["mode"] = "0600"
    last["name"] = "vm-z"
    commit(old)
    change, fleet = changed(run)
    assert (change["kind"], change["reboot"], fleet["kinds"]["live"]) == ("live", False, 1)
    gone, other, new = change["devices"]
    assert gone.startswith("- device vm-z: ")
    assert other == "device vm-a: owner nobody:root 0600 -> nobody:root 0660"
    assert new.startswith("+ device vm-c: ") and new.endswith(" of guests, node 1")


def test_more_memory_takes_a_reboot_and_says_what_is_gained(run: Run, commit: Commit) -> None:
    old = copy.deepcopy(PLAN)
    old["pools"]["guests"]["nodes"] = {"1": "1GiB"}
    old["pools"]["guests"]["devices"] = []
    commit(old)
    change, _ = changed(run, "--guest", "512MiB")
    assert (change["kind"], change["reboot"]) == ("reboot", True)
    assert "+ pool guests (dax) node 0: 1GiB" in change["pools"]
    assert any(text.startswith("memmap=1G%") for text in change["arguments"]["added"])
    assert change["before"]["tenants"] == GIB
    assert change["before"]["guests"] == 2
    assert change["after"]["guests"] >= 4
    assert change["after"]["saved"] > change["before"]["saved"] > 0


def test_a_host_that_does_not_run_what_is_committed_reboots(run: Run, commit: Commit, tmp_path: Path) -> None:
    commit(PLAN)
    path = tmp_path / "hosts" / "a.json"
    host = json.loads(path.read_text())
    host["cmdline"] = "quiet"
    path.write_text(json.dumps(host))
    change, _ = changed(run)
    assert (change["kind"], change["reboot"]) == ("reboot", True)
    assert change["reason"] == f"it does not run what is committed on it, the layout {host['committed']}"


def test_against_committed_layouts_of_the_repository(run: Run, commit: Commit, tmp_path: Path) -> None:
    """By name: a host that has none there gets its first layout."""
    commit(PLAN)
    layouts = tmp_path / "layouts"
    layouts.mkdir()
    host = json.loads((tmp_path / "hosts" / "a.json").read_text())
    (layouts / "new.json").write_text(json.dumps(host["layouts"][host["committed"]]))
    change, fleet = changed(run, "--previous", "layouts")
    assert change["kind"] == "first"
    assert (fleet["kinds"]["first"], fleet["kinds"]["same"]) == (1, 1)
    status, out, _ = run(
        "diff", "plan.yml", "--host", "hosts/new.json", "--previous", "layouts/new.json", "--format", "json"
    )
    assert (status, json.loads(out)["fleet"]["kinds"]["same"]) == (0, 1)


def test_the_text_puts_hosts_with_one_change_together(run: Run, commit: Commit, tmp_path: Path) -> None:
    commit(PLAN)
    for number in range(12):
        name = f"n{number:02}.json"
        (tmp_path / "hosts" / name).write_bytes((tmp_path / "hosts" / "new.json").read_bytes())
    (tmp_path / "hosts" / "bad.json").write_text("{}")
    status, out, err = run("diff", "plan.yml", "--host", "hosts", "--guest", "1GiB")
    assert (status, err) == (4, "")
    assert out.startswith(
        "15 hosts: 13 get their first layout, 1 stays as it is, 1 cannot be planned; 13\nof them reboot\n"
    )
    assert "13 hosts get their first layout (with a reboot): n00, n01" in out
    assert "and 5 more" in out
    assert "1 host stays as it is: a\n" in out
    assert "1 host cannot be planned: bad\n" in out
    assert out.count("    + pool guests (dax) node 0: 1GiB\n") == 1
    assert all(len(line) <= 80 for line in out.splitlines())


def test_names_of_files_cannot_play_tricks_on_a_terminal(run: Run, commit: Commit, tmp_path: Path) -> None:
    commit(PLAN)
    (tmp_path / "hosts" / "x\x1b[2J.json").write_bytes((tmp_path / "hosts" / "new.json").read_bytes())
    status, out, _ = run("diff", "plan.yml", "--host", "hosts")
    assert status == 0
    assert "\x1b" not in out


def test_what_is_refused(run: Run, commit: Commit) -> None:
    commit(PLAN)
    status, _, err = run("diff", "plan.yml", "--host", "hosts", "--previous", "host.json")
    assert (status, "--previous must be one too" in err) == (2, True)
    status, out, _ = run("diff", "plan.yml", "--host", "host.json", "--previous", "gone.json")
    assert (status, "gone.json: No such file or directory" in out) == (4, True)
    status, _, err = run("diff", "plan.yml", "--host", "hosts", "--guest", "1KiB")
    assert (status, "'1KiB' is less than 1MiB" in err) == (2, True)
