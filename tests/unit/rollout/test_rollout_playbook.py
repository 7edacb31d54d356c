# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``playbooks/rollout.yml`` on faked hosts that boot: real Ansible, the whole job, and the failures it is for."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from faked_boots import PLAN, Done, boots, files, recap, roll_out

HOSTS = ["h0000", "h0001", "h0002", "h0003"]
#: What a host gets before the first one is touched: the look, and the measurement.
PLANNED = 2
#: What a host gets on which nothing is to be done.
SETTLED = 2


@pytest.fixture
def hooks(tmp_path: Path) -> dict[str, str]:
    """Task files that write down, in one file, for which host they ran, and what had happened to it by then."""
    found = {}
    for name in ("drain", "restore", "health"):
        look = {
            "name": "See how often it has booted", "ansible.builtin.command": {"argv": ["cat", "/boots"]},
            "failed_when": False, "changed_when": False, "register": "seen",
        }  # fmt: skip
        line = f"{name} {{{{ inventory_hostname }}}} {{{{ seen.stdout_lines | length }}}}"
        task = {
            "name": f"Write {name}", "delegate_to": "localhost", "become": False, "changed_when": False,
            "ansible.builtin.command": {"argv": ["sh", "-c", f"echo {line} >> {tmp_path}/hooks"]},
        }  # fmt: skip
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump([look, task]))
        found[f"carveout_{name}_tasks"] = str(tmp_path / f"{name}.yml")
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
    drained = [line for line in seen(tmp_path) if line.startswith("drain")]
    # two of one batch are drained at the same time
    assert sorted(drained[:2]) == ["drain h0000 0", "drain h0002 0"]
    assert drained[2:] == ["drain h0001 0"]
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


def test_a_host_that_dies_in_the_middle_stops_it(fleet: Path) -> None:
    before = {name: files(fleet / name) for name in HOSTS}
    # after the look, the measurement, both once more, and one call of its job
    (fleet / "h0001/dies-after").write_text("5")
    done = roll_out(fleet, HOSTS[:3], carveout_waves=[2, 1])
    assert done.status & 4, done.said
    assert (done.by("committed"), done.by("failed"), done.by("untouched")) == (
        ["h0000"], ["h0001"], ["h0002"]
    )  # fmt: skip
    assert "it became unreachable in the middle of its job (step: carve)" in done.why("h0001")
    untouched(fleet, before, done, "h0002")
    assert "The rollout was stopped: 1 host failed" in done.said

    # dead before it begins: nobody is touched, but for what the budget allows and the failure domain can bear
    own = {name: {"rack": rack} for name, rack in zip(HOSTS, ("a", "a", "a", "b"), strict=True)}
    done = roll_out(fleet, HOSTS, own=own)
    assert done.status == 2 and done.by("committed") == []
    assert "No route to host" in done.why("h0001")
    untouched(fleet, before, done, "h0002", "h0003")
    assert done.calls["h0000"] == SETTLED
    done = roll_out(fleet, HOSTS, own=own, carveout_failure_domain="rack", carveout_failure_budget=1)
    assert done.status == 2
    assert (done.by("skipped"), done.by("committed"), done.by("untouched")) == (
        ["h0000"], ["h0003"], ["h0002"]
    )  # fmt: skip
    assert done.why("h0002") == "left alone: of a 1 host may be down at once, and as many are"
    untouched(fleet, before, done, "h0002")


def test_a_wave_waits_for_approval_by_a_file(fleet: Path, tmp_path: Path) -> None:
    """The second wave is approved by the word that was asked for, the third by another one."""
    approval = tmp_path / "approval"
    log = tmp_path / "log"

    def approve() -> None:
        for _ in range(3000):
            words = re.findall(r"Write (approve-\w+) into", log.read_text() if log.exists() else "")
            if words:
                approval.write_text(words[0] + "\n")
                return
            time.sleep(0.1)

    person = threading.Thread(target=approve)
    person.start()
    done = roll_out(
        fleet, HOSTS[:3], log=log, carveout_waves=[1], carveout_approval="waves",
        carveout_approval_file=str(approval), carveout_approval_seconds=240,
    )  # fmt: skip
    person.join()
    assert done.status == 2, done.said
    assert done.by("committed") == HOSTS[:2] and done.by("untouched") == HOSTS[2:3]
    assert done.report["stopped"] == "nobody approved wave 3"
    assert done.calls["h0002"] == PLANNED


