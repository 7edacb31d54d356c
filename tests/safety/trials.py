# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trials that fail: what is done to them by arguments that only they have, and what the run has to say about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.tenant.host import Job, must

from .host import LEFT, SafetyHost
from .prepared import CRASH, FAILS, FILLED, FREEZE, FULL, KILLS

PANIC = "panic=10"
#: A type of memory that becomes itself: ``BUG_ON(old_type == new_type)`` (arch/x86/kernel/e820.c,
#: __e820__range_update), before any console, and before ``panic=`` is read.
_DEAD = "memmap=64M%0x60000000-1+1"
_CYCLED = "so the host was power-cycled"
_ALONE = "so the host came back by itself"
#: Seconds that a run waits for a host that will not answer: some more than an emulated one boots in.
_SOON = 150


def message(job: Job) -> str:
    """The run's last message, as it is read: without JSON's escapes."""
    must(not job.ok, f"the run succeeded:\n{job.said[-3000:]}")
    last = job.said[job.said.rfind("TASK [") : job.said.rfind("PLAY RECAP")]
    return last.replace("\\n", "\n").replace('\\"', '"')


def says(job: Job, words: Sequence[str]) -> None:
    """TenantError where the run's last message lacks one of these."""
    said = message(job)
    for one in words:
        must(one in said, f"the message lacks {one!r}:\n{job.said[-6000:]}")
    print(said, flush=True)


def through(host: SafetyHost, wanted: dict[str, Any]) -> None:
    """The plan becomes the committed one."""
    before = host.committed()
    job = host.site(wanted, carveout_trial_minutes=15)
    must(job.ok, f"the corrected plan failed:\n{job.said[-4000:]}")
    must(host.committed() != before, "the corrected plan was not committed")
    print("ok  the corrected plan went through to its commit", flush=True)


def _failing(host: SafetyHost, arguments: Sequence[str], words: Sequence[str], **others: Any) -> None:
    """A trial with these arguments: the host is as before, the run says why; without them the plan goes through."""
    before, committed, wanted = host.measure(), host.committed(), host.wanted()
    job = host.site(wanted, carveout_trial_arguments=[*arguments], **{"carveout_trial_minutes": 10, **others})
    says(job, ("The trial boot of the layout", f"of the layout {committed}", *words))
    before.compare(host.measure())
    print("ok  the host is as before", flush=True)
    host.run("rm", "-f", FILLED)
    if host.corrected:
        through(host, wanted)


def panic(host: SafetyHost) -> None:
    """the kernel panics: no root file system"""
    _failing(host, (PANIC, "rdinit=/nonexistent"), (_ALONE, "Kernel panic - not syncing"))


def early_reset(host: SafetyHost) -> None:
    """the kernel has 4 MiB, and dies before it reads panic=: the machine resets itself"""
    _failing(host, (PANIC, "mem=4M"), (_ALONE, "was not kept"))


def dead(host: SafetyHost) -> None:
    """the kernel stops before it reads panic=: only a power cycle brings the host back"""
    _failing(host, (PANIC, _DEAD), (_CYCLED, "was not kept"), carveout_reboot_timeout=_SOON)


def dead_unattended(host: SafetyHost) -> None:
    """the same, and the run has no command to cut the power; later somebody pulls the plug"""
    before, committed, wanted = host.measure(), host.committed(), host.wanted()
    job = host.site(
        wanted, carveout_trial_arguments=[PANIC, _DEAD], carveout_power_cycle_command=[],
        carveout_reboot_timeout=_SOON,
    )  # fmt: skip
    says(
        job,
        (
            "The host did not come back from its trial boot",
            "Power-cycle it: every boot after the trial has the old arguments",
            "The next run takes away what is left of the trial",
        ),
    )
    host.cut_power()
    before.compare(host.measure(), *LEFT)
    print("ok  after the power cut the host has its old arguments", flush=True)
    through(host, wanted)
    must(host.committed() != committed, "nothing new was committed")


def hang_before(host: SafetyHost) -> None:
    """it hangs before user space: waits for a disk that is not there"""
    arguments = (PANIC, "resume=/dev/nowhere", "resumewait")
    _failing(host, arguments, (_CYCLED, "was not kept"), carveout_reboot_timeout=_SOON)


def little_memory(host: SafetyHost) -> None:
    """the kernel starts with too little memory for ssh"""
    _failing(host, (PANIC, "mem=84M"), (_ALONE,), carveout_trial_minutes=2)


def no_network(host: SafetyHost) -> None:
    """the network never comes back"""
    arguments = (PANIC, "systemd.mask=systemd-networkd.service")
    words = (_ALONE, "nobody could log in within 2 minutes", "Service reached runtime time limit")
    _failing(host, arguments, words, carveout_trial_minutes=2)


def frozen(host: SafetyHost) -> None:
    """systemd hangs before anyone can log in, and with it the trial's switch: the hardware watchdog resets the host"""
    words = (_ALONE, "The host's watchdog (i6300ESB timer) says that it reset the host", "Freeze systemd")
    _failing(host, (PANIC, FREEZE), words)


def crashed(host: SafetyHost) -> None:
    """systemd crashes before anyone can log in"""
    words = (_ALONE, "Caught <SEGV>", "Rebooting in 10s")
    _failing(host, (PANIC, "systemd.crash_reboot", "systemd.watchdog_sec=0", CRASH), words)


def memory_map(host: SafetyHost) -> None:
    """64 MiB of memory are not where they are predicted"""
    words = ("the memory map is not the predicted one: [0x60000000, 0x64000000) is not System RAM",)
    _failing(host, (PANIC, "memmap=64M%0x60000000-1+2"), words)


def no_devices(host: SafetyHost) -> None:
    """the memory is as planned, but no device can be made of it"""
    _failing(host, (PANIC, "module_blacklist=dax_hmem"), ("dax",))


def menu_fails(host: SafetyHost) -> None:
    """the trial is verified, and grub-mkconfig fails in the commit"""
    _failing(host, (PANIC, FAILS), ("failed with status 1", "safety: nothing can be read here"))


def commit_killed(host: SafetyHost) -> None:
    """what commits is killed on the host when the menu has the new arguments, and nothing else is done"""
    _failing(host, (PANIC, KILLS), ("Make the arguments permanent that were on trial",))


def disk_full(host: SafetyHost) -> None:
    """the disk is full from the trial's boot on"""
    _failing(host, (PANIC, FULL), ("No space left on device",))
