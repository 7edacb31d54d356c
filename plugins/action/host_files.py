# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of carveout.memory.host_files: builds the program, spares needless calls."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import up_to_date
from ansible_collections.carveout.memory.plugins.module_utils._host_files import program_path
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION
from ansible_collections.carveout.memory.plugins.modules.host_files import OPTIONS
from ansible_collections.carveout.memory.plugins.plugin_utils.zipapp_build import host_zipapp

MODULE = "carveout.memory.host_files"
COLLECTION = Path(__file__).resolve().parents[2]


def program() -> bytes:
    """The zipapp of this collection."""
    with tempfile.TemporaryDirectory(prefix="carveout-") as scratch:
        return host_zipapp(COLLECTION, VERSION, Path(scratch)).read_bytes()


class ActionModule(ActionBase):
    """See the module's documentation."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=OPTIONS)
        installed = options["installed"]
        content = program() if options["state"] == "present" else b""
        digest = hashlib.sha256(content).hexdigest()
        try:
            # through JSON: Ansible's numbers and texts are subclasses that carry where they come from
            layout = (
                Layout.from_json(json.loads(json.dumps(options["layout"]))) if options["layout"] else None
            )
        except CarveoutError as error:
            result.update(failed=True, msg=str(error), problems=[p.to_json() for p in error.problems])
            return result
        if installed is not None and options["state"] == "present":
            idle = up_to_date(
                installed, digest, layout, options["committed"], options["kdump"], options["verified"]
            )
        else:
            idle = installed == {}
        if idle:
            result.update(changed=False, actions=[], asked=False, diff=[])
            return result
        arguments = {name: value for name, value in options.items() if value is not None}
        if content:
            arguments["program_sha256"] = digest
        if content and (installed or {}).get(program_path()) != digest:
            # within the module's own payload: no further round trips for a file
            arguments["program"] = base64.b64encode(content).decode()
        result.update(self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars))
        return result
