# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of ``carveout.memory.verify``: runs the testinfra suite on the controller for the task's host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.metrics import host_metrics
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.record import Record, write_record
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.connection import (
    connection_variables,
    needs_ansible,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.notes import notes
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.run import (
    SuiteError,
    SuiteResult,
    run_suite,
)


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "layout": {"type": "dict"},
                "committed": {"type": "bool", "default": False},
                "committing": {"type": "bool", "default": False},
                "junit": {"type": "path", "default": ""},
                "record": {"type": "path", "default": ""},
            }
        )
        task_vars = task_vars or {}
        name = str(task_vars["inventory_hostname"])
        layout = None
        try:
            refuse_told(task_vars)
            layout = Layout.from_json(_plain(arguments["layout"])) if arguments["layout"] else None
            variables = connection_variables(self._connection, task_vars, self._templar.template)
            result = run_suite(
                {name: variables},
                {name: layout.to_json()} if layout else None,
                committed=arguments["committed"],
                force_ansible=needs_ansible(self._connection),
                junit=_junit(arguments["junit"], name, task_vars),
            )
        except (CarveoutError, SuiteError, AnsibleError, OSError) as error:
            text = f"{name} cannot be verified: {error}"
            record = Record(name, False, (text,))
            told = {"failed": True, "msg": text, "failures": [], "notes": [], "expectations": [], "host": {}}
        else:
            record = _record(name, result, layout)
            told = answer(name, result)
        soon = layout.id if layout and arguments["committing"] and record.passed else ""
        told["metrics"] = host_metrics(record, soon)
        if arguments["record"]:
            try:
                write_record(arguments["record"], record)
            except OSError as error:
                told.update(failed=True, msg=f"{told['msg']}\nIt cannot be recorded: {error}")
        return told


def _record(name: str, result: SuiteResult, layout: Layout | None) -> Record:
    found = result.hosts.get(name, {})
    snapshot = found.get("host")
    if layout is not None:
        held: Any = layout.to_json()
    else:
        held = snapshot["layouts"].get(found["id"]) if snapshot else None
    return Record(
        name, result.passed, tuple(result.failures), tuple(found.get("expectations", [])), held, snapshot
    )


def _plain(data: Any) -> Any:
    """Without the tags that Ansible gives to what stands in YAML: its numbers are of a type of their own."""
    return json.loads(json.dumps(data))


def _junit(path: str, name: str, task_vars: dict[str, Any]) -> str:
    """One file for each host: a path that does not tell them apart would keep the last one only."""
    if not path:
        return ""
    if not path.endswith(".xml"):
        return str(Path(path) / f"{name}.xml")
    if len(task_vars.get("ansible_play_hosts_all") or [name]) > 1 and name not in path:
        raise SuiteError(
            f"the hosts of the play would all write {path}; name a directory, or use inventory_hostname in the path"
        )
    return path


def answer(name: str, result: SuiteResult) -> dict[str, Any]:
    """What a task returns of one host's verification."""
    found = result.hosts.get(name, {})
    answer = {
        "changed": False,
        "failed": not result.passed,
        "id": found.get("id", ""),
        "expectations": found.get("expectations", []),
        "tests": result.tests,
        "failures": list(result.failures),
        "host": found.get("host", {}),
    }
    answer["notes"] = notes(answer["expectations"], answer["host"] or None)
    if result.passed:
        answer["msg"] = (
            f"{name} is as its layout {answer['id']} says: {len(answer['expectations'])} expectations are met, "
            f"{result.tests} tests passed"
        )
        answer["msg"] += "".join(f"\n- {note}" for note in answer["notes"])
    else:
        lines = "\n".join(f"- {failure}" for failure in result.failures)
        answer["msg"] = f"{name} is not as its layout {answer['id']} says:\n{lines}"
    return answer
