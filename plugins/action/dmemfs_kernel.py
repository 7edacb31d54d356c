# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of carveout.memory.dmemfs_kernel: reads the plan, and judges what the host says."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, Problem
from ansible_collections.carveout.memory.plugins.module_utils._planner.dmemfs import the_pool
from ansible_collections.carveout.memory.plugins.module_utils._planner.dmemfs_plan import KernelSource
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import PoolPlan
from ansible_collections.carveout.memory.plugins.plugin_utils.cli_files import read_plan_file
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import refuse_told

MODULE = "carveout.memory.dmemfs_kernel"


class ActionModule(ActionBase):
    """See the module's documentation."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(
            argument_spec={
                "plan": {"type": "raw", "required": True},
                "required": {"type": "bool", "default": False},
            }
        )
        given = options["plan"]
        try:
            refuse_told(task_vars)
            # Ansible's values carry tags in subclasses of their own; the readers want plain data.
            plan = (
                read_plan_file(given)
                if isinstance(given, str)
                else validated_plan(json.loads(json.dumps(given)))
            )
        except CarveoutError as error:
            result.update(failed=True, msg=str(error), problems=[p.to_json() for p in error.problems])
            return result
        pool = the_pool(plan)
        source = pool.kernel if pool else None
        if pool is None or source is None:
            result.update(_named(KernelSource("")), changed=False, installed=True, lacks=[], installer=[])
            return result
        host = self._execute_module(
            module_name=MODULE, module_args={"release": source.release}, task_vars=task_vars
        )
        result.update(host)
        if host.get("failed"):
            return result
        result.update(_named(source))
        problem = _problem(pool, source, host) if options["required"] else None
        if problem:
            result.update(failed=True, msg=str(problem), problems=[problem.to_json()])
        return result


def _named(source: KernelSource) -> dict[str, Any]:
    options = []
    if source.url:
        options = [f"--repofrompath=carveout,{source.url}", "--setopt=carveout.gpgcheck=1"]
        options.append(f"--setopt=carveout.gpgkey={source.key}")
    return {"release": source.release, "package": source.package, "file": source.file, "options": options}


def _problem(pool: PoolPlan, source: KernelSource, host: dict[str, Any]) -> Problem | None:
    path = f"{pool.path}.kernel.release"
    if not host["installed"]:
        text = (
            f"the host has no kernel {source.release}: /boot/vmlinuz-{source.release} or its modules are missing. Is "
            "that the release that the package brings?"
        )
        return Problem(path, "kernel-missing", text)
    if host["lacks"]:
        text = (
            f"the kernel {source.release} is built without {' and '.join(host['lacks'])}, so it has no dmemfs; it was "
            "not made the one that boots. Name another package, or another mechanism"
        )
        return Problem(path, "kernel-config", text)
    return None
