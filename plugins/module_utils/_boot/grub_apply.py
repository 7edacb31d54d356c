# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing GRUB's configuration, and proving by the generated entry that it did what was meant.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .._errors import CarveoutError
from .._system import System
from .._system_tools import permissions
from . import grub_files
from .change import Change, FileEdit, check_arguments, default_entry, plan_change
from .grub import MENU, read_loader
from .grub_encode import VARIABLE
from .grub_files import DROP_IN
from .state import LoaderState


def plan(state: LoaderState, augeas: Any, wanted: Sequence[str] | None, kernel: str = "") -> Change:
    """The change to ``wanted``, None for removal; ``kernel`` is the release whose entry has to be the default.

    Changes nothing. Raises :class:`InvalidInput` for what is no layout's argument list,
    :class:`NotPossible` where this host cannot boot with it.
    """
    if wanted is None:
        return plan_change(state, (), [FileEdit(DROP_IN, state.drop_in_text, None)])
    check_arguments(wanted)
    default = default_entry(state, kernel) if kernel else ""
    text = grub_files.render(augeas, wanted, default)
    return plan_change(state, wanted, [FileEdit(DROP_IN, state.drop_in_text, text)], kernel=kernel)


def apply(system: System, augeas: Any, change: Change) -> LoaderState:
    """Make the change, generate the menu and read it back; the new state.

    Where the menu cannot be generated, or the entry that boots next then holds anything else than
    the arguments of others as they were and ours, drop-in and menu are put back byte for byte, and
    :class:`CarveoutError` is raised.
    """
    if not change.changed:
        return change.state
    kept = _keep(system, change)
    problem = ""
    try:
        _put(system, change.files[0].after)
        problem = _regenerate(system, change.state)
        after = read_loader(system, augeas)
        problem = problem or _read_back(system, augeas, change, after)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    except BaseException:
        # whatever it was, the host must not be left with an entry that nobody has looked at
        _restore(system, kept)
        raise
    if not problem:
        return after
    raise CarveoutError.of("boot", "boot-change-failed", problem + _restore(system, kept))


def _put(system: System, text: str | None) -> None:
    if text is None:
        system.remove(DROP_IN)
    else:
        system.write(DROP_IN, text)


def _regenerate(system: System, state: LoaderState) -> str:
    """Empty, or how the command failed."""
    done = system.run(state.regenerate)
    if done.status == 0:
        return ""
    said = " / ".join(line for line in (done.stderr or done.stdout).split("\n")[-6:] if line.strip())
    return f"{' '.join(state.regenerate)} failed with status {done.status} ({said})"


def _read_back(system: System, augeas: Any, change: Change, after: LoaderState) -> str:
    problem = change.problem_of(after)
    if not problem:
        return ""
    named = f" {after.entry!r}" if after.entry else ""
    culprits = _later_assignments(system, augeas) if change.wanted else []
    return (
        f"after {' '.join(change.state.regenerate)} the entry{named} that boots next is not as meant: {problem}"
        + (f" ({after.problem})" if after.problem else "")
        + "".join(
            f"; {path}, line {line} is read after {DROP_IN} and assigns {VARIABLE} anew: let it keep the"
            f" value by starting it with ${VARIABLE}"
            for path, line in culprits
        )
    )


def _later_assignments(system: System, augeas: Any) -> list[tuple[str, int]]:
    found = []
    files = grub_files.config_files(system)
    for path in files[files.index(DROP_IN) + 1 :] if DROP_IN in files else ():
        for assignment in grub_files.read_assignments(augeas, path, system.read(path) or ""):
            if grub_files.assigns_anew(assignment):
                found.append((path, assignment.line))
    return found


class _Kept(NamedTuple):
    """The drop-in and the menu as they were; a menu that others' edits have not reached yet stays so."""

    drop_in: str | None
    menu: str | None
    menu_mode: int


def _keep(system: System, change: Change) -> _Kept:
    return _Kept(change.state.drop_in_text, system.read(MENU), permissions(system, MENU, 0o600))


def _restore(system: System, kept: _Kept) -> str:
    """Put drop-in and menu back as they were; what to tell about it."""
    try:
        _put(system, kept.drop_in)
        if kept.menu is not None:
            system.write(MENU, kept.menu, kept.menu_mode)
    except OSError as error:
        return f". {error.filename or DROP_IN} could not be put back as it was: {error.strerror}"
    return f". {DROP_IN} and {MENU} were put back as they were"
