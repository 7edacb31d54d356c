# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults by their names. What each is says the first line of its function."""

from __future__ import annotations

from collections.abc import Callable

from tests.tenant.host import must

from . import stopped, together, trials
from .host import SafetyHost


def none(host: SafetyHost) -> None:
    """none: the committed trial needs nothing more, before and after the next boot"""
    wanted = host.wanted()
    trials.through(host, wanted)
    for boots in (False, True):
        if boots:
            host.cut_power()
        must(
            ("carveout.trial" in host.run("cat", "/proc/cmdline")) is not boots,
            "the command line is not the trial's until the next boot",
        )
        job = host.site(wanted)
        must(job.ok and "changed=0 " in job.said, f"a second run changes something:\n{job.said[-3000:]}")
        host.verify()
    print("ok  it verifies, and the next run changes nothing, before and after the next boot", flush=True)


FAULTS: dict[str, Callable[[SafetyHost], None]] = {
    "none": none,
    "panic": trials.panic,
    "early-reset": trials.early_reset,
    "dead": trials.dead,
    "dead-unattended": trials.dead_unattended,
    "hang-before": trials.hang_before,
    "little-memory": trials.little_memory,
    "no-network": trials.no_network,
    "frozen": trials.frozen,
    "crashed": trials.crashed,
    "map": trials.memory_map,
    "no-devices": trials.no_devices,
    "menu-fails": trials.menu_fails,
    "commit-killed": trials.commit_killed,
    "disk-full": trials.disk_full,
    "killed-before-trial": stopped.before_trial,
    "killed-before-trial-cut": stopped.before_trial_cut,
    "killed-on-trial": stopped.on_trial,
    "killed-on-trial-again": stopped.on_trial_again,
    "killed-verified": stopped.verified,
    "killed-committing": stopped.committing,
    "killed-permanent": stopped.permanent,
    "two-runs": together.two_runs,
}
