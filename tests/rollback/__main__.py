# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.rollback``: back to the layout before and to none, by playbook and console. Some 15 minutes."""

from __future__ import annotations

import sys

from tests import steps

from . import ways
from .host import RollbackHost

_STEPS: steps.Steps[RollbackHost] = {
    "playbook": (
        ways.by_playbook,
        "carve A, then B; the playbook goes back to A, and to none without a plan",
    ),
    "console": (ways.by_console, "the same by 'carveout rollback' on the host, with what it refuses"),
    "bare": (
        ways.without_systemd,
        "'carveout rollback' in a shell that the kernel started instead of systemd",
    ),
}


if __name__ == "__main__":
    sys.exit(steps.run("rollback", __doc__, _STEPS, RollbackHost))
