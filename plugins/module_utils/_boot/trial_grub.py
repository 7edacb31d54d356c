# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial boot through GRUB's generated menu: an entry in custom.cfg, and ``next_entry`` in grubenv.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._arguments import TRIAL_ARGUMENT, parse, split
from .._system import System
from .._system_tools import permissions
from .change import FileEdit, default_entry, plan_change
from .grub import ENVIRONMENT, MENU, platform, read_loader
from .grub_machine import PREFIX
from .grub_menu import BootEntry, linux_entries, next_entry
from .grub_words import GrubScriptError
from .grubenv import with_variable
from .ownership import owned_runs
from .reading import read_text
from .trial_environment import check_environment
from .trial_loader import INSTEAD, Trial, not_as_meant, put_file, refused
from .trial_text import (
    CHOICE,
    TRIAL_ID,
    argument_words,
    arguments_of,
    entry_block,
    with_block,
    without_block,
    without_choice,
)

ENTRIES = PREFIX + "/custom.cfg"


class GeneratedMenu:
    """GRUB whose menu ``grub-mkconfig`` makes, as :class:`TrialLoader`."""

    def plan(self, system: System, wanted: Sequence[str], extra: Sequence[str], kernel: str) -> Trial:
        state = read_loader(system, None)
        if state.problem:
            raise refused(f"a trial boot is not possible here: {state.problem}; {INSTEAD}")
        menu = system.read(MENU) or ""
        check_environment(system, MENU, menu, ENVIRONMENT, "grub")
        try:
            default = _read_entry(system, menu, chosen=False)
            source = _entry_of(system, menu, default_entry(state, kernel)) if kernel else default
            texts = arguments_of(source.words[1:])
            owned = owned_runs(texts, [wanted, state.owned, *state.stored])
            places = {index for run in owned for index in range(run.start, run.end)}
            rest = [word for index, word in enumerate(source.words[1:]) if index not in places]
            start = owned[0].start if owned else len(rest)
            ours = argument_words(wanted)
            words = [*rest[:start], *ours, *rest[start:]]
            end = words.index("--") if "--" in words else len(words)
            words[end:end] = argument_words([TRIAL_ARGUMENT, *extra])
            block = entry_block(menu, source, words, parse(wanted[0]).value or "")
        except GrubScriptError as error:
            raise refused(f"{MENU}: {error}: a trial needs a copy of that entry") from None
        arguments = split(" ".join(arguments_of(words)))
        plan_change(state, wanted, [], arguments=arguments, kernel=kernel)
        entries, environment = system.read(ENTRIES), system.read(ENVIRONMENT) or ""
        chosen = with_variable(ENVIRONMENT, environment, CHOICE, TRIAL_ID)
        files = (
            _edit(system, ENTRIES, entries, with_block(entries, block)),
            _edit(system, ENVIRONMENT, environment, chosen),
        )
        return Trial(files, tuple(arguments), _told(default))

    def put(self, system: System, edit: FileEdit) -> None:
        put_file(system, edit)

    def check(self, system: System, trial: Trial) -> None:
        menu = system.read(MENU) or ""
        try:
            default, chosen = (_read_entry(system, menu, chosen=chosen) for chosen in (False, True))
        except GrubScriptError as error:
            raise not_as_meant(f"{MENU} with the trial's entry: {error}") from None
        if chosen.id != TRIAL_ID:
            raise refused(
                f"the menu does not read {ENTRIES}, where the trial's entry stands: make /etc/grub.d/41_custom"
                f" executable and run update-grub, or {INSTEAD}"
            )
        if _told(default) != trial.default or tuple(split(chosen.arguments)) != trial.arguments:
            raise not_as_meant(
                f"the entries are not as meant: the trial has {chosen.arguments}, the default is {default.title!r}"
            )

    def leftovers(self, system: System) -> list[FileEdit]:
        environment, entries = (read_text(system, path) for path in (ENVIRONMENT, ENTRIES))
        after = None if environment is None else without_choice(ENVIRONMENT, environment)
        return [
            _edit(system, ENVIRONMENT, environment, after),
            _edit(system, ENTRIES, entries, without_block(entries)),
        ]


def _edit(system: System, path: str, before: str | None, after: str | None) -> FileEdit:
    return FileEdit(path, before, after, permissions(system, path, 0o600))


def _told(entry: BootEntry) -> tuple[str, str]:
    return entry.id, entry.command_line


def _read_entry(system: System, menu: str, *, chosen: bool) -> BootEntry:
    """The entry that boots next, with our choice or without it."""

    def files(path: str) -> str | None:
        text = read_text(system, path)
        return without_choice(path, text) if text is not None and path == ENVIRONMENT and not chosen else text

    return next_entry(menu, files, platform(system))


def _entry_of(system: System, menu: str, name: str) -> BootEntry:
    entries = linux_entries(menu, lambda path: read_text(system, path), platform(system))
    return next(entry for entry in entries if entry.id == name)
