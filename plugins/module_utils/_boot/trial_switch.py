# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dead man's switch of a trial boot: a unit that reboots a host whose trial nobody ends.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._arguments import TRIAL_ARGUMENT
from .._sandbox import SANDBOX
from .._system import System
from .._system_tools import systemctl
from .._tenant_units import UNIT_DIRECTORY
from .change import FileEdit
from .reading import read_text

SERVICE = "carveout-trial.service"
UNIT = f"{UNIT_DIRECTORY}/{SERVICE}"
HEADER = "# Written by Carveout (carveout.memory.trial_boot) for one trial boot; gone when it is over."


def planned(system: System, seconds: int) -> FileEdit:
    """The switch as it has to be for a trial of so many seconds."""
    return FileEdit(UNIT, system.read(UNIT), unit_text(HEADER, seconds))


def prepared(system: System) -> str:
    """What tells a trial that was prepared from every other one; empty where none is there."""
    found = system.stat(UNIT)
    return str(found.modified) if found else ""


def leftover(system: System) -> FileEdit:
    """The change that takes the switch away."""
    return FileEdit(UNIT, read_text(system, UNIT), None)


def arm(system: System, switch: FileEdit) -> None:
    """Have a boot on trial start it. Raises OSError and :class:`CarveoutError`."""
    # also where an older trial has left it: when it was written is when this one was prepared
    system.write(switch.path, switch.after or "", switch.mode)
    systemctl(system, "daemon-reload")
    systemctl(system, "enable", SERVICE)


def disarm(system: System) -> None:
    """Stop it where it runs, and take it away. Raises OSError and :class:`CarveoutError`."""
    systemctl(system, "disable", "--now", SERVICE)
    system.remove(UNIT)
    systemctl(system, "daemon-reload")


def unit_text(header: str, seconds: int) -> str:
    """The unit that reboots a host whose trial was not ended within so many seconds.

    Systemd itself does it, so that it also works where nothing new can be started any more: RuntimeMaxSec= makes the
    unit fail, and so does whatever kills it; being stopped does not.
    """
    return f"""\
{header}
[Unit]
Description=Reboot with the old arguments unless the Carveout trial is ended in time
ConditionKernelCommandLine={TRIAL_ARGUMENT}
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
IgnoreOnIsolate=yes
FailureAction=reboot-force

[Service]
ExecStart=/bin/sleep infinity
RuntimeMaxSec={seconds}
OOMScoreAdjust=-1000
CapabilityBoundingSet=
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
RestrictAddressFamilies=none
UMask=0077
{SANDBOX}
[Install]
WantedBy=sysinit.target
"""
