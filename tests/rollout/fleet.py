# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Three of the lab's machines with different memory, and the rollout over them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.carveout.memory.lab import machine, qmp
from ansible_collections.carveout.memory.lab.vm import Wishes
from tests.tenant.host import ROOT, Host, wait_for

#: Bytes of the nodes by host: no two have the same memory map.
SHAPES = {
    "rollout-a": (3 * machine.GIB, machine.GIB),
    "rollout-b": (3 * machine.GIB, 2 * machine.GIB),
    "rollout-c": (4 * machine.GIB, machine.GIB),
}
#: Seconds: three emulated machines share the processors of one.
_BOOT, TIMEOUT = 1800, 1800
_FILES = ("/boot/grub", "/etc/default/grub.d", "/etc/carveout", "/etc/systemd/system")


class State(NamedTuple):
    """What tells a host that was touched from one that was not."""

    boot_id: str
    cmdline: str
    committed: str
    files: str


class Member(Host):
    """One of the machines."""

    def up(self) -> None:
        self._vm.up(Wishes(node_memory=SHAPES[self.name]), _BOOT)

    def die(self) -> None:
        """As a plug that is pulled, and not put back."""
        self.hang_up()
        qmp.execute(self._vm.directory / "qmp.sock", "quit")
        wait_for("the machine's end", 30, lambda: self._vm.pid() is None)

    def state(self) -> State:
        self.hang_up()
        sums = self.run(
            "find", *_FILES, "-type", "f", "-exec", "sha256sum", "{}", "+", check=False, limit=_BOOT
        )
        return State(
            self.boot_id(),
            # a trial that became permanent runs on with what only it had, at the end of its command line
            self.run("cat", "/proc/cmdline").strip().partition(" carveout.trial")[0],
            self.run("cat", "/etc/carveout/committed", check=False).strip(),
            "\n".join(sorted(sums.splitlines())),
        )


class Rollout(NamedTuple):
    """How a run ended."""

    status: int
    said: str
    report: Mapping[str, Any]
    seconds: float

    def by(self, outcome: str) -> list[str]:
        return [host["host"] for host in self.report["hosts"] if host["outcome"] == outcome]

    def shown(self) -> str:
        """The report as the playbook shows it."""
        start = self.said.rfind("TASK [Show the report]")
        return self.said[start : self.said.find("TASK [Fail with", start)]


def roll_out(
    plan: Mapping[str, Any],
    own: Mapping[str, Mapping[str, Any]],
    watch: Callable[[str], None] = lambda line: None,
    **variables: Any,
) -> Rollout:
    """The playbook on all machines; ``own`` are variables of single hosts, ``watch`` sees each line of its output."""
    with tempfile.TemporaryDirectory(prefix="carveout-rollout-test-") as name:
        folder = Path(name)
        # hosts of one plan with different maps: each is a class of its own
        members = {host: {"carveout_class": host, **own.get(host, {})} for host in SHAPES}
        (folder / "own.json").write_text(json.dumps({"all": {"hosts": members}}))
        common = {
            "carveout_hosts": list(SHAPES), "carveout_plan": plan, "carveout_reboot_timeout": TIMEOUT,
            "carveout_trial_minutes": 60, "carveout_rollout_report": str(folder / "report.json"),
        }  # fmt: skip
        bin_folder = Path(sys.executable).parent
        started = time.monotonic()
        process = subprocess.Popen(
            [
                str(bin_folder / "ansible-playbook"), "-i", str(ROOT / "inventories/lab"),
                "-i", str(folder / "own.json"), "-e", json.dumps({**common, **variables}), "carveout.memory.rollout",
            ],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={
                **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1",
                "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            },
        )  # fmt: skip
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            watch(line)
        status = process.wait()
        path = folder / "report.json"
        report = json.loads(path.read_text()) if path.exists() else {"hosts": []}
        return Rollout(status, "".join(said), report, time.monotonic() - started)
