# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial boot through GRUB: the next boot, and only that one, has the new arguments.

Whatever then happens, GRUB itself has taken the choice back before it started the kernel: each later boot is the
default entry's, which the trial never touches.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .._arguments import TRIAL_ARGUMENT, parse, split
from .._errors import CarveoutError, NotPossible
from .._system import System
from .._tenant_units import UNIT_DIRECTORY
from .change import FileEdit, check_arguments, default_entry, plan_change
from .grub import ENVIRONMENT, MENU, platform, read_loader
from .grub_machine import PREFIX
from .grub_menu import BootEntry, linux_entries, next_entry
from .grub_words import GrubScriptError
from .grubenv import with_variable
from .loader import needs_augeas
from .ownership import owned_runs
from .reading import read_text
from .trial_text import (
    CHOICE,
    TRIAL_ID,
    argument_words,
    arguments_of,
    entry_block,
    unit_text,
    with_block,
    without_block,
    without_choice,
)

ENTRIES = PREFIX + "/custom.cfg"
SERVICE = "carveout-trial.service"
UNIT = f"{UNIT_DIRECTORY}/{SERVICE}"
HEADER = "# Written by Carveout (carveout.memory.trial_boot) for one trial boot; gone when it is over."

_INSTEAD = "set policy.trial_boot: false to have the arguments made permanent at once"
#: File systems that GRUB only reads (00_header's check_writable).
_READ_ONLY = {"btrfs", "cpiofs", "newc", "odc", "romfs", "squash4", "tarfs", "zfs"}


@dataclass(frozen=True)
class Trial:
    """A trial that can be begun: the files to write, and the entry as it has to be read back.

    ``arguments`` is what its kernel gets, ``default`` the entry that has to stay the default.
    """

    files: tuple[FileEdit, ...]
    arguments: tuple[str, ...]
    default: BootEntry

    @property
    def changed(self) -> bool:
        return any(file.changed for file in self.files)

    @property
    def actions(self) -> list[str]:
        return [file.action for file in self.files if file.changed]


def plan_trial(
    system: System, wanted: Sequence[str], extra: Sequence[str], seconds: int, kernel: str = ""
) -> Trial:
    """The next boot with ``wanted`` and, for this boot only, ``extra``, ended by the host itself after ``seconds``.

    ``kernel`` is the release to boot, empty for that of the default entry. Changes nothing. Raises
    :class:`InvalidInput` for what are no arguments, :class:`NotPossible` where this host has no way of a trial boot.
    """
    check_arguments(wanted)
    state = read_loader(system, None)
    problem = (
        state.problem if needs_augeas(system) else "the host boots by entry files, not by a generated menu"
    )
    if problem:
        raise _refused(f"a trial boot is not possible here: {problem}; {_INSTEAD}")
    menu = system.read(MENU) or ""
    _check_environment(system, menu)
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
        raise _refused(f"{MENU}: {error}: a trial needs a copy of that entry") from None
    arguments = split(" ".join(arguments_of(words)))
    plan_change(state, wanted, [], arguments=arguments, kernel=kernel)
    entries, environment = system.read(ENTRIES), system.read(ENVIRONMENT) or ""
    files = (
        FileEdit(UNIT, system.read(UNIT), unit_text(HEADER, seconds)),
        FileEdit(ENTRIES, entries, with_block(entries, block), _mode(system, ENTRIES)),
        FileEdit(
            ENVIRONMENT,
            environment,
            with_variable(ENVIRONMENT, environment, CHOICE, TRIAL_ID),
            _mode(system, ENVIRONMENT),
        ),
    )
    return Trial(files, tuple(arguments), default)


def begin(system: System, trial: Trial) -> None:
    """Write the trial, the choice of it last, and read it back as GRUB will.

    Where that shows anything else than what is meant, everything is taken back and :class:`CarveoutError` raised.
    """
    try:
        for file in trial.files:
            if file.path == ENVIRONMENT:
                # the switch has to be there before anything can boot that needs it
                _systemctl(system, "daemon-reload")
                _systemctl(system, "enable", SERVICE)
            if file.changed:
                system.write(file.path, file.after or "", file.mode)
        _check_written(system, trial)
    except OSError as error:
        end(system)
        raise CarveoutError.of(
            "boot", "trial-failed", f"{error.filename}: {error.strerror}; nothing of the trial was left"
        ) from None
    except BaseException:
        end(system)
        raise


