# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of carveout.memory.host_files: builds the program, spares needless calls."""

from __future__ import annotations

import hashlib
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

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=OPTIONS)
        installed = options["installed"]
        content = program() if options["state"] == "present" else b""
        digest = hashlib.sha256(content).hexdigest()
        try:
            layout = Layout.from_json(options["layout"]) if options["layout"] else None
        except CarveoutError as error:
            result.update(failed=True, msg=str(error), problems=[p.to_json() for p in error.problems])
            return result
        if installed is not None and options["state"] == "present":
            idle = up_to_date(installed, digest, layout, options["committed"])
        else:
            idle = installed == {}
        if idle:
            result.update(changed=False, actions=[], asked=False, diff=[])
            return result
        arguments = {name: value for name, value in options.items() if value is not None}
        if content:
            arguments["program_sha256"] = digest
        sent = False
        if content and (installed or {}).get(program_path()) != digest:
            arguments["program"] = self._send(content)
            sent = True
        result.update(self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars))
        if sent:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _send(self, content: bytes) -> str:
        """Put the program into a temporary file on the host that the module's user may read."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        folder = self._connection._shell.tmpdir
        remote = self._connection._shell.join_path(folder, "program.pyz")
        with tempfile.NamedTemporaryFile(prefix="carveout-") as local:
            local.write(content)
            local.flush()
            self._transfer_file(local.name, remote)
        self._fixup_perms2((folder, remote))
        return str(remote)
