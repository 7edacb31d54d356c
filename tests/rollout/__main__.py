# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.rollout``: three of the lab's hosts with different memory; a trial that fails stops the rollout, so
does a host that dies in the middle. Needs three machines at once, and half an hour or more in software emulation."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.tenant.host import TenantError, must

from .fleet import SHAPES, Member, Rollout, roll_out

#: 64 MiB are not where they are predicted: the verification of the trial fails.
_FAULT = {"carveout_trial_arguments": ["panic=10", "memmap=64M%0x60000000-1+2"]}


#: All of the second node for tenants but 512 MiB.
_PLAN: dict[str, Any] = {
    "version": 1,
    "policy": {"trial_boot": True},
    "kernel": {"memory": {0: "1GiB", 1: "512MiB"}},
    "pools": {
        "guests": {
            "mechanism": "dax", "nodes": {1: "rest"}, "devices": [{"name": "vm-a", "size": "rest"}]
        }
    },
}  # fmt: skip


def _ended(done: Rollout, status: tuple[int, ...], **groups: list[str]) -> None:
    print(f"{done.shown()}\n== ended with {done.status} after {done.seconds:.0f} s\n", flush=True)
    must(done.status in status, f"the rollout ended with {done.status}:\n{done.said[-8000:]}")
    for name, hosts in groups.items():
        must(done.by(name) == hosts, f"{name} are {done.by(name)}, not {hosts}:\n{done.said[-8000:]}")


def failing_trial(members: dict[str, Member]) -> None:
    """The first host is committed, the trial of the second fails, the third is not touched."""
    a, b, c = SHAPES
    before = {name: member.state() for name, member in members.items()}
    done = roll_out(_PLAN, {b: _FAULT}, carveout_waves=[1])
    _ended(done, (2,), committed=[a], failed=[b], untouched=[c])
    must("is not System RAM" in done.said, f"the reason is missing:\n{done.said[-8000:]}")
    after = {name: member.state() for name, member in members.items()}
    must(after[c] == before[c], f"{c} was touched: {before[c]} became {after[c]}")
    must(after[b].cmdline == before[b].cmdline, f"{b} runs with {after[b].cmdline}")
    must(after[b].committed == before[b].committed, f"{b} has {after[b].committed} committed")
    must(after[b].boot_id != before[b].boot_id, f"{b} was not tried")


def dying_host(members: dict[str, Member]) -> None:
    """Without the fault the others follow, both at once, and the third loses its power while it is worked on."""
    a, b, c = SHAPES
    before = members[a].state()

    def watch(line: str) -> None:
        if line.startswith("TASK [carveout.memory.boot : Reboot only what was measured]"):
            members[c].die()

    done = roll_out(_PLAN, {}, watch, carveout_waves=["100%"])
    _ended(done, (4, 6), skipped=[a], committed=[b], failed=[c])
    must(members[a].state() == before, f"{a} was touched, though it is as its plan says")


def resumed(members: dict[str, Member]) -> None:
    """The third is switched on again; the run goes on with it, and leaves the others alone."""
    a, b, c = SHAPES
    members[c].up()
    before = {name: members[name].state() for name in (a, b)}
    done = roll_out(_PLAN, {}, carveout_waves=[1])
    _ended(done, (0,), skipped=[a, b], committed=[c])
    for name in (a, b):
        must(members[name].state() == before[name], f"{name} was touched, though it is as its plan says")


STEPS = {"failing-trial": failing_trial, "dying-host": dying_host, "resumed": resumed}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.rollout", description=__doc__)
    parser.add_argument(
        "--first", choices=STEPS, default="failing-trial", help="begin there, on machines that were kept"
    )
    parser.add_argument("--keep", action="store_true", help="leave the machines as they are afterwards")
    options = parser.parse_args(arguments)
    members = {name: Member(name) for name in SHAPES}
    try:
        if options.first != "resumed":
            for member in members.values():
                member.up()
        for name in [*STEPS][[*STEPS].index(options.first) :]:
            STEPS[name](members)
            print(f"ok  {name}", flush=True)
    except TenantError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (LabError, OSError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        for member in members.values():
            if options.keep:
                member.hang_up()
            else:
                member.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
