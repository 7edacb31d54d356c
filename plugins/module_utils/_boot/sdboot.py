# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd-boot with entry files that kernel-install makes.

A host is this where the firmware variable in which the loader tells its name says so.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._arguments import split
from .._errors import NotPossible
from .._system import System
from . import bls_text
from .bls_entries import EntryFile
from .bls_files import Files
from .bls_places import COMMAND_LINE, Place, owned_arguments
from .reading import foreign_arguments, names_in, read_text, running_kernel, stored_arguments
from .sdboot_order import SdEntry, choose, in_order, read_entry
from .state import LoaderState

#: A trial's own entry. It has no sort key, and entries without one come behind all others.
TRIAL_FILE = "carveout-trial.conf"
#: Where the EFI partition and the one for kernels (XBOOTLDR) may be mounted.
ROOTS = ("/efi", "/boot/efi", "/boot")
VARIABLE = "/sys/firmware/efi/efivars/{}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#: The entry for one boot: systemd-boot removes the variable when it has read it (boot.c, config_load_defaults).
ONE_SHOT = "LoaderEntryOneShot"


def variable(system: System, name: str) -> str:
    """A variable that the loader and the system share (UTF-16 behind four bytes of attributes); empty if not set."""
    data = (read_text(system, VARIABLE.format(name)) or "").encode("utf-8", "surrogateescape")
    return data[4:].decode("utf-16-le", "replace").partition("\0")[0]


def is_booted(system: System) -> bool:
    """Whether this boot came from systemd-boot."""
    return variable(system, "LoaderInfo").startswith("systemd-boot")


@dataclass(frozen=True)
class SystemdBoot:
    """systemd-boot, as :class:`EntryLoader`."""

    def read(self, system: System, changed: Mapping[str, str] | None = None) -> LoaderState:
        files = Files(system, changed)
        running = tuple(split(read_text(system, "/proc/cmdline") or ""))
        stored = stored_arguments(system)
        problem = ""
        entries: dict[str, SdEntry] = {}
        places: list[Place] = []
        try:
            entries = entries_of(system, files)
            places = _places(files, entries)
        except NotPossible as error:
            problem = "; ".join(each.message for each in error.problems)
        path = next_path(system, files, entries)
        if not path:
            problem = problem or f"no entry in loader/entries of {', '.join(ROOTS)} starts a Linux kernel"
        file = entries[path].file if path else EntryFile("", ())
        options = " ".join(value for name, value in file.fields if name == "options")
        arguments = split(options)
        owned = owned_arguments(arguments, places, stored)
        initrd = (file.value("initrd") or "").replace("/", "\\")
        return LoaderState(
            kind="systemd-boot",
            problem=problem,
            owned=owned,
            boot_arguments=tuple(arguments) if path else None,
            entry=file.value("title") or file.id,
            command_line=f"initrd={initrd} {options}",
            kernel=file.release,
            kernels=tuple((entry.file.release, entry.id) for entry in entries.values()),
            running=running,
            running_kernel=running_kernel(system),
            stored=stored,
            foreign=tuple(foreign_arguments(arguments, running, [owned, *stored], _located(files, path))),
        )

    def places(self, system: System) -> list[Place]:
        files = Files(system)
        return _places(files, entries_of(system, files))

    def default(self, system: System, texts: Mapping[str, str], entry: str) -> dict[str, str]:
        """Nothing where the entry boots anyway: the default is a variable of the firmware, and stays its owner's."""
        files = Files(system)
        entries = entries_of(system, files)
        path = next_path(system, files, entries)
        if entry and (not path or entries[path].file.release != _release(entries, entry)):
            raise NotPossible.of(
                "boot.kernel",
                "kernel-not-default",
                f"{entry} does not boot next: with systemd-boot choose it by `bootctl set-default {entry}`",
            )
        return {}


def _release(entries: Mapping[str, SdEntry], identity: str) -> str:
    return next(entry.file.release for entry in entries.values() if entry.id == identity)


def entries_of(system: System, files: Files, *, trial: bool = False) -> dict[str, SdEntry]:
    """Entries that start Linux kernels, by their paths, in the menu's order; with that of a trial if asked.

    Raises :class:`NotPossible` where they are not what Carveout changes.
    """
    folders = [f"{root}/loader/entries" for root in ROOTS]
    folders = [folder for folder in folders if any(n.endswith(".conf") for n in names_in(system, folder))]
    if len(folders) > 1:
        raise NotPossible.of(
            "boot",
            "boot-entries-doubled",
            f"there are entries in {' and '.join(folders)}: Carveout needs one place",
        )
    for root in ROOTS:
        images = [name for name in names_in(system, f"{root}/EFI/Linux") if name.lower().endswith(".efi")]
        if images:
            raise NotPossible.of(
                "boot",
                "boot-unified-image",
                f"{root}/EFI/Linux/{images[0]} is a unified kernel image: its command line is part of it (and of what"
                " is signed), and Carveout changes entry files only",
            )
    found = {}
    for folder in folders:
        for name in files.names(folder):
            ours = name == TRIAL_FILE
            if name.endswith(".conf") and not name.startswith("auto-") and (trial or not ours):
                entry = read_entry(name, files.text(f"{folder}/{name}") or "")
                if entry.file.value("linux") is not None:
                    found[f"{folder}/{name}"] = entry
    return {path: found[path] for path in in_order(found)}


def _places(files: Files, entries: Mapping[str, SdEntry]) -> list[Place]:
    places = []
    line = files.text(COMMAND_LINE)
    if line is not None:
        start, end = bls_text.command_line_of(line)
        places.append(Place(COMMAND_LINE, line, line[start:end], start, raw=True))
    for path in entries:
        text = files.text(path) or ""
        start, end = bls_text.options_of(path, text)
        places.append(Place(path, text, text[start:end], start, raw=True))
    return places


def next_path(
    system: System, files: Files, entries: Mapping[str, SdEntry], one_shot: str | None = None
) -> str:
    """The path of the entry that boots next, empty where there is none.

    ``one_shot`` is the choice for one boot, by default the one that is made; the loader forgets it before it boots.
    """
    settings = next((text for root in ROOTS if (text := files.text(f"{root}/loader/loader.conf"))), "")
    default = read_entry("loader.conf", settings).file.value("default") or ""
    chosen = variable(system, ONE_SHOT) if one_shot is None else one_shot
    wanted = [chosen, variable(system, "LoaderEntryDefault"), default]
    return choose(entries, wanted, variable(system, "LoaderEntryLastBooted"))


def _located(files: Files, path: str) -> Sequence[tuple[str, str, int]]:
    text = files.text(path) or "" if path else ""
    try:
        start, end = bls_text.options_of(path, text)
    except NotPossible:
        return []
    line = text.count("\n", 0, start) + 1
    return [(token, path, line) for token in split(text[start:end])]
