# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hatchling's hook: puts the host side, one zipapp, into the wheel."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class HostSideHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the zipapp in a temporary folder that lives as long as the wheel's build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the zipapp and hand it to the wheel (an editable install runs from the tree)."""
        if version == "editable":
            return
        root = Path(self.root)
        source = root / "plugins/plugin_utils/zipapp_build.py"
        spec = importlib.util.spec_from_file_location("zipapp_build", source)
        assert spec is not None and spec.loader is not None
        zipapp_build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(zipapp_build)

        release = self.metadata.version
        self._scratch = tempfile.TemporaryDirectory(prefix="carveout-wheel-")
        out = Path(self._scratch.name) / zipapp_build.zipapp_name(release)
        built = zipapp_build.build_zipapp(root / "plugins/module_utils", out, release)
        # hatchling puts the collection's path before it, as before all else in the wheel
        build_data["force_include"][str(built)] = f"files/{built.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if version != "editable":
            self._scratch.cleanup()
