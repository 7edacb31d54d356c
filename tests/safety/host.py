# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machine that trials are made to fail on: what it was before and is afterwards."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.carveout.memory.lab import machine
from ansible_collections.carveout.memory.lab.flavour import DEFAULT, Flavour
from ansible_collections.carveout.memory.lab.vm import Wishes
from tests.tenant.host import ROOT, Host, Job, must

NODE_MEMORY = (3 * machine.GIB, 2 * machine.GIB)
#: What a boot reads and writes, and what Carveout has on a host.
_FILES = (
    "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/boot/grub/custom.cfg", "/etc/default/grub",
    "/etc/default/grub.d", "/etc/grub.d", "/etc/kernel",
    "/boot/efi/loader/loader.conf", "/boot/efi/loader/entries", "/etc/carveout", "/etc/systemd/system",
)  # fmt: skip
#: Bytes by which MemTotal differs from boot to boot: where the kernel lies decides what it can give back.
_MEMTOTAL = 1 << 20
#: Seconds in which an emulated host boots on a busy machine.
TIMEOUT = 240


class State(NamedTuple):
    """A host as it has to be again after a trial that failed."""

    cmdline: str
    ram: tuple[str, ...]
    total: int
    files: Mapping[str, str]
    device: str

    def compare(self, now: State) -> None:
        """TenantError where ``now`` is another."""
        must(now.cmdline == self.cmdline, f"the host runs with {now.cmdline}, before with {self.cmdline}")
        must(now.ram == self.ram, f"the kernel has the memory {now.ram}, before {self.ram}")
        must(abs(now.total - self.total) <= _MEMTOTAL, f"MemTotal is {now.total}, before {self.total}")
        changed = {path for path in {*self.files, *now.files} if self.files.get(path) != now.files.get(path)}
        must(not changed, f"not as before: {', '.join(sorted(changed))}")
        must(now.device == self.device, f"the device is {now.device}, before {self.device}")


class SafetyHost(Host):
    """A host with a layout committed by a trial boot; its power is cycled by the lab."""

    def __init__(self, name: str, flavour: Flavour = DEFAULT) -> None:
        super().__init__(name)
        self._flavour = flavour

    def up(self) -> None:
        wishes = Wishes(NODE_MEMORY, firmware=self._flavour.firmware, loader=self._flavour.loader)
        self._vm.up(wishes, 600)

    def site(self, plan: Mapping[str, Any], **others: Any) -> Job:
        """The main job. The connection of before does not outlive its reboots."""
        self.hang_up()
        common = {"carveout_reboot_timeout": TIMEOUT, "carveout_power_cycle_command": _power_cycle_command()}
        return self.play("carveout.memory.site", {"carveout_plan": plan, **common, **others})

    def measure(self) -> State:
        """What it is now."""
        files = self.run(
            "find", *_FILES, "-type", "f", "-exec", "sha256sum", "{}", "+", check=False
        ).splitlines()
        iomem = self.run("cat", "/proc/iomem").splitlines()
        meminfo = self.run("cat", "/proc/meminfo").split()
        return State(
            # a trial that became permanent runs on with what only it had, at the end of its command line
            self.run("cat", "/proc/cmdline").strip().partition(" carveout.trial")[0],
            tuple(line for line in iomem if line.endswith("System RAM")),
            int(meminfo[meminfo.index("MemTotal:") + 1]) * 1024,
            {path: digest for digest, path in (line.split(None, 1) for line in files)},
            str(self.devices()),
        )


def _power_cycle_command() -> list[str]:
    words = ["-m", "lab", "--name", "{{ inventory_hostname }}", "power-cycle"]
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, *words]