def test_without_a_terminal_silence_is_no_approval_and_health_counts(fleet: Path) -> None:
    done = roll_out(fleet, HOSTS[:2], carveout_waves=[1], carveout_approval="canary")
    assert done.status == 2 and done.report["stopped"] == "nobody approved wave 2"
    assert done.by("committed") == ["h0000"] and done.by("untouched") == ["h0001"]
    # the canary is done, so the next host is one; it is not healthy, and that is counted though it is committed
    command = ["sh", "-c", "echo no guests on {{ inventory_hostname }} >&2; exit 3"]
    done = roll_out(fleet, HOSTS[:3], carveout_waves=[1], carveout_health_command=command)
    assert done.status == 2 and done.by("failed") == ["h0001"] and done.by("untouched") == ["h0002"]
    assert "Its layout is committed, but it did not pass its gate" in done.why("h0001")
    assert "no guests on h0001" in done.why("h0001")
    assert done.calls["h0000"] == SETTLED


def test_a_host_that_cannot_be_drained_is_not_touched(
    fleet: Path, hooks: dict[str, str], tmp_path: Path
) -> None:
    before = files(fleet / "h0000")
    (tmp_path / "drain.yml").write_text(
        yaml.safe_dump([{"name": "Fail", "ansible.builtin.fail": {"msg": "a guest does not leave"}}])
    )
    done = roll_out(fleet, HOSTS[:2], **hooks)
    assert done.status == 2 and done.by("failed") == ["h0000"] and done.by("untouched") == ["h0001"]
    assert done.why("h0000") == "a guest does not leave"
    assert files(fleet / "h0000") == before and boots(fleet / "h0000") == []
    # what left already comes back
    assert seen(tmp_path) == ["restore h0000 0"]


def test_nothing_is_touched_where_the_plan_does_not_hold_for_all(fleet: Path) -> None:
    before = {name: files(fleet / name) for name in HOSTS}

    def refused(*words: str, calls: int = PLANNED, **settings: Any) -> Done:
        done = roll_out(fleet, HOSTS, **settings)
        assert done.status == 2, done.said
        for word in words:
            assert word in done.said, (word, done.said)
        for name in HOSTS:
            assert done.calls[name] <= calls, name
            assert files(fleet / name) == before[name]
        return done

    # hosts of one class with different maps
    done = refused(
        "differs from the class racks (compared with h0000): pool guests (reserved) node",
        "set carveout_allow_different", carveout_class="racks",
    )  # fmt: skip
    assert done.by("untouched") == HOSTS
    # by default hosts with the same plan are a class
    refused("differs from the class of the plan ", carveout_class="")
    # one that cannot do what its plan says, whatever may fail
    large = {**PLAN, "kernel": {"memory": "40GiB"}}
    done = refused("cannot do what the plan says: h0000", plan=large, carveout_failure_budget=9)
    assert "h0000" in done.by("failed") and "kernel.memory" in done.why("h0000")
    # settings that would fail in the middle are refused before any host is asked
    refused(
        "h0000 has no variable rack, which carveout_failure_domain names",
        calls=0,
        carveout_failure_domain="rack",
    )
    refused(
        "carveout_drain_tasks is neither kubernetes nor libvirt", calls=0, carveout_drain_tasks="mine.yml"
    )
    refused("carveout_approval is none of", calls=0, carveout_approval="always")
    refused("carveout_waves[1]: 'half' is no number of hosts", carveout_waves=[1, "half"])


def test_check_mode_shows_the_waves_and_does_nothing(fleet: Path) -> None:
    before = {name: files(fleet / name) for name in HOSTS}
    done = roll_out(fleet, HOSTS, "--check", "--limit", "h0000,h0001,h0002", carveout_waves=[1, "100%"])
    assert done.status == 0, done.said
    assert "3 hosts: 3 to be changed, 3 of them with a reboot; 0 as their plans say already" in done.said
    assert "wave 1, batch 1: h0000" in done.said and "wave 2, batch 2: h0001, h0002" in done.said
    assert done.calls["h0003"] == 0
    for name in HOSTS:
        assert files(fleet / name) == before[name]


def test_an_empty_inventory_is_no_success(fleet: Path) -> None:
    done = roll_out(fleet, [])
    assert done.status == 2 and "There is no host to roll the plan out to" in done.said
