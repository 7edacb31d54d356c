# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.tenant``: what tenants see of a carved host, on the lab's virtual host. Needs some 30 minutes."""

from __future__ import annotations

import sys
import time

from tests import steps

from . import again, guests, live
from .host import Host, lab_plan, must

_STEPS: steps.Steps[Host] = {
    "guests": (guests.run, "virtual machines in every device and mount, Linux in one"),
    "live": (live.run, "devices grown, shrunk, renamed, added, removed; refusals; failing steps"),
    "kexec": (again.kexec, "the same devices, with their contents, after kexec -s"),
    "power-cut": (again.power_cut, "the same devices after the power was cut"),
}


def _carved(host: Host) -> None:
    started = time.monotonic()
    host.up()
    job = host.carve(lab_plan())
    must(job.ok, f"the main job failed:\n{job.said[-4000:]}")
    print(f"== carved: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(steps.run("tenant", __doc__, _STEPS, Host, begin=_carved))
