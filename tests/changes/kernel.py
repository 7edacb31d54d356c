# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Another kernel on a carved host: warned of before it boots, held to the layout when it does, then verified.

The other is Debian's 6.1 beside the 6.12 of the lab's image. As no kernel at hand breaks a layout, the one that fails
has an argument too many.
"""

from __future__ import annotations

import time
from typing import Any

from tests.rollback.host import RollbackHost
from tests.tenant.host import must

from .kernel_package import kernel_package

#: Which entry boots by default, and what only the failing boot has.
_CHOICE = "/etc/default/grub.d/later-kernel.cfg"
_SERVICE = "carveout-dax.service"
_EXTRA = "memmap=64M%0x60000000-1+2"


def plan() -> dict[str, Any]:
    devices = [{"name": "vm-a", "size": "rest"}]
    pools = {"guests": {"mechanism": "dax", "nodes": {1: "512MiB"}, "devices": devices}}
    return {"version": 1, "kernel": {"memory": "1GiB"}, "pools": pools}


def run(host: RollbackHost) -> None:
    """All of it; TenantError where something is not as it has to be."""
    package = kernel_package("6.1")
    old = host.run("uname", "-r").strip()
    must(old != package.release, f"the host runs {old} already")
    memory = host.memory()
    host.site(plan())
    layout = host.layout()
    must(host.text("/etc/carveout/verified") == f"{layout} {old}", "the kernel of the commit is not recorded")
    _installed(host, package.release, package.file.read_bytes())
    _warned_of(host, package.release, old)
    _held_to_it(host, package.release, old)
    _recorded(host, layout, package.release)
    _refused(host, layout, old, package.release)
    _back(host, memory)


def _installed(host: RollbackHost, release: str, package: bytes) -> None:
    host.send({"/root/kernel.deb": (package, 0o644)})
    host.run("sh", "-c", "dpkg -i /root/kernel.deb && rm /root/kernel.deb", limit=1800)
    _choose(host, release)


def _choose(host: RollbackHost, release: str, extra: str = "") -> None:
    """Have a kernel boot by default, as an operator or a package would."""
    menu = host.run("cat", "/boot/grub/grub.cfg")
    words = [word.strip("'") for word in menu.split() if f"gnulinux-{release}-advanced-" in word]
    more = [word.strip("'") for word in menu.split() if "gnulinux-advanced-" in word]
    must(bool(words and more), f"the menu has no entry of {release}")
    text = f'GRUB_DEFAULT="{more[0]}>{words[0]}"\n'
    if extra:
        text += f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {extra}"\n'
    host.send({_CHOICE: (text.encode(), 0o644)})
    host.run("update-grub", limit=600)


def _warned_of(host: RollbackHost, release: str, old: str) -> None:
    """The run says so before the host boots it, and changes nothing."""
    job = host.site(plan())
    said = " ".join(job.said.split())
    must("changed=0 " in job.said, f"the run changes something:\n{job.said[-3000:]}")
    for words in (
        f"the kernel {release} boots next",
        f"was verified with {old}. It is predicted to do the same",
    ):
        must(words in said, f"the run does not say {words!r}:\n{job.said[-3000:]}")
    print(f"ok  a run with nothing to do warns of {release}", flush=True)


def _held_to_it(host: RollbackHost, release: str, old: str) -> None:
    started = time.monotonic()
    host.reboot()
    must(host.run("uname", "-r").strip() == release, "the other kernel did not boot")
    log = host.run("journalctl", "-b", "-o", "cat", "-u", _SERVICE)
    line = next((line for line in log.splitlines() if "was verified with" in line), "")
    must(f"was verified with the kernel {old}; with {release}, which runs" in line, f"not held to it: {log}")
    must(
        host.run("systemctl", "is-active", "carveout.target").strip() == "active", "the target is not reached"
    )
    print(
        f"ok  {release} boots and is held to the layout ({time.monotonic() - started:.0f} s): {line}",
        flush=True,
    )


def _recorded(host: RollbackHost, layout: str, release: str) -> None:
    job = host.must_play("carveout.memory.verify")
    must(f"{release} runs; the main job verifies it anew" in " ".join(job.said.split()), job.said[-3000:])
    must(f"verify it with {release}" in host.console("status", status=5), "the status does not say it")
    host.site(plan())
    must(
        host.text("/etc/carveout/verified") == f"{layout} {release}", "the main job did not record the kernel"
    )
    again = host.site(plan())
    must("changed=0 " in again.said, f"the run after it changes something:\n{again.said[-3000:]}")
    host.console("status")
    print(
        f"ok  the next run verifies the whole with {release} and records it; the one after changes nothing",
        flush=True,
    )


def _refused(host: RollbackHost, layout: str, old: str, verified: str) -> None:
    """A kernel that makes something else of the memory: no device, no target, reasons on console and journal."""
    _choose(host, old, _EXTRA)
    host.reboot()
    must(_EXTRA in host.run("cat", "/proc/cmdline"), "the argument too many is not there")
    state = host.run("systemctl", "is-active", _SERVICE, "carveout.target", check=False).split()
    must(state == ["failed", "inactive"], f"service and target are {state}")
    must(not host.run("ls", "/dev/carveout", check=False).strip(), "there are devices")
    log = host.run("journalctl", "-b", "-o", "cat", "-u", _SERVICE)
    wanted = (
        "the memory map is not the predicted one: [0x60000000, 0x64000000) is not System RAM",
        f"the layout {layout} was verified with the kernel {verified} and does not hold with {old}, which runs",
        f"boot the kernel {verified}, go back with 'carveout rollback'",
    )
    shown = host.shown()
    for words in wanted:
        must(words in log, f"the journal does not say {words!r}: {log}")
        must(words in shown, f"the console does not show {words!r}: {shown[-3000:]}")
    host.refused("carveout.memory.verify", "the memory map is not the predicted one")
    print("ok  a boot that does not hold makes no device and says why, on the console too:", flush=True)
    print("\n".join(f"    {line}" for line in log.splitlines() if line.startswith("carveout: ")), flush=True)
    _choose(host, verified)
    host.reboot()
    must(
        host.run("systemctl", "is-active", "carveout.target").strip() == "active",
        "the former kernel has no devices",
    )
    host.verify()
    print(f"ok  the former kernel {verified} has its devices again", flush=True)


def _back(host: RollbackHost, memory: tuple[str, ...]) -> None:
    """From the console, whatever kernel boots: all memory is back, and the choice of the kernel is its owner's."""
    choice = host.text(_CHOICE)
    must(
        "reboot to have the memory back" in host.console("rollback"),
        "the console does not ask for the reboot",
    )
    host.reboot()
    must(not host.layout() and host.memory() == memory, f"the kernel has {host.memory()}, before {memory}")
    must(host.text(_CHOICE) == choice, f"{_CHOICE} was changed")
    left = host.run(
        "find", "/etc", "/usr", "/run/carveout", "-xdev", "-name", "*carveout*", check=False
    ).split()
    must(not left, f"left on the host: {left}")
    print("ok  'carveout rollback' on the console gives the memory back", flush=True)
