# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB as the Debian family configures it: /etc/default/grub, its drop-ins, and update-grub.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from typing import Any

from .._arguments import split
from .._system import System
from .state import LoaderState

DROP_IN = "/etc/default/grub.d/zz-carveout.cfg"


def read_loader(system: System, augeas: Any) -> LoaderState:
    """The state of the host's boot loader.

    ``augeas`` is an ``augeas.Augeas`` of either Python binding, or None: without it the foreign
    arguments come without file and line.
    """
    return LoaderState(
        kind="grub",
        drop_in=DROP_IN,
        drop_in_text=system.read(DROP_IN),
        running=tuple(split(system.read("/proc/cmdline") or "")),
    )
