# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done to a host with one of the boot loaders, one step after the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.changes.kernel_package import kernel_package
from tests.safety.host import plan
from tests.tenant.host import must

from .host import BootHost

#: MiB of the plan that is committed, and of the one that is tried.
_SIZE, _OTHER = 512, 256
#: Seconds for a trial and the boot after it, on a machine that does more than this.
_TIMEOUT = 600
#: A kernel of another release that is newer than the host's, so that it becomes the default.
_LATER = "6.18"


def _fresh(host: BootHost) -> None:
    """from nothing to committed by one reboot; a second run changes nothing; a plain reboot keeps it"""
    if host.has_grub:
        # what is generated on the host, not when its image was made, is what a rollback has to come back to
        host.run("update-grub")
        # GRUB leaves an empty choice behind when it has followed one
        host.run("grub-editenv", "/boot/grub/grubenv", "set", "next_entry=")
    host.note_boots()
    host.remember(host.measure())
    job = host.site(plan(_SIZE), carveout_trial_minutes=15, carveout_reboot_timeout=_TIMEOUT)
    must(job.ok, f"the main job failed:\n{job.said[-6000:]}")
    lines = host.boots()
    must(len(lines) == 1, f"{len(lines)} boots instead of one: {lines}")
    must("carveout.trial" in lines[0].split(), f"it was no trial: {lines[0]}")
    print(f"ok  committed by one boot: {lines[0]}", flush=True)
    job = host.site(plan(_SIZE))
    must(job.ok and re.search(r"changed=0 ", job.said) is not None, f"a second run:\n{job.said[-3000:]}")
    must(len(host.boots()) == 1, "the second run rebooted")
    print("ok  the second run changed nothing", flush=True)
    host.reboot()
    line = host.boots()[-1]
    must("carveout.trial" not in line and "carveout.layout=" in line, f"after a reboot: {line}")
    host.verify()
    print(f"ok  a reboot later: {line}", flush=True)


def _panic(host: BootHost) -> None:
    """a trial that panics: back by itself, with its old arguments, every file as before"""
    before = host.measure()
    committed = host.run("cat", "/etc/carveout/committed").strip()
    arguments = ["panic=10", "rdinit=/nonexistent"]
    others: dict[str, Any] = {"carveout_trial_minutes": 5, "carveout_reboot_timeout": _TIMEOUT}
    job = host.site(plan(_OTHER), carveout_trial_arguments=arguments, **others)
    must(not job.ok, f"the run succeeded:\n{job.said[-3000:]}")
    for words in (
        "so the host came back by itself",
        "Kernel panic - not syncing",
        f"of the layout {committed}",
    ):
        must(words in job.said, f"the message lacks {words!r}:\n{job.said[-6000:]}")
    before.compare(host.measure())
    print("ok  back on the old arguments, all as before", flush=True)


def _later(host: BootHost) -> None:
    """a newer kernel's package: its entry has the arguments, it boots with them, and goes again"""
    package = kernel_package(_LATER)
    old = host.run("uname", "-r").strip()
    before = host.measure()
    arguments = host.boots()[-1].partition("carveout.layout=")[2]
    host.send({"/root/kernel.deb": (package.file.read_bytes(), 0o644)})
    host.run("dpkg", "-i", "/root/kernel.deb", limit=900)
    host.reboot()
    must(host.run("uname", "-r").strip() == package.release, f"{package.release} is not the default")
    line = host.boots()[-1]
    must(line.partition("carveout.layout=")[2] == arguments, f"it boots with {line}, not with {arguments}")
    must("carveout.trial" not in line, f"it boots with {line}")
    print(f"ok  {package.release}: {line}", flush=True)
    # it asks before it takes the running kernel away
    answer = b"linux-base linux-base/removing-running-kernel boolean false\n"
    host.run("debconf-set-selections", stdin=answer)
    purge = ["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--purge", f"linux-image-{package.release}"]
    host.run(*purge, limit=900)
    host.reboot()
    must(host.run("uname", "-r").strip() == old, f"{old} is not the default again")
    before.compare(host.measure())
    print(f"ok  {old} again, all as before", flush=True)


def _rollback(host: BootHost) -> None:
    """the rollback: old arguments, and every file of the boot loader as before the first run"""
    job = host.play("carveout.memory.rollback", {})
    must(job.ok, f"the rollback failed:\n{job.said[-4000:]}")
    host.remembered().compare(host.measure())
    print("ok  all as before the first run", flush=True)


STEPS: dict[str, Callable[[BootHost], None]] = {
    "fresh": _fresh,
    "panic": _panic,
    "later": _later,
    "rollback": _rollback,
}
