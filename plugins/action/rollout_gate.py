# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.rollout_gate``: whether a rollout goes on, and what it has come to."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.judge import judge
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    HELD,
    read_records,
    stop,
    stopped,
    update_record,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.report import (
    outcome,
    report_json,
    report_text,
    write_json,
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
                "hosts": {"type": "list", "elements": "str", "required": True},
                "records": {"type": "path", "required": True},
                "following": {"type": "list", "elements": "str", "default": []},
                "failure_budget": {"type": "int", "default": 0},
                "domain_limit": {"type": "int", "default": 1},
                "stop": {"type": "str", "default": ""},
                "last": {"type": "bool", "default": False},
                "report": {"type": "path", "default": ""},
            }
        )
        folder = options["records"]
        try:
            # the first host's variables judge all: they have to be the operator's
            refuse_told(task_vars)
            if options["stop"]:
                stop(folder, options["stop"])
            verdict = judge(
                read_records(folder, options["hosts"]),
                options["following"],
                budget=options["failure_budget"],
                limit=options["domain_limit"],
                stopped=stopped(folder),
            )
            for host, why in verdict.held.items():
                update_record(folder, host, state=HELD, why=why)
            records = read_records(folder, options["hosts"])
            if options["report"]:
                write_json(options["report"], report_json(records, verdict.stop, options["last"]))
        except CarveoutError as error:
            return {"failed": True, "msg": str(error)}
        except OSError as error:
            return {"failed": True, "msg": f"the rollout cannot be noted: {error}"}
        failed = [record.host for record in records if record.failed]
        return {
            "changed": False,
            "go": list(verdict.go),
            "stopped": verdict.stop,
            "failed_hosts": failed,
            "outcome": outcome(records, verdict.stop),
            "text": report_text(records, verdict.stop) if options["last"] else "",
        }
