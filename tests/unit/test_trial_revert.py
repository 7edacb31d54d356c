# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role ``boot`` says and puts back after a trial that failed, on faked hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.bench import faked

TRIED = "f" * 16
STORED = "root/etc/carveout/layouts/{}.json"


#: What a run knows whose trial began.
BEGUN = {"boot_on_trial": True, "boot_files": {}, "boot_trial_begun": True}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    (host, *_) = faked.make_fleet(folder, 3)
    why = faked.can_enter(host)
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    return folder


def revert(fleet: Path, by_host: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The run's last message of each host, after a task that fails on all of them."""
    environment = {**os.environ, **faked.put_before_ssh(fleet, 3), "ANSIBLE_SSH_RETRIES": "0"}
    inventory = json.loads((fleet / "hosts.json").read_text())
    for host, own in by_host.items():
        inventory["all"]["hosts"][host] = {**BEGUN, "boot_layout": _layout(TRIED), **own}
    (fleet / "hosts.json").write_text(json.dumps(inventory))
    role = {"ansible.builtin.import_role": {"name": "carveout.memory.boot", "tasks_from": "revert"}}
    broken = {
        "name": "Look at it",
        "ansible.builtin.fail": {"msg": "nothing is as planned"},
        "when": "boot_layout.id | length > 0",
    }
    tasks = [{"block": [broken], "rescue": [role]}]
    (fleet / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", fleet / "hosts.json", fleet / "play.yml"],
        cwd=fleet, capture_output=True, text=True, check=False, timeout=300, env=environment,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    found = re.findall(r"^fatal: \[(\w+)\]: FAILED! => (\{.*\})$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return {host: json.loads(said)["msg"] for host, said in found}


def _layout(layout_id: str) -> dict[str, Any]:
    return {"id": layout_id, "kernel_arguments": [f"carveout.layout={layout_id}"]}


def _snapshot(files: tuple[str, ...] = (), owned: tuple[str, ...] = ()) -> dict[str, Any]:
    """A host that knows nothing of its old layout's text, so that nothing else is put back."""
    state = {"files": dict.fromkeys(files, ""), "loader": {"owned": owned}}
    return {"committed": "0" * 16, "layouts": {}, "state": state}


def test_the_message_has_the_reason_and_what_could_not_be_put_back(fleet: Path) -> None:
    booted = (fleet / "h0002/root/etc/carveout/committed").read_text().strip()
    said = revert(
        fleet,
        {
            "h0000": {"boot_snapshot": _snapshot()},
            # it failed in the commit: nobody knows how far it came
            "h0001": {"boot_snapshot": _snapshot(owned=("x",)), "boot_made_permanent": {"failed": True}},
            "h0002": {"boot_snapshot": _snapshot(), "boot_layout": _layout(booted)},
        },
    )
    for host, message in said.items():
        reason, outcome, *rest = message.split("\n")
        assert "failed (Look at it): nothing is as planned" in reason
        assert ("still boots with the new arguments" if host == "h0002" else "old arguments again") in outcome
        assert bool([line for line in rest if line.startswith("Not put back: the arguments: ")]) is (
            host == "h0001"
        )
    assert said.keys() == {"h0000", "h0001", "h0002"}


def test_a_layout_that_was_tried_stays_only_where_it_was_before(fleet: Path) -> None:
    kept = f"/etc/carveout/layouts/{TRIED}.json"
    for host in ("h0000", "h0001"):
        (fleet / host / STORED.format(TRIED)).write_text("{}")
    revert(
        fleet,
        {
            "h0000": {"boot_snapshot": _snapshot()},
            "h0001": {"boot_snapshot": _snapshot((kept,))},
            "h0002": {"boot_snapshot": _snapshot()},
        },
    )
    there = [host for host in ("h0000", "h0001", "h0002") if (fleet / host / STORED.format(TRIED)).exists()]
    assert there == ["h0001"]
