# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``playbooks/rollout.yml`` on faked hosts that boot: real Ansible, the whole job, and the failures it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from faked_boots import Done, boots, files, recap, roll_out

HOSTS = ["h0000", "h0001", "h0002", "h0003"]
#: What a host gets before the first one is touched: the look, and the measurement.
PLANNED = 2
#: What a host gets on which nothing is to be done.
SETTLED = 2


@pytest.fixture
def hooks(tmp_path: Path) -> dict[str, str]:
    """Task files that write down, in one file, for which host they ran, and what had happened to it by then."""
    seen = "{{ playbook_seen }}/hooks"
    found = {}
    for name in ("drain", "restore", "health"):
        argv = ["sh", "-c", f"echo {name} {{{{ inventory_hostname }}}} >> {tmp_path}/hooks"]
        task = {
            "name": f"Write {name}", "ansible.builtin.command": {"argv": argv}, "delegate_to": "localhost",
            "become": False, "changed_when": False,
        }  # fmt: skip
        look = {
            "name": "See how often it has booted", "ansible.builtin.command": {"argv": ["cat", "/boots"]},
            "failed_when": False, "changed_when": False, "register": "seen",
        }  # fmt: skip
        task["ansible.builtin.command"]["argv"][-1] = (
            f"echo {name} {{{{ inventory_hostname }}}} {{{{ seen.stdout_lines | length }}}} >> {tmp_path}/hooks"
        )
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump([look, task]))
        found[f"carveout_{name}_tasks"] = str(tmp_path / f"{name}.yml")
    del seen
    return found


def seen(folder: Path) -> list[str]:
    path = folder / "hooks"
    return path.read_text().splitlines() if path.exists() else []


def untouched(fleet: Path, before: dict[str, dict[str, bytes]], done: Done, *names: str) -> None:
    for name in names:
        assert done.calls[name] == PLANNED, name
        assert files(fleet / name) == before[name]
        assert boots(fleet / name) == []


def test_a_canary_that_fails_stops_it_and_a_second_run_goes_on(
    fleet: Path, hooks: dict[str, str], tmp_path: Path
) -> None:
    """And all the rest of a good rollout: batches by domains, hooks, the gate, nothing for hosts that are done."""
    canary = fleet / "h0003"
    (shown,) = (canary / "root/boot/shows").iterdir()
    right = (shown / "iomem").read_text()
    (shown / "iomem").write_text(right + "440000000-47fffffff : System RAM\n")
    before = {name: files(fleet / name) for name in HOSTS}
    own: dict[str, dict[str, Any]] = {name: {"rack": "west"} for name in HOSTS}
    own["h0003"] = {"rack": "east", "carveout_canary": True}
    own["h0002"]["rack"] = "east"
    settings = {"own": own, "carveout_failure_domain": "rack", **hooks}

    done = roll_out(fleet, HOSTS, **settings)
    assert done.status == 2, done.said
    assert done.by("failed") == ["h0003"] and done.by("untouched") == HOSTS[:3]
    assert "1 host failed, and the failure budget is 0" in done.report["stopped"]
    assert "is not System RAM" in done.why("h0003") or "System RAM" in done.why("h0003")
    untouched(fleet, before, done, *HOSTS[:3])
    assert "The rollout was stopped: 1 host failed" in done.said
    assert "3 not touched: h0000, h0001, h0002" in done.said
    # it runs, so it is brought back; what failed is not asked for its health
    assert seen(tmp_path) == ["drain h0003 0", "restore h0003 1"]
    assert "failed=1" in recap(done.said)["h0003"] and "failed=0" in recap(done.said)["h0000"]

    # after the fix the rest follows: h0003 needs no second boot
    (canary / "proc/iomem").write_text(right)
    (tmp_path / "hooks").unlink()
    done = roll_out(fleet, HOSTS, carveout_waves=[1, "100%"], **settings)
    assert done.status == 0, done.said
    assert done.by("committed") == HOSTS and done.report["complete"] is True
    assert [len(boots(fleet / name)) for name in HOSTS] == [1, 1, 1, 1]
    assert "drain h0003 1" not in seen(tmp_path)
    assert [line for line in seen(tmp_path) if line.startswith("drain")] == [
        "drain h0000 0", "drain h0002 0", "drain h0001 0"
    ]  # fmt: skip
    for name in HOSTS[:3]:
        steps = [line.split()[0] for line in seen(tmp_path) if name in line]
        assert steps == ["drain", "restore", "health"]

    # of one rack one after the other: h0001 booted when h0000 was committed; h0002, of another, beside it
    def ended(name: str) -> float:
        return (fleet / name / "root/etc/carveout/committed").stat().st_mtime * 1000

    assert boots(fleet / "h0001")[0] > ended("h0000")
    assert boots(fleet / "h0002")[0] < ended("h0000") and boots(fleet / "h0000")[0] < ended("h0002")

    # nothing is left to do: every host only confirms it
    done = roll_out(fleet, HOSTS, **settings)
    assert done.status == 0 and done.by("skipped") == HOSTS
    assert done.calls == dict.fromkeys(HOSTS, SETTLED)
