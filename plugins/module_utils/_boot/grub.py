# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB as the Debian family configures it: /etc/default/grub, its drop-ins, and update-grub.

What the host is comes from what is found on it, never from its distribution's name.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .._arguments import is_memory_argument, split
from .._host.model import ForeignArgument
from .._system import System
from . import grub_files
from .grub_files import DROP_IN, Unparsable
from .grub_machine import PREFIX
from .grub_menu import BootEntry, next_entry
from .grub_words import GrubScriptError
from .ownership import owned_runs, without_owned
from .state import LoaderState

MENU = PREFIX + "/grub.cfg"
LAYOUTS = "/etc/carveout/layouts"


def read_loader(system: System, augeas: Any) -> LoaderState:
    """The state of the host's boot loader. Changes nothing, and raises nothing.

    ``augeas`` is an ``augeas.Augeas`` of either Python binding, or None: foreign arguments then
    come without file and line.
    """
    running = tuple(split(_read(system, "/proc/cmdline") or ""))
    stored = _stored_arguments(system)
    try:
        regenerate, problem = _tools(system)
        drop_in_text = system.read(DROP_IN)
        menu = system.read(MENU)
        unparsable, located = _configuration(system, augeas)
    except OSError as error:
        return LoaderState(
            "grub",
            problem=f"{error.filename}: {error.strerror}",
            drop_in=DROP_IN,
            running=running,
            stored=stored,
            foreign=tuple(_foreign([], running, stored, [])),
        )
    entry = None
    if not problem and menu is None:
        problem = f"no {MENU}: this host does not boot by GRUB, or its menu was never generated"
    elif menu is not None:
        try:
            entry = _next_entry(system, menu)
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
        running=running,
        stored=stored,
        foreign=tuple(_foreign(arguments or [], running, [owned, *stored], located)),
        regenerate=regenerate,
    )


def _read(system: System, path: str) -> str | None:
    """A file's text, None where it cannot be read."""
    try:
        return system.read(path)
    except OSError:
        return None


def _tools(system: System) -> tuple[tuple[str, ...], str]:
    """The command that makes the menu, or why there is none that reads our drop-in."""
    mkconfig = system.read("/usr/sbin/grub-mkconfig")
    if system.read(grub_files.DEFAULTS) is None or mkconfig is None:
        return (
            (),
            f"no {grub_files.DEFAULTS} with /usr/sbin/grub-mkconfig: not a GRUB as Debian configures it",
        )
    if "/default/grub.d/" not in mkconfig:
        return (
            (),
            f"/usr/sbin/grub-mkconfig does not read {grub_files.DROP_INS}: not a GRUB as Debian configures it",
        )
    if "update-grub" in system.listdir("/usr/sbin"):
        return ("/usr/sbin/update-grub",), ""
    return ("/usr/sbin/grub-mkconfig", "-o", MENU), ""


def _next_entry(system: System, menu: str) -> BootEntry:
    platform = "efi" if system.listdir("/sys/firmware/efi") else "pc"
    return next_entry(menu, lambda path: _read(system, path), platform)


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


def _stored_arguments(system: System) -> tuple[tuple[str, ...], ...]:
    """The argument lists of the layouts stored on the host; a damaged file has none."""
    found = []
    try:
        names = system.listdir(LAYOUTS)
    except OSError:
        names = []
    for name in names:
        try:
            arguments = json.loads(_read(system, f"{LAYOUTS}/{name}") or "")["kernel_arguments"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments):
            found.append(tuple(arguments))
    return tuple(found)


def _foreign(
    arguments: Sequence[str],
    running: Sequence[str],
    ours: Sequence[Sequence[str]],
    located: Sequence[tuple[str, str, int]],
) -> list[ForeignArgument]:
    """Memory arguments that are not ours: of the next boot, then those only this boot has."""
    places = list(located)
    found = []
    rest = without_owned(arguments, owned_runs(arguments, ours))
    for token in filter(is_memory_argument, rest):
        place = next((place for place in places if place[0] == token), None)
        if place:
            places.remove(place)
        found.append(ForeignArgument(token, *(place[1:] if place else ("", 0))))
    for token in filter(is_memory_argument, without_owned(running, owned_runs(running, ours))):
        if token in rest:
            rest.remove(token)
        else:
            found.append(ForeignArgument(token, "", 0))
    return found
