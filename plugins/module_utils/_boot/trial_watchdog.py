# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hardware watchdog of a trial boot: it resets a host whose systemd has stopped, and with it the trial's switch.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._arguments import TRIAL_ARGUMENT, parse, split
from .._system import System
from .reading import read_text

#: Seconds without a sign of life from systemd until the watchdog resets the host.
SECONDS = 60
#: systemd reads it from the kernel's command line since 250 (kernel-command-line(7)); older ones pass over it.
ARGUMENT = "systemd.watchdog_sec"
#: The one that systemd opens (src/shared/watchdog.c, watchdog_open), as the kernel shows it.
_FIRST = "/sys/class/watchdog/watchdog0"
_CLASS = "/sys/class/watchdog"
#: WDIOF_CARDRESET of ``bootstatus`` (include/uapi/linux/watchdog.h): the watchdog made the reset before this boot.
_RESET = 0x20


def watchdog_arguments(system: System, extra: Sequence[str]) -> list[str]:
    """What has systemd start the host's watchdog during a trial; none where that is not ours to do.

    A watchdog that somebody feeds already (systemd, a daemon, a cluster's fencing) is left to him, and so is one that
    the host's own arguments, or ``extra``, tell of. A host whose last trial was committed still runs with what that
    trial had: nobody else feeds that watchdog.
    """
    running = split(read_text(system, "/proc/cmdline") or "")
    end = running.index(TRIAL_ARGUMENT) if TRIAL_ARGUMENT in running else len(running)
    state = (read_text(system, f"{_FIRST}/state") or "").strip()
    idle = state == "inactive" or (state == "active" and _names(running[end:]))
    return [f"{ARGUMENT}={SECONDS}"] if idle and not _names([*extra, *running[:end]]) else []


def _names(arguments: Sequence[str]) -> bool:
    return any(parse(argument).name == ARGUMENT for argument in arguments)


def watchdog_told(system: System) -> str:
    """That a watchdog made the reset before this boot, as it says itself; empty where none does."""
    for name in system.listdir(_CLASS):
        status = (read_text(system, f"{_CLASS}/{name}/bootstatus") or "").strip()
        if status.isdecimal() and int(status) & _RESET:
            identity = (read_text(system, f"{_CLASS}/{name}/identity") or "").strip() or name
            return f"The host's watchdog ({identity}) says that it reset the host."
    return ""
