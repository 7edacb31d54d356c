# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing a host whose GRUB boots by entry files, and proving by what GRUB will read that it did what was meant.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import CarveoutError, NotPossible
from .._system import System
from .bls import Files, environment, read_loader
from .bls_places import places_of
from .change import Change, FileEdit, check_arguments, default_entry, plan_change
from .grubenv import variables_of, with_variable
from .state import LoaderState

SAVED = "saved_entry"
#: Our variable in grubenv: the entry that we made the default, a blank, and the one that was it before.
REMEMBERED = "carveout_saved_entry"


def plan(
    system: System, menu: str, state: LoaderState, wanted: Sequence[str] | None, kernel: str = ""
) -> Change:
    """The change to ``wanted``, None for removal; ``kernel`` is the release whose entry has to be the default.

    Changes nothing. Raises :class:`InvalidInput` for what is no layout's argument list,
    :class:`NotPossible` where this host cannot boot with it.
    """
    if wanted is not None:
        check_arguments(wanted)
    if state.problem:
        return plan_change(state, wanted or (), ())
    texts = _texts(system, menu, state, wanted or (), default_entry(state, kernel) if kernel else "")
    after = read_loader(system, menu, texts)
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


def apply(system: System, menu: str, change: Change) -> LoaderState:
    """Make the change and read back what GRUB will; the new state.

    Where that is not as meant, every file is put back byte for byte and :class:`CarveoutError` is raised.
    """
    if not change.changed:
        return change.state
    try:
        for edit in change.files:
            system.write(edit.path, edit.after or "", edit.mode)
        after = read_loader(system, menu)
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
    system: System, menu: str, state: LoaderState, wanted: Sequence[str], default: str
) -> dict[str, str]:
    """What the files have to hold, in the order in which they are to be written."""
    files = Files(system)
    block = environment(system, menu)
    runs = [state.owned, *state.stored]
    texts = {
        place.path: place.changed_to(wanted, runs) for place in places_of(files.text, files.entries(), block)
    }
    before = files.text(block) or ""
    after = _with_default(block, texts.get(block, before), default)
    return texts if after == before else {**texts, block: after}


def _with_default(path: str, block: str, entry: str) -> str:
    """The variables with an entry as the default; empty takes back what we chose before, if nobody did since."""
    variables = variables_of(block)
    saved, remembered = variables.get(SAVED, ""), variables.get(REMEMBERED)
    ours, _, others = (remembered or "").partition(" ")
    if entry and (remembered is not None or saved != entry):
        block = with_variable(path, block, REMEMBERED, f"{entry} {others if saved == ours else saved}")
        return with_variable(path, block, SAVED, entry)
    if not entry and remembered is not None:
        block = with_variable(path, block, REMEMBERED, None)
        return with_variable(path, block, SAVED, others or None) if saved == ours else block
    return block


def _edit(system: System, path: str, after: str) -> FileEdit:
    stat = system.stat(path)
    return FileEdit(path, system.read(path), after, stat.mode & 0o7777 if stat else 0o644)


def _restore(system: System, change: Change) -> str:
    """Put every file back as it was; what to tell about it."""
    left = []
    for edit in change.files:
        try:
            system.write(edit.path, edit.before or "", edit.mode)
        except OSError as error:
            left.append(f"{edit.path} could not be put back as it was: {error.strerror}")
    return ". " + ("; ".join(left) or "Every file was put back as it was")
