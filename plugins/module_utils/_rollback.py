# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going back to a layout that the host stores, or to none: all that the module and the console's command share.

Needs nothing but what stands on the host: no plan, no network.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._arguments import find_sequence
from ._boot.change import Change as BootChange
from ._boot.change import FileEdit
from ._boot.loader import apply as apply_boot
from ._boot.loader import needs_augeas, read_loader
from ._boot.loader import plan as plan_boot
from ._boot.state import LoaderState
from ._boot.trial import end as end_trial
from ._boot.trial import leftovers
from ._boot_check import CHECKED, check_memory
from ._dax.apply import Pause, converge, preview, preview_reboot, remove
from ._dax.current import booted_layout_id, carried, forget_current, stored_layout
from ._errors import CarveoutError, InvalidInput, NotPossible
from ._host_changes import Plan, apply_absent, apply_present, plan_absent, plan_present
from ._host_files import known_files, program_path, stored_layout_ids
from ._host_report import actions_of, diff_of
from ._layout import LAYOUT_ID, Layout
from ._mechanisms import dmemfs
from ._records import committed_layout_id, previous_layout_id
from ._system import System

#: What one can go back to, beside the ID of any layout that the host stores.
NONE, COMMITTED, PREVIOUS = "none", "committed", "previous"


@dataclass(frozen=True)
class Rollback:
    """What is to be done. ``layout`` is None for none; ``back``: it is the one before the committed one."""

    layout: Layout | None
    back: bool
    actions: tuple[str, ...]
    reboot_required: bool
    diff: tuple[dict[str, str], ...]
    boot: BootChange | None
    trial: bool
    files: Plan


def target(system: System, to: str) -> tuple[Layout | None, bool]:
    """The layout to go back to, None for none; and whether it is the one before the committed one.

    Raises :class:`NotPossible` where there is none such, :class:`InvalidInput` for what is no target.
    """
    if to == NONE:
        return None, False
    committed, previous = committed_layout_id(system), previous_layout_id(system)
    wanted: str | None = to
    if to in (COMMITTED, PREVIOUS):
        wanted = committed if to == COMMITTED else previous
        if wanted is None:
            missing = "is committed" if to == COMMITTED else f"is known from before {committed or 'this one'}"
            raise NotPossible.of("", "layout-unknown", f"no layout {missing}; {_stored(system)}")
    elif not LAYOUT_ID.fullmatch(to):
        message = f"{to!r} is nothing to go back to: {NONE}, {COMMITTED}, {PREVIOUS} or the ID of a layout is"
        raise InvalidInput.of("", "target-invalid", message)
    assert wanted is not None
    if wanted not in stored_layout_ids(known_files(system)):
        message = f"the layout {wanted} is not on this host; {_stored(system)}"
        raise NotPossible.of("", "layout-unknown", message)
    return stored_layout(system, wanted), wanted == previous


def plan_rollback(system: System, augeas: Any, to: str, *, commit: bool, foresee: bool = False) -> Rollback:
    """What going back takes. Changes nothing.

    ``commit``: whether the layout becomes the committed one by it; else whoever verifies it afterwards sees to that.
    ``foresee``: the program may still have to be installed. Raises :class:`CarveoutError` wherever it is known before
    the first change that it cannot be done: devices in use, memory that is not there any more, augeas missing.
    """
    layout, back = target(system, to)
    state = read_loader(system, augeas)
    ended = leftovers(system)
    if layout is None:
        devices = remove(system, _layouts(system), dry_run=True).actions
        boot: BootChange | None = plan_boot(system, augeas, state, None)
        files = plan_absent(system)
        reboot = boot is not None and boot.reboot_required
    else:
        check_memory(system, layout)
        boot = _boot_change(system, augeas, state, layout)
        reboot = bool((layout.arguments or layout.devices) and not carried(system, layout))
        reboot = reboot or (boot is not None and boot.reboot_required)
        devices = (preview_reboot if reboot else preview)(system, layout).actions
        files = _plan_files(system, layout, layout.id if commit else None, back, foresee)
    booting = [*(boot.actions if boot else ()), *(edit.action for edit in ended)]
    # in the order in which it is done: devices go first, and come last
    steps = [devices, booting, actions_of(files, present=layout is not None)]
    steps = steps if layout is None else steps[::-1]
    diff = [*(boot.diff if boot and boot.changed else ()), *map(_shown, ended), *diff_of(files)]
    actions = tuple(action for part in steps for action in part)
    return Rollback(layout, back, actions, reboot, tuple(diff), boot, bool(ended), files)


