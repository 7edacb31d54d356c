# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.rollout_note``: where a host of a rollout stands, in a file of the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    COMMITTED,
    FAILED,
    SETTLED,
    UNPLANNABLE,
    UNREACHABLE,
    WORKING,
    update_record,
)

#: Fields of a record that stay as they are where the task does not name them.
_KEPT = {"phase": "step", "drained": "drained"}


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        states = [WORKING, COMMITTED, FAILED, SETTLED, UNREACHABLE, UNPLANNABLE]
        _, options = self.validate_argument_spec(
            argument_spec={
                "records": {"type": "path", "required": True},
                "state": {"type": "str", "required": True, "choices": states},
                "step": {"type": "str"},
                "why": {"type": "str", "default": ""},
                "down": {"type": "bool", "default": False},
                "drained": {"type": "bool"},
            }
        )
        fields = {"state": options["state"], "why": options["why"], "down": options["down"]}
        fields |= {key: options[word] for key, word in _KEPT.items() if options[word] is not None}
        name = str((task_vars or {}).get("inventory_hostname", ""))
        try:
            update_record(options["records"], name, **fields)
        except OSError as error:
            return {"failed": True, "msg": f"the rollout cannot be noted: {error}"}
        return {"changed": False}
