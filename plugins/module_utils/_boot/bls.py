# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB that boots by entry files (``blscfg``), as Fedora, RHEL 8 and later and their relatives have it.

What the host is comes from what is found on it, never from its distribution's name: it is such a host where GRUB's
menu runs ``blscfg``.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from .._arguments import split
from .._errors import NotPossible
from .._system import System
from . import bls_text
from .bls_entries import ENTRIES, EntryFile, in_order, menu_entry, read_entry
from .bls_places import KERNELOPTS, Place, places_of
from .grub_machine import Entry
from .grub_menu import next_entry
from .grub_words import GrubScriptError
from .grubenv import line_of, variables_of
from .ownership import owned_runs
from .reading import foreign_arguments, read_text, running_kernel, stored_arguments
from .state import LoaderState

#: Where GRUB's menu may be; on UEFI hosts a link of /etc says it (RHEL 8 keeps it on the EFI partition).
MENUS = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
_EFI_LINK = "/etc/grub2-efi.cfg"
_BLSCFG = re.compile(r"^[ \t]*blscfg\b", re.MULTILINE)
_MAX_LINKS = 8


class Files:
    """The host's files, some of them as they would be after a change."""

    def __init__(self, system: System, changed: Mapping[str, str] | None = None) -> None:
        self._system = system
        self._changed = changed or {}

    def text(self, path: str) -> str | None:
        path = resolved(self._system, path)
        return self._changed[path] if path in self._changed else read_text(self._system, path)

    def entries(self) -> dict[str, EntryFile]:
        """The entry files by their paths, in the menu's order."""
        read = {
            f"{ENTRIES}/{name}": read_entry(name[: -len(".conf")], self.text(f"{ENTRIES}/{name}") or "")
            for name in self._system.listdir(ENTRIES)
            if len(name) > len(".conf") and name.endswith(".conf") and name[0] != "."
        }
        return {f"{ENTRIES}/{entry.id}.conf": entry for entry in in_order(read.values())}


def resolved(system: System, path: str) -> str:
    """The file that a path leads to: grubenv may be a link to the EFI partition."""
    for _ in range(_MAX_LINKS):
        target = system.readlink(path)
        if target is None:
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return path


def find_menu(system: System) -> str | None:
    """The menu that runs ``blscfg``, None where there is none."""
    menus = [*MENUS]
    if system.listdir("/sys/firmware/efi") and system.readlink(_EFI_LINK):
        menus.insert(0, resolved(system, _EFI_LINK))
    return next((menu for menu in menus if _BLSCFG.search(read_text(system, menu) or "")), None)


def environment(system: System, menu: str) -> str:
    """The file of GRUB's variables that belongs to a menu."""
    return resolved(system, posixpath.join(posixpath.dirname(menu), "grubenv"))


def read_loader(system: System, menu: str, changed: Mapping[str, str] | None = None) -> LoaderState:
    """The state of the boot loader, with some files as they would be. Changes nothing, and raises nothing."""
    files = Files(system, changed)
    running = tuple(split(read_text(system, "/proc/cmdline") or ""))
    stored = stored_arguments(system)
    entries = files.entries()
    block = environment(system, menu)
    problem = ""
    entry = None

    def made(variables: Mapping[str, str]) -> list[Entry]:
        return [made for file in entries.values() if (made := menu_entry(file, variables))]

    try:
        entry = next_entry(
            files.text(menu) or "",
            files.text,
            "efi" if system.listdir("/sys/firmware/efi") else "pc",
            prefix=posixpath.dirname(menu),
            bls=made,
        )
    except GrubScriptError as error:
        problem = f"{menu}: {error}"
    places: list[Place] = []
    try:
        places = places_of(files.text, entries, block)
    except NotPossible as error:
        problem = problem or str(error)
    path = f"{ENTRIES}/{entry.id}.conf" if entry else ""
    arguments = split(entry.arguments) if entry else []
    if entry and not problem:
        problem = _unfit(path, entries.get(path), arguments)
    owned = _owned(arguments, places, stored)
    return LoaderState(
        kind="grub-bls",
        problem=problem,
        owned=owned,
        boot_arguments=tuple(arguments) if entry else None,
        entry=entry.title if entry else "",
        command_line=entry.command_line if entry else "",
        kernel=entry.kernel if entry else "",
        kernels=tuple(
            (_release(file), file.id) for file in entries.values() if file.value("linux") and not file.rescue
        ),
        running=running,
        running_kernel=running_kernel(system),
        stored=stored,
        foreign=tuple(foreign_arguments(arguments, running, [owned, *stored], _located(files, path, block))),
    )


def _owned(
    arguments: Sequence[str], places: Sequence[Place], stored: Sequence[Sequence[str]]
) -> tuple[str, ...]:
    """Our arguments: as a stored layout has them, or else where the fewest of others' can stand behind them."""
    known = [tuple(arguments[run.start : run.end]) for run in owned_runs(arguments, stored) if run.known]
    found = [run for run in (place.owned(stored) for place in places) if run]
    return known[0] if known else min(found, key=len, default=())


def _release(file: EntryFile) -> str:
    image = (file.value("linux") or "").rpartition("/")[2]
    return re.sub(r"\A(vmlinuz|vmlinux|kernel)-", "", image)


def _unfit(path: str, file: EntryFile | None, arguments: Sequence[str]) -> str:
    """Why the entry that boots next cannot be given arguments; empty where it can."""
    if file is None:
        return "the entry that boots next is none of the files in " + ENTRIES
    if file.rescue:
        return (
            f"{path} boots next, the rescue entry: it stays without reservations; choose another by"
            " grubby --set-default"
        )
    if any(token.startswith("ostree=") for token in arguments):
        return (
            f"{path} is made by ostree, which writes it anew: its arguments are changed by rpm-ostree kargs"
        )
    return ""


def _located(files: Files, path: str, block: str) -> list[tuple[str, str, int]]:
    """Each argument that an entry's options bring: as the kernel gets it, file and line."""
    text, variables = files.text(path) or "", files.text(block) or ""
    try:
        start, end = bls_text.options_of(path, text)
    except NotPossible:
        return []
    options = text[start:end]
    parts = [(options, path, text.count("\n", 0, start) + 1, False)]
    if KERNELOPTS in options:
        parts.append(
            (variables_of(variables).get(KERNELOPTS, ""), block, line_of(variables, KERNELOPTS), True)
        )
    found = []
    for value, file, line, variable in parts:
        try:
            found += [(token, file, line) for token in bls_text.decode(value, variable=variable)]
        except ValueError:
            continue  # told without its place
    return found
