# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB as the Debian family configures it: /etc/default/grub, its drop-ins, and grub-mkconfig.

What the host is comes from what is found on it, never from its distribution's name.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from typing import Any

from .._arguments import split
from .._system import System
from . import grub_files
from .bls_files import resolved
from .grub_files import DROP_IN, Unparsable
from .grub_machine import PREFIX
from .grub_menu import BootEntry, linux_entries, next_entry
from .grub_words import GrubScriptError
from .reading import foreign_arguments, read_text, running_kernel, stored_arguments
from .state import LoaderState
from .trial_text import TRIAL_ID, without_choice

MENU = PREFIX + "/grub.cfg"
ENVIRONMENT = PREFIX + "/grubenv"

_MKCONFIG = "/usr/sbin/grub-mkconfig"
#: Where a menu is generated. Not where GRUB reads it, as update-grub does: that truncates the menu and fills it anew.
GENERATED = "/run/carveout/grub.cfg"

#: Arguments by which 10_linux makes its recovery entries, in Debian and in Ubuntu.
_RECOVERY = {"single", "recovery"}
#: IDs that mean themselves between quotes, to sh and to GRUB.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.,:@%/+> -]+")


def read_loader(system: System, augeas: Any, menu: str | None = None) -> LoaderState:
    """The state of the host's boot loader, with the text of another ``menu`` where one is given.

    Changes nothing, and raises nothing. ``augeas`` is an ``augeas.Augeas`` of either Python binding, or None: foreign
    arguments then come without file and line.
    """
    running = tuple(split(read_text(system, "/proc/cmdline") or ""))
    stored = stored_arguments(system)
    try:
        regenerate, problem = _tools(system)
        drop_in_text = system.read(DROP_IN)
        menu = system.read(MENU) if menu is None else menu
        unparsable, located = _configuration(system, augeas)
    except OSError as error:
        return LoaderState(
            "grub",
            problem=f"{error.filename}: {error.strerror}",
            drop_in=DROP_IN,
            running=running,
            running_kernel=running_kernel(system),
            stored=stored,
            foreign=tuple(foreign_arguments([], running, stored, [])),
        )
    entry = None
    kernels: tuple[tuple[str, str], ...] = ()
    if not problem and menu is None:
        problem = f"no {MENU}: this host does not boot by GRUB, or its menu was never generated"
    elif menu is not None:
        try:
            entry = _next_entry(system, menu)
            kernels = _kernels(system, menu)
        except GrubScriptError as error:
            problem = problem or f"{MENU}: {error}"
    arguments = split(entry.arguments) if entry else None
    owned = _owned(drop_in_text)
    return LoaderState(
        kind="" if problem and entry is None else "grub",
        problem=problem,
        unparsable=unparsable,
        drop_in=DROP_IN,
        drop_in_text=drop_in_text,
        owned=tuple(owned),
        boot_arguments=None if arguments is None else tuple(arguments),
        entry=entry.title if entry else "",
        command_line=entry.command_line if entry else "",
        kernel=entry.kernel if entry else "",
        kernels=kernels,
        running=running,
        running_kernel=running_kernel(system),
        stored=stored,
        foreign=tuple(foreign_arguments(arguments or [], running, [owned, *stored], located)),
        regenerate=regenerate,
        menu=resolved(system, MENU),
    )


def _tools(system: System) -> tuple[tuple[str, ...], str]:
    """The command that makes the menu, or why there is none that reads our drop-in."""
    mkconfig = system.read(_MKCONFIG)
    if system.read(grub_files.DEFAULTS) is None or mkconfig is None:
        return (), f"no {grub_files.DEFAULTS} with {_MKCONFIG}: not a GRUB as Debian configures it"
    if "/default/grub.d/" not in mkconfig:
        return (
            (),
            f"{_MKCONFIG} does not read {grub_files.DROP_INS}: not a GRUB as Debian configures it",
        )
    return (_MKCONFIG, "-o", GENERATED), ""


def _next_entry(system: System, menu: str) -> BootEntry:
    """What boots but for a trial of ours, which is chosen for one boot only."""

    def files(path: str) -> str | None:
        text = read_text(system, path)
        return without_choice(path, text) if text is not None and path == ENVIRONMENT else text

    return next_entry(menu, files, platform(system))


def platform(system: System) -> str:
    """What GRUB calls the firmware: ``efi`` or ``pc``."""
    return "efi" if system.listdir("/sys/firmware/efi") else "pc"


def _kernels(system: System, menu: str) -> tuple[tuple[str, str], ...]:
    """Each release with the ID of its entry; one that names the release before one that may move to another."""
    entries = [
        entry
        for entry in linux_entries(menu, lambda path: read_text(system, path), platform(system))
        if entry.kernel
        and entry.id != TRIAL_ID
        and not _RECOVERY & set(entry.words)
        and _PLAIN_ID.fullmatch(entry.id)
    ]
    return tuple((e.kernel, e.id) for e in sorted(entries, key=lambda entry: entry.kernel not in entry.id))


def _owned(drop_in_text: str | None) -> list[str]:
    try:
        return grub_files.owned_tokens(drop_in_text or "")
    except ValueError:
        return []  # edited by hand: nothing in it is known to be ours


def _configuration(system: System, augeas: Any) -> tuple[str, list[tuple[str, str, int]]]:
    """What augeas could not read, and the memory arguments in what it could, our drop-in left out."""
    problems = []
    located = []
    for path in grub_files.config_files(system) if augeas is not None else ():
        if path == DROP_IN:
            continue
        try:
            located += grub_files.locate(grub_files.read_assignments(augeas, path, system.read(path) or ""))
        except Unparsable as error:
            problems.append(str(error))
    return "; ".join(problems), located
