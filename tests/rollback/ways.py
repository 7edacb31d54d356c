# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways back: what is done, and what has to be there afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.tenant.host import must, wait_for

from .host import RollbackHost

_PREVIOUS, _VERIFIED, _COMMITTED = (f"/etc/carveout/{name}" for name in ("previous", "verified", "committed"))

#: What the kernel starts instead of systemd.
_INIT = "/root/bare"
_BARE = """#!/bin/sh
PATH=/usr/sbin:/usr/bin
carveout rollback > /run/said 2>&1
mount -o remount,rw /
(
    carveout status
    carveout rollback --reboot
) >> /run/said 2>&1
cp /run/said /root/said
sync
sleep 5
reboot -f
"""


def plan(megabytes: int) -> dict[str, Any]:
    """A small plan with a device and huge pages; with another size it has another layout, and another mount."""
    return {
        "version": 1,
        "kernel": {"memory": "1GiB"},
        "pools": {
            "guests": {
                "mechanism": "dax",
                "nodes": {1: f"{megabytes}MiB"},
                "devices": [
                    {"name": f"vm-{megabytes}", "size": "rest", "unit": f"tenant-{megabytes}.service"}
                ],
            },
            "pages": {
                "mechanism": "hugetlb",
                "page_size": "2MiB",
                "nodes": {0: "64MiB"},
                "mounts": [{"path": f"/mnt/pages-{megabytes}", "size": "32MiB"}],
            },
        },
    }


class _Carved:
    """A host with A and then B carved, and its files after each."""

    def __init__(self, host: RollbackHost) -> None:
        self.bare, self.memory = host.files(), host.memory()
        must(not host.layout(), "the host has a layout already")
        host.site(plan(512))
        self.first, self.of_first, self.first_memory = host.layout(), host.files(), host.memory()
        self.first_devices = host.devices()
        host.site(plan(256))
        self.second, self.of_second = host.layout(), host.files()
        must(len({self.first, self.second, ""}) == 3, "the two plans have no two layouts")
        must(host.text(_PREVIOUS) == self.first, "the layout before is not recorded")
        again = host.site(plan(256))
        must("changed=0 " in again.said, f"a run with nothing to do does something:\n{again.said[-2000:]}")

    def back_at_first(self, host: RollbackHost, *others: str) -> None:
        """The host has A as it had it, but for B's layout file (and ``others``)."""
        must(host.layout() == self.first, f"the boot is for {host.layout()}, not {self.first}")
        must(host.memory() == self.first_memory, f"the kernel has {host.memory()}")
        must(host.devices() == self.first_devices, f"the devices are {host.devices()}")
        must(host.text(_COMMITTED) == self.first, f"committed is {host.text(_COMMITTED)}")
        _same(host, self.of_first, f"/etc/carveout/layouts/{self.second}.json", *others)
        host.verify()

    def back_at_none(self, host: RollbackHost, *others: str) -> None:
        must(not host.layout() and host.memory() == self.memory, f"the kernel has {host.memory()}")
        _same(host, self.bare, *others)


def _same(host: RollbackHost, before: Mapping[str, str], *others: str) -> None:
    """Every file is as it was, but for ``others``."""
    now = host.files()
    different = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
    # a directory's own line says nothing of what is in it
    must(different == {*others}, f"not as before: {sorted(different)}, expected {sorted(others)}")
    print(f"    {len(now)} paths as before, but for {sorted(others) or 'none'}", flush=True)


def by_playbook(host: RollbackHost) -> None:
    """To the layout before with one reboot, to what is committed, to none; refusals; check mode."""
    carved = _Carved(host)
    boot = host.boot_id()
    host.refused("carveout.memory.rollback", "is not on this host", carveout_rollback_to="0123456789abcdef")
    tenant = _open(host, "vm-256")
    host.refused("carveout.memory.rollback", "is in use by", carveout_rollback_to="previous")
    host.refused("carveout.memory.rollback", "is in use by")
    host.run("kill", str(tenant))
    _same(host, carved.of_second)
    must(host.boot_id() == boot, "a refused rollback rebooted the host")

    started, boots = time.monotonic(), host.boots()
    host.must_play("carveout.memory.rollback", carveout_rollback_to="previous")
    carved.back_at_first(host)
    _one_boot(host, boots, "to the layout before, by playbook", started)
    host.refused(
        "carveout.memory.rollback", "no layout is known from before", carveout_rollback_to="previous"
    )
    again = host.must_play("carveout.memory.rollback", carveout_rollback_to=carved.first)
    must("changed=0 " in again.said, f"it is not at its end:\n{again.said[-2000:]}")

    # a run that was stopped after it wrote other arguments
    host.console("rollback", "--to", carved.second)
    host.run("sh", "-c", f"echo {carved.first} > {_COMMITTED}")
    boot = host.boot_id()
    host.must_play("carveout.memory.rollback", carveout_rollback_to="committed")
    must(host.boot_id() == boot, "going back to what runs rebooted the host")
    carved.back_at_first(host, *[p for p in (_PREVIOUS,) if host.text(p)])

    started, boots = time.monotonic(), host.boots()
    host.must_play("carveout.memory.rollback")
    carved.back_at_none(host)
    _one_boot(host, boots, "to none, by playbook, without a plan", started)
    again = host.must_play("carveout.memory.rollback")
    must("changed=0 " in again.said, f"it is not at its end:\n{again.said[-2000:]}")


