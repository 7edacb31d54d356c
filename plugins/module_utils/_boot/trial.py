# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial boot: the next boot, and only that one, has the new arguments.

Whatever then happens, the boot loader itself has taken the choice back before it started the kernel: each later boot
is the default entry's, which the trial never touches. How a loader does that has a file for each.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._system import System
from . import bls, sdboot, trial_switch
from .change import FileEdit, check_arguments
from .trial_blscfg import EntryMenu
from .trial_grub import GeneratedMenu
from .trial_loader import Trial, TrialLoader, not_as_meant, refused
from .trial_sdboot import OneShot
from .trial_watchdog import watchdog_arguments


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that can be begun: the switch that ends it, and what the boot loader needs."""

    switch: FileEdit
    entry: Trial
    loader: TrialLoader

    @property
    def files(self) -> tuple[FileEdit, ...]:
        """In the order of writing."""
        return (self.switch, *self.entry.files)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its kernel gets."""
        return self.entry.arguments

    @property
    def changed(self) -> bool:
        return any(file.changed for file in self.files)

    @property
    def actions(self) -> list[str]:
        return [file.action for file in self.files if file.changed]


def plan_trial(
    system: System, wanted: Sequence[str], extra: Sequence[str], seconds: int, kernel: str = ""
) -> PlannedTrial:
    """The next boot with ``wanted`` and, for this boot only, ``extra``, ended by the host itself after ``seconds``.

    A hardware watchdog that nobody uses is started with it. ``kernel`` is the release to boot, empty for that of the
    default entry. Changes nothing. Raises :class:`InvalidInput` for what are no arguments, :class:`NotPossible` where
    this host has no way of a trial boot.
    """
    check_arguments(wanted)
    loader = _loader(system)
    entry = loader.plan(system, wanted, [*extra, *watchdog_arguments(system, extra)], kernel)
    return PlannedTrial(trial_switch.planned(system, seconds), entry, loader)


def check_alone(system: System, measured: str) -> None:
    """Raise :class:`NotPossible` where a trial was prepared since the host was measured: another run is at work.

    ``measured`` is what told the prepared trial from others then (``state.loader.trial`` of the snapshot).
    """
    now = trial_switch.prepared(system)
    if now and now != measured:
        raise refused(
            "another run has prepared a trial boot of this host since this one measured it; let that one end, then run"
            " again"
        )


def begin(system: System, trial: PlannedTrial) -> None:
    """Write the trial, the choice of it last, and read it back as the boot loader will.

    Where that shows anything else than what is meant, everything is taken back and :class:`CarveoutError` raised.
    """
    try:
        # it has to be there before anything can boot that needs it
        trial_switch.arm(system, trial.switch)
        for file in trial.entry.files:
            if file.changed:
                trial.loader.put(system, file)
        trial.loader.check(system, trial.entry)
    except OSError as error:
        end(system)
        raise not_as_meant(f"{error.filename}: {error.strerror}; nothing of the trial was left") from None
    except BaseException:
        end(system)
        raise


def leftovers(system: System) -> list[FileEdit]:
    """What a trial has on the host, as changes that take it away; the choice of it first, the switch last."""
    edits = [*_loader(system).leftovers(system), trial_switch.leftover(system)]
    return [edit for edit in edits if edit.changed]


def end(system: System) -> list[str]:
    """Take the trial away and stop its switch; what was done. The running kernel stays as it is."""
    loader = _loader(system)
    edits = leftovers(system)
    for edit in edits:
        if edit.path == trial_switch.UNIT:
            trial_switch.disarm(system)
        else:
            loader.put(system, edit)
    return [edit.action for edit in edits]


def _loader(system: System) -> TrialLoader:
    """How this host's boot loader does it."""
    if sdboot.is_booted(system):
        return OneShot()
    menu = bls.find_menu(system)
    return GeneratedMenu() if menu is None else EntryMenu(menu)
