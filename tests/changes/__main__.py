# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.changes``: what changes on a host later, on the lab's virtual host."""

from __future__ import annotations

import sys

from tests import steps
from tests.rollback.host import RollbackHost

from . import adopt, dmemfs, kernel, memory

_STEPS: steps.Steps[RollbackHost] = {
    "kernel": (
        kernel.run,
        "a second kernel: warned of, held to the layout, recorded; and one that does not hold",
    ),
    "memory": (memory.run, "memory added, taken out, and replaced so that a node begins elsewhere"),
    "adopt": (adopt.run, "hand-written memmap= adopted into a plan: the same map"),
    "dmemfs": (dmemfs.run, "a second kernel that claims dmemfs: installed, on trial, for good, rolled back"),
}


if __name__ == "__main__":
    sys.exit(steps.run("changes", __doc__, _STEPS, RollbackHost))
