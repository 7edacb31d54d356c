# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout status`` and ``carveout rollback`` on the host's own console: no Ansible, no network, no plan.

They also have to work where little else does: in single-user mode, or in a shell that the kernel started instead of
systemd.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ._arguments import TRIAL_ARGUMENT, layout_id, split
from ._boot.loader import read_loader
from ._boot.state import LoaderState
from ._boot.trial import leftovers
from ._dax.current import current_layout_id
from ._errors import NotPossible
from ._expectations import expectations, unmet
from ._host.tree import read_host
from ._host_files import known_files, stored_layout_ids
from ._layout import Layout
from ._lock import BOOT, DAX_BUS, exclusive
from ._pending import pending
from ._records import committed_layout_id, previous_layout_id, verified_release
from ._rollback import plan_rollback, roll_back
from ._system import System
from ._system_tools import under_systemd

#: Exit code where something is not as the layout says, as the command line's on a controller.
_UNMET = 5


def rollback(system: System, augeas: Any, to: str, *, dry_run: bool, reboot: bool) -> int:
    """Go back, or say what would be done; the exit code. Raises :class:`CarveoutError` and OSError."""
    with exclusive(DAX_BUS), exclusive(BOOT):
        planned = plan_rollback(system, augeas, to, commit=True)
        name = f"the layout {planned.layout.id}" if planned.layout else "no layout"
        for action in planned.actions:
            _say(f"would {action}" if dry_run else action)
        if dry_run:
            after = "; then it would have to reboot" if planned.reboot_required else ""
            _say(f"going back to {name} takes {len(planned.actions)} steps{after}; nothing was changed")
            return 0
        _check_writable(system)
        roll_back(system, augeas, planned, time.sleep, commit=True)
    if not planned.reboot_required:
        return _verified(system, augeas, planned.layout)
    if reboot:
        _say(f"the next boot is for {name}; rebooting")
        # by the kernel alone where no systemd runs that could be asked
        done = system.run(["systemctl", "reboot"] if under_systemd(system) else ["reboot", "-f"])
        if not done.status:
            return 0
        _say(f"the reboot cannot be had: {done.stderr.strip() or done.status}")
    memory = "that memory layout" if planned.layout else "the memory back"
    _say(f"the next boot is for {name}: reboot to have {memory} (this boot goes on as it is)")
    return 0


def _verified(system: System, augeas: Any, layout: Layout | None) -> int:
    if layout is None:
        _say("nothing of Carveout is left, and this boot has all its memory")
        return 0
    wrong = unmet(expectations(layout, read_host(system, augeas=augeas)))
    for expectation in wrong:
        _say(f"not as it should be: {expectation.message}")
    if not wrong:
        _say(f"the host is as its layout {layout.id} says; no reboot is needed")
    return _UNMET if wrong else 0


def status(system: System, augeas: Any, *, as_json: bool) -> int:
    """Say what is booted, committed, on trial and still to be done; 5 where something is."""
    state = read_loader(system, augeas)
    told = facts(system, augeas, state)
    if as_json:
        print(json.dumps(told, indent=1))
        return _UNMET if told["pending"] else 0
    words = {
        "running": "runs",
        "next_boot": "boots next",
        "committed": "committed",
        "verified": "verified with",
        "previous": "before it",
        "stored": "stored",
        "trial": "on trial",
        "kernel": "kernel",
    }
    for key, word in words.items():
        value = told[key]
        text = ", ".join(value) if isinstance(value, list) else str(value)
        print(f"{word:<14}{text or 'none'}")
    for step in told["pending"]:
        print(f"{'to be done':<14}{step}")
    return _UNMET if told["pending"] else 0


def facts(system: System, augeas: Any, state: LoaderState) -> dict[str, Any]:
    """The same as plain values; empty where there is nothing."""
    committed = committed_layout_id(system)
    return {
        "running": current_layout_id(system) or "",
        "next_boot": layout_id(state.boot_arguments or ()) or "",
        "committed": committed or "",
        "verified": verified_release(system, committed),
        "previous": previous_layout_id(system) or "",
        "stored": stored_layout_ids(known_files(system)),
        "trial": _trial(system),
        "kernel": state.running_kernel,
        "pending": _pending(system, augeas, state, committed),
    }


def _trial(system: System) -> str:
    if TRIAL_ARGUMENT in split(system.read("/proc/cmdline") or ""):
        return "this boot"
    return "the next boot, or what is left of one" if leftovers(system) else ""


def _pending(system: System, augeas: Any, state: LoaderState, committed: str | None) -> list[str]:
    if committed is None:
        running = current_layout_id(system)
        return [f"the layout {running} runs and is not committed"] if running else []
    steps = pending(system, augeas, state, committed)
    verified = verified_release(system, committed)
    if verified != state.running_kernel:
        steps.append(f"verify it with {state.running_kernel} (the main job does)")
    return steps


def _check_writable(system: System) -> None:
    """Raise :class:`NotPossible` where a disk is read-only, as it is in a shell that the kernel started."""
    options = {}
    for line in (system.read("/proc/self/mounts") or "").splitlines():
        fields = line.split(" ")
        if len(fields) > 3:
            options[fields[1]] = fields[3].split(",")
    for place in ("/", "/usr", "/etc", "/boot"):
        if "ro" in options.get(place, ()):
            message = (
                f"{place} is mounted read-only; 'mount -o remount,rw {place}' first. Nothing was changed"
            )
            raise NotPossible.of("", "read-only", message)


def _say(text: str) -> None:
    print(f"carveout: {text}", flush=True)