def by_console(host: RollbackHost) -> None:
    """The same by the host's own command."""
    carved = _Carved(host)
    print(host.console("status"), end="", flush=True)
    tenant = _open(host, "vm-256")
    must("is in use by" in host.console("rollback", status=3), "a device in use was not looked at")
    must(
        "is in use by" in host.console("rollback", "--to", "previous", status=3), "nor for the layout before"
    )
    host.run("kill", str(tenant))
    must("nothing was changed" in host.console("rollback", "--dry-run"), "a look does not say that it is one")
    _same(host, carved.of_second)

    started, boots = time.monotonic(), host.boots()
    said = host.console("rollback", "--to", "previous")
    must("reboot to have that memory layout" in said, said)
    told = host.console("status", status=5)
    must(f"boots next    {carved.first}" in told and "to be done    reboot" in told, told)
    host.reboot()
    carved.back_at_first(host, _VERIFIED)
    log = host.run("journalctl", "-b", "-o", "cat", "-u", "carveout-dax.service")
    must("was verified with no known kernel; with" in log, f"the boot was not held to its layout: {log}")
    _one_boot(host, boots, "to the layout before, on the console", started)
    job = host.site(plan(512))
    must(host.text(_VERIFIED).startswith(carved.first), f"the main job recorded nothing:\n{job.said[-2000:]}")
    host.console("status")

    started, boots = time.monotonic(), host.boots()
    said = host.console("rollback")
    must("reboot to have the memory back" in said, said)
    must(not host.text("/usr/sbin/carveout"), "the command is still there")
    host.reboot()
    carved.back_at_none(host)
    _one_boot(host, boots, "to none, on the console", started)


def without_systemd(host: RollbackHost) -> None:
    """A kernel that was told to start a shell instead of systemd: nothing else runs, the disk is read-only."""
    carved = _Carved(host)
    started = time.monotonic()
    boot, boots = host.boot_id(), host.boots()
    host.send({_INIT: (_BARE.encode(), 0o755)})
    menu = host.run("cat", "/boot/grub/grub.cfg").splitlines()
    first = next(n for n, line in enumerate(menu) if line.startswith("menuentry "))
    entry = menu[first : menu.index("}", first) + 1]
    entry[0] = "menuentry 'bare' --id bare {"
    entry = [f"{line} init={_INIT}" if line.split()[:1] == ["linux"] else line for line in entry]
    host.send({"/boot/grub/custom.cfg": ("\n".join([*entry, ""]).encode(), 0o644)})
    host.run("grub-reboot", "bare")
    host.run("systemctl", "reboot", check=False)
    host.await_boot(boot)
    said = host.text("/root/said")
    for words in (
        "/ is mounted read-only; 'mount -o remount,rw /' first. Nothing was changed",
        f"committed     {carved.second}",
        "the next boot is for no layout; rebooting",
    ):
        must(words in said, f"the shell does not show {words!r}:\n{said}")
    must("Traceback" not in said, said)
    must(host.boots() == boots + 2, f"{host.boots() - boots} boots, not one of the shell and one after it")
    host.run("rm", "/root/said", _INIT, "/boot/grub/custom.cfg")
    # GRUB leaves an empty choice there when it has followed one
    carved.back_at_none(host, "/boot/grub/grubenv")
    print(f"ok  to none, without systemd: {time.monotonic() - started:.0f} s\n{said}", flush=True)


def _open(host: RollbackHost, device: str) -> int:
    """A tenant that has a device open; its process ID."""
    pid = host.background(f"sh -c 'exec 9<>/dev/carveout/{device}; exec sleep 600' >/dev/null 2>&1")
    wait_for("the tenant", 30, lambda: "sleep" in host.text(f"/proc/{pid}/comm"))
    return pid


def _one_boot(host: RollbackHost, before: int, what: str, started: float) -> None:
    must(host.boots() == before + 1, f"{what}: {host.boots() - before} boots, not one")
    print(f"ok  {what}: one boot, {time.monotonic() - started:.0f} s", flush=True)
