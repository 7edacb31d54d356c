# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scenario does what it says: molecule passes over steps whose playbook it does not find, with a warning only."""

from __future__ import annotations

from pathlib import Path

import yaml

SCENARIO = Path(__file__).resolve().parents[2] / "molecule" / "default"
CONFIG = yaml.safe_load((SCENARIO / "molecule.yml").read_text(encoding="utf-8"))


def test_every_step_has_its_playbook() -> None:
    steps = [step.split() for step in CONFIG["scenario"]["test_sequence"]]
    assert {"create", "check", "converge", "idempotence", "verify", "side_effect"} <= {
        step[0] for step in steps
    }
    playbooks = CONFIG["ansible"]["playbooks"]
    assert (SCENARIO / playbooks["side_effect"]).is_file()
    for step in steps:
        if step[0] in ("create", "converge", "verify", "destroy"):
            assert (SCENARIO / playbooks.get(step[0], f"{step[0]}.yml")).is_file()
        for name in step[1:]:
            assert (SCENARIO / name).is_file(), step


def test_every_playbook_refuses_an_empty_inventory() -> None:
    named = {name for step in CONFIG["scenario"]["test_sequence"] for name in step.split()[1:]}
    for name in named | {"converge.yml", "verify.yml"}:
        plays = yaml.safe_load((SCENARIO / name).read_text(encoding="utf-8"))
        assert plays[0]["ansible.builtin.import_playbook"] == "guard.yml", name
    guard = yaml.safe_load((SCENARIO / "guard.yml").read_text(encoding="utf-8"))
    assert guard[0]["hosts"] == "localhost"
    assert "groups['lab']" in guard[0]["tasks"][0]["ansible.builtin.assert"]["that"]
