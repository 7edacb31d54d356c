# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.rollout_assess``: what a layout asks of one host, on the controller."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.assess import assessed, plan_name
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    PLANNED,
    keep_layout,
    read_record,
    update_record,
)
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
                "records": {"type": "path", "required": True},
                "host": {"type": "dict", "required": True},
                "layout": {"type": "dict", "required": True},
                "agreed": {"type": "bool", "default": False},
            }
        )
        name, folder = str((task_vars or {}).get("inventory_hostname", "")), options["records"]
        try:
            refuse_told(task_vars)
            # Ansible's values carry tags in subclasses of their own; the readers want plain data
            layout = Layout.from_json(json.loads(json.dumps(options["layout"])))
            fields = assessed(host_from_json(json.loads(json.dumps(options["host"]))), layout)
            known = read_record(folder, name)
            if options["agreed"]:
                if known.layout != layout.id:
                    return {"failed": True, "msg": _other_layout(known.layout, layout.id)}
            else:
                update_record(
                    folder, name, **{**fields, "state": PLANNED, "kind": known.kind or plan_name(layout)}
                )
                keep_layout(folder, name, layout.to_json())
        except CarveoutError as error:
            return {"failed": True, "msg": str(error)}
        except OSError as error:
            return {"failed": True, "msg": f"the rollout cannot be noted: {error}"}
        return {
            "changed": False,
            "reboots": fields["reboots"],
            "disturbs": fields["disturbs"],
            "changes": list(fields["changes"]),
        }


def _other_layout(planned: str, now: str) -> str:
    return (
        f"its layout would be {now}, but {planned} was planned before the first host was changed: the host or its plan "
        "has changed since. Nothing was changed on it; run the rollout again"
    )
