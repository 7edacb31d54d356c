# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.fleet_report``: one report of what verification found on many hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.record import FINE, read_record
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.summary import report_text
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.write import write_report
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec={
                "hosts": {"type": "list", "elements": "str", "required": True},
                "records": {"type": "path", "required": True},
                "directory": {"type": "path", "default": ""},
            }
        )
        try:
            refuse_told(task_vars)
        except CarveoutError as error:
            return {"failed": True, "msg": str(error)}
        hosts, records = [str(host) for host in options["hosts"]], options["records"]
        try:
            if options["directory"]:
                write_report(hosts, records, Path(options["directory"]))
        except OSError as error:
            return {"failed": True, "msg": f"the report cannot be written: {error}"}
        verdicts = {host: read_record(records, host).verdict for host in hosts}
        return {
            "changed": False,
            "text": report_text(read_record(records, host) for host in hosts),
            "verdicts": verdicts,
            "deviating": [host for host, verdict in verdicts.items() if verdict != FINE],
        }
