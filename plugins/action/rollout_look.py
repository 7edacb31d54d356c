# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.rollout_look``: the look of ``settled``, noted for a rollout."""

from __future__ import annotations

from typing import Any

from ansible_collections.carveout.memory.plugins.action.memory_plan import planned
from ansible_collections.carveout.memory.plugins.action.settled import ActionModule as Settled
from ansible_collections.carveout.memory.plugins.action.settled import NotSettled
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.assess import described, plan_name
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    SETTLED,
    Record,
    keep_layout,
    write_record,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told


class ActionModule(Settled):
    """See the module's documentation."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super(Settled, self).run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "raw", "required": True},
                "replan": {"type": "bool", "default": False},
                "records": {"type": "path", "required": True},
                "class": {"type": "str", "default": ""},
                "domain": {"type": "str", "default": ""},
                "canary": {"type": "bool", "default": False},
            }
        )
        name, folder = str((task_vars or {}).get("inventory_hostname", "")), options["records"]
        asked = Record(name, kind=options["class"], domain=options["domain"], canary=options["canary"])
        self._notes = []
        try:
            write_record(folder, asked)
            try:
                refuse_told(task_vars)
                _, _, layout = self._look(name, planned(options["plan"]), options["replan"])
            except (CarveoutError, NotSettled, ValueError, RecursionError) as error:
                return {
                    "changed": False,
                    "settled": False,
                    "pending": printable(str(error)),
                    "warnings": self._notes,
                }
            fields = {**vars(asked), **described(layout), "previous": layout.id, "state": SETTLED}
            fields["kind"] = asked.kind or plan_name(layout)
            write_record(folder, Record(**fields))
            keep_layout(folder, name, layout.to_json())
        except OSError as error:
            return {"failed": True, "msg": f"the rollout cannot be noted: {error}"}
        return {
            "changed": False,
            "settled": True,
            "pending": "",
            "id": layout.id,
            "warnings": self._notes,
        }
