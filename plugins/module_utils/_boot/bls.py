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
from dataclasses import dataclass

from .._arguments import split
from .._errors import NotPossible
from .._system import System
from . import bls_text
from .bls_entries import ENTRIES, EntryFile, menu_entry
from .bls_files import TRIAL_ID, Files, resolved
from .bls_places import KERNELOPTS, Place, owned_arguments, places_of
from .grub_machine import Entry
from .grub_menu import BootEntry, next_entry
from .grub_words import GrubScriptError
from .grubenv import line_of, variables_of, with_variable
from .reading import foreign_arguments, names_in, read_text, running_kernel, stored_arguments
from .state import LoaderState
from .trial_text import without_choice

#: Where GRUB's menu may be; on UEFI hosts a link of /etc says it (RHEL 8 keeps it on the EFI partition).
MENUS = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
_EFI_LINK = "/etc/grub2-efi.cfg"
_BLSCFG = re.compile(r"^[ \t]*blscfg\b", re.MULTILINE)
SAVED = "saved_entry"
#: Our variable in grubenv: the entry that we made the default, a blank, and the one that was it before.
REMEMBERED = "carveout_saved_entry"


def find_menu(system: System) -> str | None:
    """The menu that runs ``blscfg``, None where there is none."""
    menus = [*MENUS]
    if names_in(system, "/sys/firmware/efi") and system.readlink(_EFI_LINK):
        menus.insert(0, resolved(system, _EFI_LINK))
    return next((menu for menu in menus if _BLSCFG.search(read_text(system, menu) or "")), None)


def environment(system: System, menu: str) -> str:
    """The file of GRUB's variables that belongs to a menu."""
    return resolved(system, posixpath.join(posixpath.dirname(menu), "grubenv"))


@dataclass(frozen=True)
class Blscfg:
    """GRUB with the menu at ``menu``, as :class:`EntryLoader`."""

    menu: str

    def read(self, system: System, changed: Mapping[str, str] | None = None) -> LoaderState:
        return _read(system, self.menu, changed)

    def places(self, system: System) -> list[Place]:
        files = Files(system)
        return places_of(files.text, files.entries(ENTRIES), environment(system, self.menu))

    def default(self, system: System, texts: Mapping[str, str], entry: str) -> dict[str, str]:
        path = environment(system, self.menu)
        before = texts.get(path, Files(system).text(path) or "")
        after = _with_default(path, before, entry)
        return {} if after == before else {path: after}


def next_boot(system: System, menu: str, files: Files, *, trial: bool = False) -> BootEntry:
    """The entry that boots next; without ``trial`` what boots but for a trial of ours, which is chosen only once.

    Raises :class:`GrubScriptError` where the menu cannot be followed.
    """
    entries, block = files.entries(ENTRIES, trial=trial), environment(system, menu)

    def text(path: str) -> str | None:
        found = files.text(path)
        ours = found is not None and not trial and resolved(system, path) == block
        return without_choice(path, found, TRIAL_ID) if found is not None and ours else found

    def made(variables: Mapping[str, str]) -> list[Entry]:
        return [made for file in entries.values() if (made := menu_entry(file, variables))]

    return next_entry(
        files.text(menu) or "",
        text,
        "efi" if names_in(system, "/sys/firmware/efi") else "pc",
        prefix=posixpath.dirname(menu),
        bls=made,
    )


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


def _read(system: System, menu: str, changed: Mapping[str, str] | None) -> LoaderState:
    files = Files(system, changed)
    running = tuple(split(read_text(system, "/proc/cmdline") or ""))
    stored = stored_arguments(system)
    entries = files.entries(ENTRIES)
    block = environment(system, menu)
    problem = ""
    entry = None
    try:
        entry = next_boot(system, menu, files)
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
    owned = owned_arguments(arguments, places, stored)
    return LoaderState(
        kind="grub-bls",
        problem=problem,
        owned=owned,
        boot_arguments=tuple(arguments) if entry else None,
        entry=entry.title if entry else "",
        command_line=entry.command_line if entry else "",
        kernel=entry.kernel if entry else "",
        kernels=tuple(
            (file.release, file.id) for file in entries.values() if file.value("linux") and not file.rescue
        ),
        running=running,
        running_kernel=running_kernel(system),
        stored=stored,
        foreign=tuple(foreign_arguments(arguments, running, [owned, *stored], _located(files, path, block))),
    )


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
