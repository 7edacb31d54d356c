# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing GRUB's configuration, and proving by the generated entry that it did what was meant.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._errors import CarveoutError
from .._system import System
from .._system_tools import permissions
from . import grub_files
from .change import Change, FileEdit, check_arguments, default_entry, plan_change
from .grub import GENERATED, read_loader
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
    """Make the change: write the drop-in, generate the menu, read it, and put it where GRUB reads it; the new state.

    Where the menu cannot be generated, or the entry that boots next would hold anything else than
    the arguments of others as they were and ours, the drop-in is put back byte for byte, the menu is not touched, and
    :class:`CarveoutError` is raised.
    """
    if not change.changed:
        return change.state
    problem = ""
    try:
        _put(system, change.files[0].after)
        menu, problem = _generated(system, change.state)
        after = read_loader(system, augeas, menu)
        problem = problem or _read_back(system, augeas, change, after)
        if not problem:
            system.write_boot(change.state.menu, menu, permissions(system, change.state.menu, 0o600))
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    except BaseException:
        # whatever it was, a later update-grub must not bring in what nobody has looked at
        _restore(system, change)
        raise
    if not problem:
        return after
    raise CarveoutError.of("boot", "boot-change-failed", problem + _restore(system, change))


def _put(system: System, text: str | None) -> None:
    if text is None:
        system.remove(DROP_IN)
    else:
        system.write(DROP_IN, text)


def _generated(system: System, state: LoaderState) -> tuple[str, str]:
    """The menu as the host's own programs make it now, and how that failed: empty where it did not."""
    system.write(GENERATED, "", 0o600)
    try:
        done = system.run(state.regenerate)
        if done.status == 0:
            return system.read(GENERATED) or "", ""
        said = " / ".join(line for line in (done.stderr or done.stdout).split("\n")[-6:] if line.strip())
        return "", f"{' '.join(state.regenerate)} failed with status {done.status} ({said})"
    finally:
        system.remove(GENERATED)


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


def _restore(system: System, change: Change) -> str:
    """Put the drop-in back as it was; what to tell about it."""
    before = change.state.drop_in_text
    try:
        # on a full disk the new one was never there, and the old one could not be written again
        if system.read(DROP_IN) != before:
            _put(system, before)
    except OSError as error:
        return f". {error.filename or DROP_IN} could not be put back as it was: {error.strerror}"
    return f". {DROP_IN} was put back as it was, {change.state.menu} was not touched"