def leftovers(system: System) -> list[FileEdit]:
    """What a trial has on the host, as changes that take it away; the choice of it first."""
    environment, entries, unit = (read_text(system, path) for path in (ENVIRONMENT, ENTRIES, UNIT))
    edits = [
        FileEdit(
            ENVIRONMENT,
            environment,
            None if environment is None else without_choice(ENVIRONMENT, environment),
            _mode(system, ENVIRONMENT),
        ),
        FileEdit(ENTRIES, entries, without_block(entries), _mode(system, ENTRIES)),
        FileEdit(UNIT, unit, None),
    ]
    return [edit for edit in edits if edit.changed]


def end(system: System) -> list[str]:
    """Take the trial away and stop its switch; what was done. The running kernel stays as it is."""
    edits = leftovers(system)
    for edit in edits:
        if edit.path == UNIT:
            _systemctl(system, "disable", "--now", SERVICE)
        if edit.after is None:
            system.remove(edit.path)
        else:
            system.write(edit.path, edit.after, edit.mode)
    if any(edit.path == UNIT for edit in edits):
        _systemctl(system, "daemon-reload")
    return [edit.action for edit in edits]


def _check_environment(system: System, menu: str) -> None:
    """Raise :class:`NotPossible` where GRUB would not take the choice back, and so boot the trial for ever."""
    if not re.search(rf"^\s*save_env\s+{CHOICE}\s*$", menu, re.MULTILINE):
        raise _refused(f"{MENU} knows no choice for one boot only (`save_env {CHOICE}`); {_INSTEAD}")
    if system.read(ENVIRONMENT) is None or system.readlink(ENVIRONMENT) is not None:
        raise _refused(
            f"{ENVIRONMENT} is missing or a link, so GRUB cannot note that the trial was booted: make it with"
            f" `grub-editenv {ENVIRONMENT} create`, or {_INSTEAD}"
        )
    for target, what in (("abstraction", "lies on"), ("fs", "is in a file system of type")):
        done = system.run(["grub-probe", f"--target={target}", ENVIRONMENT])
        if done.status != 0:
            said = (done.stderr or done.stdout).strip().replace("\n", " / ")
            raise _refused(f"GRUB's own grub-probe cannot tell where {ENVIRONMENT} lies ({said}); {_INSTEAD}")
        found = set(done.stdout.split())
        if found if target == "abstraction" else found & _READ_ONLY:
            raise _refused(
                f"{ENVIRONMENT} {what} {' '.join(sorted(found))}, where GRUB cannot write: it would boot the trial"
                f" again and again. Use a /boot on a plain partition, or {_INSTEAD}"
            )


def _check_written(system: System, trial: Trial) -> None:
    menu = system.read(MENU) or ""
    try:
        default, chosen = (_read_entry(system, menu, chosen=chosen) for chosen in (False, True))
    except GrubScriptError as error:
        raise CarveoutError.of("boot", "trial-failed", f"{MENU} with the trial's entry: {error}") from None
    if chosen.id != TRIAL_ID:
        raise _refused(
            f"the menu does not read {ENTRIES}, where the trial's entry stands: make /etc/grub.d/41_custom executable"
            f" and run update-grub, or {_INSTEAD}"
        )
    if default != trial.default or tuple(split(chosen.arguments)) != trial.arguments:
        raise CarveoutError.of(
            "boot",
            "trial-failed",
            f"the entries are not as meant: the trial has {chosen.arguments}, the default is {default.title!r}",
        )


def _read_entry(system: System, menu: str, *, chosen: bool) -> BootEntry:
    """The entry that boots next, with our choice or without it."""

    def files(path: str) -> str | None:
        text = read_text(system, path)
        return without_choice(path, text) if text is not None and path == ENVIRONMENT and not chosen else text

    return next_entry(menu, files, platform(system))


def _entry_of(system: System, menu: str, name: str) -> BootEntry:
    entries = linux_entries(menu, lambda path: read_text(system, path), platform(system))
    return next(entry for entry in entries if entry.id == name)


def _mode(system: System, path: str) -> int:
    found = system.stat(path)
    return found.mode & 0o7777 if found else 0o600


def _systemctl(system: System, *arguments: str) -> None:
    done = system.run(["systemctl", *arguments])
    if done.status != 0:
        raise CarveoutError.of(
            "boot",
            "systemd",
            f"'systemctl {' '.join(arguments)}' failed: {done.stderr.strip() or done.status}",
        )


def _refused(message: str) -> NotPossible:
    return NotPossible.of("policy.trial_boot", "trial-boot-impossible", message)