def roll_back(system: System, augeas: Any, planned: Rollback, pause: Pause, *, commit: bool) -> None:
    """Do it. What is stopped on the way the next call takes up; all the while the host boots the one or the other."""
    layout = planned.layout
    if layout is None:
        remove(system, _layouts(system), dry_run=False)
        _change_boot(system, augeas, planned)
        apply_absent(system, planned.files)
        system.remove(CHECKED)
        forget_current(system)
        return
    # what its boot needs, then that boot, then that it is the one to come back to
    apply_present(system, _plan_files(system, layout, None, planned.back, False))
    _change_boot(system, augeas, planned)
    if not planned.reboot_required:
        converge(system, layout, pause)
    if commit:
        apply_present(system, _plan_files(system, layout, layout.id, planned.back, False))


def _shown(edit: FileEdit) -> dict[str, str]:
    return {
        "before_header": edit.path,
        "before": edit.before or "",
        "after_header": edit.path,
        "after": edit.after or "",
    }


def _change_boot(system: System, augeas: Any, planned: Rollback) -> None:
    if planned.boot is not None:
        apply_boot(system, augeas, planned.boot)
    if planned.trial:
        end_trial(system)


def _boot_change(system: System, augeas: Any, state: LoaderState, layout: Layout) -> BootChange | None:
    """The change of the boot loader; None where its configuration has the arguments, and nobody could write others."""
    wanted = layout.kernel_arguments
    if wanted and augeas is None and needs_augeas(system):
        if state.owned == wanted and find_sequence(state.boot_arguments or (), wanted) >= 0:
            return None
        message = (
            f"going back to the layout {layout.id} writes the boot loader's configuration, which takes the package"
            f" python3-augeas, and it is missing; going back to none ('carveout rollback --to {NONE}') does without"
        )
        raise NotPossible.of("", "augeas-missing", message)
    return plan_boot(system, augeas, state, wanted or None, pinned_kernel(layout) if wanted else "")


def pinned_kernel(layout: Layout) -> str:
    """The release whose entry has to boot by default because the layout's plan names it; else empty."""
    pools = layout.plan.get("pools")
    for pool in pools.values() if isinstance(pools, dict) else ():
        kernel = (
            pool.get("kernel") if isinstance(pool, dict) and pool.get("mechanism") == dmemfs.NAME else None
        )
        if isinstance(kernel, dict) and isinstance(kernel.get("release"), str):
            return str(kernel["release"])
    return ""


def _plan_files(system: System, layout: Layout, committed: str | None, back: bool, foresee: bool) -> Plan:
    digest = known_files(system).get(program_path())
    if digest is None and not foresee:
        message = f"{program_path()} is not there: another version of Carveout installed this host; run the main job"
        raise NotPossible.of("", "program-missing", message)
    booted = booted_layout_id(system)
    return plan_present(system, digest or "", lambda: "", layout, committed, booted, going_back=back)


def _layouts(system: System) -> list[Layout]:
    """The stored layouts; what cannot be read must not keep the rest from being removed."""
    found = []
    for layout_id in stored_layout_ids(known_files(system)):
        try:
            found.append(stored_layout(system, layout_id))
        except CarveoutError:
            continue
    return found


def _stored(system: System) -> str:
    known: Sequence[str] = stored_layout_ids(known_files(system))
    return f"on the host are: {', '.join(known)}" if known else "the host stores none"
