# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Action plugin of ``carveout.memory.settled``: two commands on the host, everything else on the controller.

It answers yes or no and never fails: what is wrong with a host, or with its plan, the tasks that follow say.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.action.host_files import program
from ansible_collections.carveout.memory.plugins.action.memory_plan import planned
from ansible_collections.carveout.memory.plugins.action.verify import answer
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._expectations import expectations, unmet
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import up_to_date
from ansible_collections.carveout.memory.plugins.module_utils._host_files import program_path
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._next_kernel import next_kernel_note
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.dmemfs import the_pool
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.plugin_utils.cli_files import committed_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.raw import (
    parse_raw,
    raw_texts_command,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.raw_checks import RAW_CHECKS
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.run import SuiteResult


class NotSettled(Exception):
    """Something is to be done, or cannot be told; the message says what."""


def _notes_of(told: Any) -> list[str]:
    """What is said of a kernel that boots next and is not the one that the layout was verified with."""
    note = next_kernel_note(host_from_json(told.get("host"))) if isinstance(told, dict) else ""
    return [note] if note else []


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: What the look has to warn of.
        self._notes: list[str] = []

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "raw", "required": True},
                "replan": {"type": "bool", "default": False},
                "evidence": {"type": "bool", "default": False},
            }
        )
        name = str((task_vars or {}).get("inventory_hostname", ""))
        try:
            refuse_told(task_vars)
            found = self._look(name, planned(options["plan"]), options["replan"])
        except (CarveoutError, NotSettled, ValueError, RecursionError) as error:
            return {
                "changed": False,
                "settled": False,
                "pending": printable(str(error)),
                "warnings": self._notes,
            }
        verified, snapshot, layout = found
        result = {
            "changed": False,
            "settled": True,
            "pending": "",
            "msg": verified["msg"],
            "id": verified["id"],
            "warnings": self._notes,
        }
        if options["evidence"]:
            result.update(host=snapshot, layout=layout.to_json(), verified=verified)
        return result

    def _look(self, name: str, plan: Plan, replan: bool) -> tuple[dict[str, Any], Any, Layout]:
        """The verification of a host on which nothing is to be done, its snapshot and its layout."""
        pool = the_pool(plan)
        kernel = ["--kernel", pool.kernel.release] if pool and pool.kernel else []
        told = json.loads(
            self._said(shlex.join(["/usr/bin/python3", "-B", program_path(), "host", "--pending", *kernel]))
        )
        self._notes += _notes_of(told)
        steps = told.get("pending") if isinstance(told, dict) else None
        if steps != []:
            raise NotSettled("; ".join(map(str, steps)) if isinstance(steps, list) else "no answer")
        host = host_from_json(told.get("host"))
        layout = make_layout(plan, host, committed_layout(host), replan)
        if not layout.id == host.committed == told.get("layout"):
            raise NotSettled(f"the layout is {layout.id}, committed is {host.committed or 'none'}")
        self._check_files(host, layout)
        found = expectations(layout, host)
        raw = parse_raw(self._said(raw_texts_command(layout)))
        wrong = [e.message for e in unmet(found)]
        wrong += [message for check in RAW_CHECKS for message in check(layout, raw)]
        if wrong or not found:
            raise NotSettled("; ".join(wrong) or "nothing could be verified")
        shown = {"id": layout.id, "expectations": [e.to_json() for e in found], "host": told["host"]}
        verified = answer(name, SuiteResult(True, len(RAW_CHECKS), (), {name: shown}, ""))
        return verified, told["host"], layout

    @staticmethod
    def _check_files(host: Host, layout: Layout) -> None:
        digest = hashlib.sha256(program()).hexdigest()
        if not {"files", "kdump"} <= host.state.keys():
            raise NotSettled("the files of Carveout are not as they should be")
        files, inherited = host.state["files"], host.state["kdump"]
        if not up_to_date(files, digest, layout, layout.id, inherited, host.kernel_running):
            known = host.state.get("verified")
            if known != host.kernel_running and up_to_date(files, digest, layout, layout.id, inherited):
                raise NotSettled(
                    f"the layout {layout.id} was verified with {known or 'no known kernel'},"
                    f" {host.kernel_running} runs: verify it"
                )
            raise NotSettled("the files of Carveout are not as they should be")

    def _said(self, command: str) -> str:
        if self._connection.has_pipelining:
            # a command line alone gets a terminal from ssh, which ends its lines otherwise
            done = self._low_level_execute_command("/bin/sh", in_data=command.encode())
        else:
            done = self._low_level_execute_command(command)
        if done["rc"] != 0:
            raise NotSettled(str(done["stderr"]).strip()[-500:] or f"{command[:80]} ended with {done['rc']}")
        return str(done["stdout"]).replace("\r\n", "\n")
