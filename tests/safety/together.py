# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two runs on one host at the same time."""

from __future__ import annotations

from tests.tenant.host import ended, must

from .host import SafetyHost, plan

#: MiB of the pool that neither of the two plans has which are committed by turns.
_THIRD = 768
_WORDS = ("another run", "Somebody else rebooted", "did not stay", "unreachable=1")


def two_runs(host: SafetyHost) -> None:
    """two runs with different plans at once: at most one is committed, the other is refused and harms nothing"""
    before = host.committed()
    runs = [host.begin(wanted, carveout_trial_minutes=10) for wanted in (host.wanted(), plan(_THIRD))]
    jobs = [ended(run) for run in runs]
    must(not all(job.ok for job in jobs), "both runs say that their layout is committed")
    for job in jobs:
        if not job.ok:
            must(any(words in job.said for words in _WORDS), f"it does not say why:\n{job.said[-4000:]}")
            print(job.said[job.said.rfind("TASK [") :], flush=True)
    host.hang_up()
    now = host.committed()
    must((now != before) is any(job.ok for job in jobs), f"committed is {now}, and was {before}")
    must(f"carveout.layout={now}" in host.run("cat", "/proc/cmdline"), f"the host does not run with {now}")
    host.verify()
    left = host.run(
        "sh", "-c", "ls /boot/grub/custom.cfg /etc/systemd/system/carveout-trial.service 2>&1", check=False
    )
    must(left.count("No such file") == 2, f"something of a trial is left: {left}")
    print(f"ok  {sum(job.ok for job in jobs)} of two runs was committed", flush=True)
    job = host.site(plan(_THIRD))
    must(job.ok, f"the next run failed:\n{job.said[-4000:]}")
    host.verify()
    print("ok  the next run leads to its layout", flush=True)
