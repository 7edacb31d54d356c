# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several rooms do in the same way through a :class:`System`.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import stat

from ._errors import CarveoutError
from ._system import System

#: There wherever systemd runs as the first process (sd_booted(3)).
_SYSTEMD = "/run/systemd/system"
#: What only a running systemd can do, and what there is no need for where none runs.
_OF_THE_RUNNING = ("daemon-reload", "stop")


def under_systemd(system: System) -> bool:
    """Whether systemd runs: a kernel that was started with ``init=/bin/sh`` has none to be asked."""
    return system.stat(_SYSTEMD) is not None


def systemctl(system: System, *arguments: str) -> None:
    """Run systemctl. Raises :class:`CarveoutError` with its words where it fails.

    Where no systemd runs, nothing is started that could be stopped, and no unit loaded that is another by now.
    """
    done = system.run(["systemctl", *arguments])
    if done.status != 0 and not (arguments[0] in _OF_THE_RUNNING and not under_systemd(system)):
        message = f"'systemctl {' '.join(arguments)}' failed: {done.stderr.strip() or done.status}"
        raise CarveoutError.of("", "systemd", message)


def permissions(system: System, path: str, default: int) -> int:
    """The permissions of a file that is to be replaced, ``default`` where there is none."""
    found = system.stat(path)
    return stat.S_IMODE(found.mode) if found else default
