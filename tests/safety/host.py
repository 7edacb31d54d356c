# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machine that trials are made to fail on: what it was before and is afterwards."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.carveout.memory.lab import machine
from ansible_collections.carveout.memory.lab.flavour import DEFAULT, Flavour
from ansible_collections.carveout.memory.lab.vm import Wishes
from tests.tenant.host import ROOT, Host, Job, ended, must, started, wait_for

NODE_MEMORY = (3 * machine.GIB, 2 * machine.GIB)
#: What a boot reads and writes, and what Carveout has on a host.
_FILES = (
    "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/boot/grub/custom.cfg", "/etc/default/grub",
    "/etc/default/grub.d", "/etc/grub.d", "/etc/kernel",
    "/boot/efi/loader/loader.conf", "/boot/efi/loader/entries", "/etc/carveout", "/etc/systemd/system",
    "/etc/udev/rules.d", "/usr/lib/carveout",
)  # fmt: skip
#: What the trial of a run that was stopped has on the host until the next run.
LEFT = (
    "/boot/grub/custom.cfg", "/etc/carveout/layouts/", "/etc/systemd/system/carveout-trial.service",
    "/etc/systemd/system/sysinit.target.wants/carveout-trial.service",
)  # fmt: skip
#: Bytes by which MemTotal differs from boot to boot: where the kernel lies decides what it can give back.
_MEMTOTAL = 1 << 20
#: Seconds in which an emulated host boots on a busy machine.
TIMEOUT = 240
#: Sizes of the two plans, in MiB: one is committed, the other is tried.
_SIZES = (512, 256)
_CALLBACKS = Path(__file__).with_name("callbacks")


def plan(megabytes: int) -> dict[str, Any]:
    """A small plan; with another size it has another layout."""
    return {
        "version": 1,
        "policy": {"trial_boot": True},
        "kernel": {"memory": "1GiB"},
        "pools": {
            "guests": {
                "mechanism": "dax",
                "nodes": {1: f"{megabytes}MiB"},
                "devices": [{"name": "vm-a", "size": "rest"}],
            }
        },
    }


FIRST, OTHER = (plan(size) for size in _SIZES)


class State(NamedTuple):
    """A host as it has to be again after a trial that failed."""

    cmdline: str
    ram: tuple[str, ...]
    total: int
    files: Mapping[str, str]
    device: str

    def compare(self, now: State, *besides: str) -> None:
        """TenantError where ``now`` is another; ``besides`` begin the paths of files that may be."""
        must(now.cmdline == self.cmdline, f"the host runs with {now.cmdline}, before with {self.cmdline}")
        must(now.ram == self.ram, f"the kernel has the memory {now.ram}, before {self.ram}")
        must(abs(now.total - self.total) <= _MEMTOTAL, f"MemTotal is {now.total}, before {self.total}")
        changed = [path for path in {*self.files, *now.files} if self.files.get(path) != now.files.get(path)]
        other = sorted(path for path in changed if not path.startswith(besides or ("\0",)))
        must(not other, f"not as before: {', '.join(other)}")
        must(now.device == self.device, f"the device is {now.device}, before {self.device}")


class SafetyHost(Host):
    """A host with a layout committed by a trial boot; its power is cycled by the lab."""

    #: Whether the plan goes through without the fault after a trial that failed.
    corrected = True

    def __init__(self, name: str, flavour: Flavour = DEFAULT) -> None:
        super().__init__(name)
        self._flavour = flavour

    def up(self) -> None:
        wishes = Wishes(NODE_MEMORY, firmware=self._flavour.firmware, loader=self._flavour.loader)
        self._vm.up(wishes, 600)

    def begin(self, wanted: Mapping[str, Any], stop_before: str = "", **others: Any) -> subprocess.Popen[str]:
        """The main job, started; it is killed before the task ``stop_before``."""
        self.hang_up()
        common = {"carveout_reboot_timeout": TIMEOUT, "carveout_power_cycle_command": _power_cycle_command()}
        words = self.play_words("carveout.memory.site", {"carveout_plan": wanted, **common, **others})
        # connections of before do not outlive the reboots, and Ansible would take them again
        settings = {"ANSIBLE_SSH_CONTROL_PATH_DIR": tempfile.mkdtemp(prefix="ssh-", dir=self._folder.name)}
        if stop_before:
            settings |= {
                "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
                "ANSIBLE_CALLBACKS_ENABLED": "stop_before",
                "CARVEOUT_STOP_BEFORE": stop_before,
            }
        return started(words, settings)

    def site(self, wanted: Mapping[str, Any], stop_before: str = "", **others: Any) -> Job:
        """The main job."""
        return ended(self.begin(wanted, stop_before, **others))

    def stopped(self, wanted: Mapping[str, Any], stop_before: str, minutes: int) -> str:
        """The main job, killed before that task, with a trial of so many minutes; the ID of the boot it leaves."""
        job = self.site(wanted, stop_before, carveout_trial_minutes=minutes)
        last = job.said[job.said.rfind("TASK [") :]
        must(not job.ok and stop_before in last, f"the run was not killed there:\n{job.said[-3000:]}")
        print(f"ok  the run was killed before: {stop_before}", flush=True)
        return self.boot_id()

    def wanted(self) -> dict[str, Any]:
        """The plan that is not the committed one."""
        return OTHER if f" memmap={_SIZES[0]}M%" in self.run("cat", "/proc/cmdline") else FIRST

    def committed(self) -> str:
        """The ID of the committed layout, empty where there is none."""
        return self.run("cat", "/etc/carveout/committed", check=False).strip()

    def await_file(self, path: str) -> None:
        """Wait until the host, which may boot meanwhile, has the file."""

        def there() -> bool:
            try:
                return bool(self.run("ls", path, check=False, limit=30))
            except subprocess.TimeoutExpired:
                self.hang_up()
                return False

        wait_for(path, 600, there)

    def measure(self) -> State:
        """What it is now."""
        self.await_devices()
        files = self.run(
            "find", *_FILES, "-type", "f", "-exec", "sha256sum", "{}", "+", check=False
        ).splitlines()
        links = self.run("find", *_FILES, "-type", "l", "-printf", "%p %l\\n", check=False).splitlines()
        iomem = self.run("cat", "/proc/iomem").splitlines()
        meminfo = self.run("cat", "/proc/meminfo").split()
        return State(
            # a trial that became permanent runs on with what only it had, at the end of its command line
            self.run("cat", "/proc/cmdline").strip().partition(" carveout.trial")[0],
            tuple(line for line in iomem if line.endswith("System RAM")),
            int(meminfo[meminfo.index("MemTotal:") + 1]) * 1024,
            {
                **{path: digest for digest, path in (line.split(None, 1) for line in files)},
                **{path: target for path, _, target in (line.partition(" ") for line in links)},
            },
            str(self.devices()),
        )


def _power_cycle_command() -> list[str]:
    words = ["-m", "lab", "--name", "{{ inventory_hostname }}", "power-cycle"]
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, *words]
