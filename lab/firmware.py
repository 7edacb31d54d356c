# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""UEFI firmware for a machine, and the flash memory for its variables."""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import LabError

_FOLDER = Path("/usr/share/OVMF")
#: The same names in Debian 12 and 13.
CODE = _FOLDER / "OVMF_CODE_4M.fd"
_EMPTY = _FOLDER / "OVMF_VARS_4M.fd"
#: A machine's own, in its directory.
VARIABLES = "uefi-variables.fd"


def make_variables(directory: Path) -> None:
    """A new machine's variables: none. LabError where the firmware is not installed."""
    for path in (CODE, _EMPTY):
        if not path.exists():
            raise LabError(f"{path} is missing: install the package ovmf (apt-get install ovmf)")
    shutil.copyfile(_EMPTY, directory / VARIABLES)
