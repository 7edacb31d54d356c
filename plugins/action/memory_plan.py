# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin of ``carveout.memory.memory_plan``: plans on the controller, never asks the host."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.plugin_utils.cli_files import (
    committed_layout,
    read_plan_file,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.memory_map import lines, map_before, parts
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told


class ActionModule(ActionBase):
    """Plan, host snapshot and committed layout in; layout out."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "raw", "required": True},
                "host": {"type": "dict", "required": True},
                "previous": {"type": "dict"},
                "replan": {"type": "bool", "default": False},
            }
        )
        try:
            refuse_told(task_vars)
            plan = planned(arguments["plan"])
            # Ansible's values carry tags in subclasses of their own; the readers want plain data.
            host = host_from_json(json.loads(json.dumps(arguments["host"])))
            given = json.loads(json.dumps(arguments["previous"]))
            previous = Layout.from_json(given) if given else committed_layout(host)
            layout = make_layout(plan, host, previous, arguments["replan"])
        except CarveoutError as error:
            # a key of the plan may be anything
            text = printable("\n".join(f"- {problem}" for problem in error.problems))
            return {
                "failed": True,
                "msg": f"The memory plan cannot be carried out on this host:\n{text}",
                "problems": [problem.to_json() for problem in error.problems],
            }
        return {
            "changed": layout.id != host.committed,
            "layout": layout.to_json(),
            "trial_boot": plan.policy.trial_boot,
            "text": layout_text(host, layout),
            "diff": {
                "before_header": "memory map without Carveout"
                if previous is None
                else f"layout {previous.id}",
                "after_header": f"layout {layout.id}",
                "before": _map_text(host, previous),
                "after": _map_text(host, layout),
            },
        }


def planned(given: Any) -> Plan:
    """The plan from what a task was given. Raises :class:`CarveoutError`."""
    if isinstance(given, str):
        return read_plan_file(given)
    if isinstance(given, dict):
        return validated_plan(given)
    raise InvalidInput.of("", "type", "the plan is a mapping, or the path of a YAML file")


def _map_text(host: Host, layout: Layout | None) -> str:
    if layout is None:
        return "\n".join(lines(parts(map_before(host), None))) + "\n"
    entries = (MapEntry(*entry) for entry in layout.predicted_map)
    return "\n".join([*lines(parts(entries, layout)), "", *layout.kernel_arguments]) + "\n"
