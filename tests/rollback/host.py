# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machine as going back has to leave it: its files byte for byte, its memory, its devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.carveout.memory.lab import machine
from ansible_collections.carveout.memory.lab.vm import Wishes
from tests.tenant.host import Host, Job, TenantError, must, wait_for

NODE_MEMORY = (3 * machine.GIB, 2 * machine.GIB)
COMMAND = "/usr/sbin/carveout"
#: Seconds in which an emulated host boots on a busy machine.
TIMEOUT = 300
#: Paths, types, permissions, owners, targets of links and checksums of all that is not made anew by a boot.
_FILES = r"""
find /etc /boot /usr/lib/carveout /usr/sbin /mnt /root -xdev \( -type f -o -type l -o -type d \) \
    -printf '%p %y %m %U %G %l\n' 2>/dev/null | sort | while read -r path kind rest; do
        printf '%s %s %s %s\n' "$path" "$kind" "$rest" "$([ "$kind" = f ] && sha256sum < "$path")"
    done
"""


class RollbackHost(Host):
    """A host that is carved, changed and taken back."""

    def up(self) -> None:
        self._vm.up(Wishes(node_memory=NODE_MEMORY), 600)

    def switch(self, node_memory: tuple[int, ...]) -> None:
        """Switch the machine off, and on again with other memory."""
        self.hang_up()
        self._vm.down()
        self._vm.up(Wishes(node_memory=node_memory), 600)
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def shown(self) -> str:
        """What its serial line showed since the boot loader last started a kernel."""
        return (
            self._vm.console.read_bytes().rpartition(b"Loading initial ramdisk")[2].decode(errors="replace")
        )

    def files(self) -> dict[str, str]:
        """By path all that there is to compare."""
        lines = self.run("sh", "-c", _FILES).splitlines()
        return {path: rest for path, _, rest in (line.partition(" ") for line in lines)}

    def site(self, plan: Mapping[str, Any]) -> Job:
        """The main job, which has to succeed."""
        return self.must_play("carveout.memory.site", carveout_plan=plan)

    def must_play(self, name: str, **variables: Any) -> Job:
        """A playbook, which has to succeed. The connection of before does not outlive its reboots."""
        self.hang_up()
        job = self.play(name, {"carveout_reboot_timeout": TIMEOUT, **variables})
        must(job.ok and "Traceback" not in job.said, f"{name} failed:\n{job.said[-5000:]}")
        return job

    def refused(self, name: str, *words: str, **variables: Any) -> None:
        """A playbook, which has to fail with these words."""
        self.hang_up()
        job = self.play(name, {"carveout_reboot_timeout": TIMEOUT, **variables})
        must(not job.ok and "Traceback" not in job.said, f"{name} was not refused:\n{job.said[-3000:]}")
        for word in words:
            must(word in job.said.replace("\\n", "\n"), f"it does not say {word!r}:\n{job.said[-4000:]}")

    def console(self, *words: str, status: int = 0) -> str:
        """The host's own command, and what it says; it has to end with ``status``."""
        said = self.run("sh", "-c", '"$@" 2>&1; echo "status $?"', "sh", COMMAND, *words, check=False)
        said, _, code = said.rpartition("status ")
        must(code.strip() == str(status), f"{COMMAND} {' '.join(words)} ended with {code.strip()}: {said}")
        must("Traceback" not in said, said)
        return said

    def reboot(self) -> None:
        """As an operator does it. What the boot has is not waited for."""
        before = self.boot_id()
        self.run("systemctl", "reboot", check=False)
        self.await_boot(before)

    def await_boot(self, before: str) -> None:
        """Wait for another boot than this, and until it has come to its end."""

        def rebooted() -> bool:
            try:
                return self.boot_id() != before
            except (TenantError, OSError, TimeoutError):
                self.hang_up()
                return False

        self.hang_up()
        wait_for("the next boot", TIMEOUT, rebooted)
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def boots(self) -> int:
        """How often the boot loader has started a kernel since the machine was switched on."""
        return self._vm.console.read_bytes().count(b"Loading initial ramdisk")

    def layout(self) -> str:
        """ID of the layout that this boot is for, empty for none."""
        words = self.run("cat", "/proc/cmdline").split()
        return next((w.partition("=")[2] for w in words if w.startswith("carveout.layout=")), "")

    def text(self, path: str) -> str:
        """A file's text without blanks around it, empty where there is none."""
        return self.run("cat", path, check=False).strip()

    def ranges(self) -> tuple[str, ...]:
        """What the kernel took from the map, at the top level of /proc/iomem."""
        names = ("System RAM", "Soft Reserved", "Reserved", "Persistent Memory (legacy)")
        lines = self.run("cat", "/proc/iomem").splitlines()
        return tuple(line for line in lines if line.endswith(names) and not line.startswith(" "))

    def memory(self) -> tuple[str, ...]:
        """Where System RAM lies."""
        lines = self.run("cat", "/proc/iomem").splitlines()
        return tuple(line for line in lines if line.endswith("System RAM"))
