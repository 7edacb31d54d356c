# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.rollout_waves``: which hosts are worked on together, or why none is."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.classes import strangers
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.preview import preview_text, refusals
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    PLANNED,
    kept_layout,
    read_records,
    stop,
    update_record,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.waves import Member, batches
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "list", "elements": "str", "required": True},
                "records": {"type": "path", "required": True},
                "waves": {"type": "list", "elements": "raw", "required": True},
                "waves_now": {"type": "int"},
                "domain_limit": {"type": "int", "default": 1},
                "failure_budget": {"type": "int", "default": 0},
                "allow_different": {"type": "bool", "default": False},
            }
        )
        folder = options["records"]
        try:
            refuse_told(task_vars)
            records = read_records(folder, options["hosts"])
            different = strangers(records, lambda host: Layout.from_json(kept_layout(folder, host)))
            members = [Member(r.host, r.domain, r.canary) for r in records if r.state == PLANNED]
            found = batches(members, options["waves"], options["domain_limit"])
            if options["waves_now"] is not None:
                found = [batch for batch in found if batch.wave <= options["waves_now"]]
            why = refusals(
                records, [] if options["allow_different"] else different, options["failure_budget"]
            )
            if why:
                stop(folder, "; ".join(why))
                found = []
            for batch in found:
                for host in batch.hosts:
                    update_record(folder, host, wave=batch.wave)
        except CarveoutError as error:
            return {"failed": True, "msg": str(error)}
        except (OSError, ValueError) as error:
            return {"failed": True, "msg": f"the rollout cannot be planned: {error}"}
        own = {host: [batch.number] for batch in found for host in batch.hosts}
        # the host that this task runs for is asked first what comes next, so it has to name all batches in their order
        first = str((task_vars or {}).get("inventory_hostname", ""))
        return {
            "changed": False,
            "batches": [batch.to_json() for batch in found],
            "numbers": {**own, first: [batch.number for batch in found]},
            "text": preview_text(records, found, different, why),
        }
