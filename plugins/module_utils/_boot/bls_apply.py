# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing a host that boots by entry files, and proving by what the loader will read that it did what was meant.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from .._errors import CarveoutError, NotPossible
from .._system import System
from .._system_tools import permissions
from .bls_places import Place
from .change import Change, FileEdit, check_arguments, default_entry, plan_change
from .ownership import trial_tail, without_tail
from .state import LoaderState


class EntryLoader(Protocol):
    """A boot loader that boots by entry files."""

    def read(self, system: System, changed: Mapping[str, str] | None = None) -> LoaderState:
        """Its state, with some files as they would be. Changes nothing, and raises nothing."""

    def places(self, system: System) -> list[Place]:
        """Where arguments have to stand, in the order of writing. Raises :class:`NotPossible`."""

    def default(self, system: System, texts: Mapping[str, str], entry: str) -> dict[str, str]:
        """What makes an entry the default: texts by path, where ``texts`` are to be written anyway.

        Empty takes back what was chosen by us before. Raises :class:`NotPossible`.
        """


def plan(
    system: System, loader: EntryLoader, state: LoaderState, wanted: Sequence[str] | None, kernel: str = ""
) -> Change:
    """The change to ``wanted``, None for removal; ``kernel`` is the release whose entry has to be the default.

    Changes nothing. Raises :class:`InvalidInput` for what is no layout's argument list,
    :class:`NotPossible` where this host cannot boot with it.
    """
    if wanted is not None:
        check_arguments(wanted)
    if state.problem:
        return plan_change(state, wanted or (), ())
    texts = _texts(system, loader, state, wanted or (), default_entry(state, kernel) if kernel else "")
    if state.boot_arguments is not None:
        # what an entry has of a trial's command line is no argument of others that would have to stay
        state = replace(state, boot_arguments=tuple(without_tail(state.boot_arguments, state.running)))
    after = loader.read(system, texts)
    edits = [edit for edit in (_edit(system, *item) for item in texts.items()) if edit.changed]
    change = plan_change(state, wanted or (), edits, arguments=after.boot_arguments, kernel=kernel)
    wrong = change.problem_of(after) if change.changed else ""
    if wrong:
        raise NotPossible.of(
            "boot",
            "boot-change-impossible",
            f"the entry {after.entry!r} that boots next would not be as meant: {wrong}"
            + (f" ({after.problem})" if after.problem else ""),
        )
    return change


def apply(system: System, loader: EntryLoader, change: Change) -> LoaderState:
    """Make the change and read back what GRUB will; the new state.

    Where that is not as meant, every file is put back byte for byte and :class:`CarveoutError` is raised.
    """
    if not change.changed:
        return change.state
    try:
        for edit in change.files:
            system.write_boot(edit.path, edit.after or "", edit.mode)
        after = loader.read(system)
        problem = change.problem_of(after)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    except BaseException:
        # whatever it was, the host must not be left with entries that nobody has looked at
        _restore(system, change)
        raise
    if not problem:
        return after
    raise CarveoutError.of(
        "boot",
        "boot-change-failed",
        f"after the change the entry that boots next is not as meant: {problem}{_restore(system, change)}",
    )


def _texts(
    system: System, loader: EntryLoader, state: LoaderState, wanted: Sequence[str], default: str
) -> dict[str, str]:
    """What the files have to hold, in the order in which they are to be written."""
    runs = [state.owned, *state.stored]
    tail = trial_tail(state.running)
    texts = {place.path: place.changed_to(wanted, runs, tail) for place in loader.places(system)}
    return {**texts, **loader.default(system, texts, default)}


def _edit(system: System, path: str, after: str) -> FileEdit:
    return FileEdit(path, system.read(path), after, permissions(system, path, 0o644))


def _restore(system: System, change: Change) -> str:
    """Put every file back as it was; what to tell about it."""
    left = []
    for edit in change.files:
        try:
            if system.read(edit.path) != edit.before:
                system.write_boot(edit.path, edit.before or "", edit.mode)
        except OSError as error:
            left.append(f"{edit.path} could not be put back as it was: {error.strerror}")
    return ". " + ("; ".join(left) or "Every file was put back as it was")
