# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run that was killed, or whose host lost its power, left beside the files that it was writing.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ._host_files import CONFIG_DIRECTORY, LAYOUT_DIRECTORY, PROGRAM_DIRECTORY
from ._system import BESIDE, System
from ._tenant_units import UNIT_DIRECTORY

#: Where Carveout writes files that outlive a boot.
_DIRECTORIES = (
    "/boot/grub", "/boot/grub2", "/boot/efi/EFI", "/boot/loader/entries", "/boot/efi/loader/entries",
    "/efi/loader/entries", "/etc/default", "/etc/default/grub.d", "/etc/kernel",
    CONFIG_DIRECTORY, LAYOUT_DIRECTORY, PROGRAM_DIRECTORY, UNIT_DIRECTORY,
)  # fmt: skip
_NAME = re.compile(rf"{re.escape(BESIDE)}.+\.(?:new|old)")


def remains(system: System) -> list[str]:
    """The paths of such files; nobody reads them, and the next run takes them away."""
    return [
        f"{directory}/{name}"
        for directory in _DIRECTORIES
        for name in system.listdir(directory)
        if _NAME.fullmatch(name)
    ]


def clear(system: System, paths: Sequence[str]) -> None:
    """Take them away. Raises OSError."""
    for path in paths:
        system.remove(path)
