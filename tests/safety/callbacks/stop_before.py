# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Ansible callback: the run is killed before a task, as by the kernel or a controller that loses its power."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stop_before
type: notification
short_description: Kill the run before the task that CARVEOUT_STOP_BEFORE names
description: For tests of what a run leaves that ends in the middle.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Nothing of the run is told of it, and nothing is put in order."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "stop_before"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """The display has shown the task's name by now, but nothing of it was done."""
        if task.name == os.environ["CARVEOUT_STOP_BEFORE"]:
            os.killpg(0, signal.SIGKILL)
