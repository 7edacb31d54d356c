# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which entry of a GRUB menu boots next when nobody touches a key, and with what.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .grub_machine import PREFIX, Entry, Machine, MakeEntries, ReadFile
from .grub_script import parse
from .grub_words import GrubScriptError, command_line, loader_text

#: Submenus within submenus.
MAX_SUBMENUS = 10

#: What ``grub_strtoul`` reads with base 0: hexadecimal, octal, decimal.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*(?:0[xX]([0-9A-Fa-f]+)|(0[0-7]*)|([0-9]+))")
_IMAGE = re.compile(r"(?:vmlinuz|vmlinux|kernel)-(.+?)(?:\.efi\.signed)?")


@dataclass(frozen=True)
class BootEntry:
    """The entry that boots next.

    ``title`` is its path through the submenus, joined by ``>``. ``words`` are the image's path and
    the arguments as GRUB's ``linux`` command gets them. ``id`` is the same path made of IDs. ``line``
    is where it begins in the file that it stands in, 0 where it is made from another.
    """

    title: str
    words: tuple[str, ...]
    id: str = ""
    line: int = 0

    @property
    def command_line(self) -> str:
        """/proc/cmdline of that boot."""
        return command_line(self.words)

    @property
    def arguments(self) -> str:
        """The same without the loader's own ``BOOT_IMAGE=``."""
        return loader_text(self.words[1:])

    @property
    def kernel(self) -> str:
        """The release in the image's file name; empty where there is none."""
        found = _IMAGE.fullmatch(self.words[0].rpartition("/")[2])
        return found.group(1) if found else ""


def next_entry(
    menu: str,
    files: ReadFile,
    platform: str = "pc",
    *,
    prefix: str = PREFIX,
    bls: MakeEntries | None = None,
) -> BootEntry:
    """Run the menu (the text of grub.cfg) and choose as GRUB does (grub-core/normal/menu.c).

    ``files`` reads what the menu refers to, grubenv first of all; ``platform`` is ``pc`` or
    ``efi``; ``prefix`` and ``bls`` are those of :class:`Machine`. Raises :class:`GrubScriptError`
    where the menu cannot be read, or its default is no Linux entry.
    """
    machine = Machine.fresh(files, platform, prefix, bls)
    machine.run(parse(menu))
    path: list[Entry] = []
    for _ in range(MAX_SUBMENUS):
        default = machine.variables.get("default")
        if machine.elsewhere or not machine.entries:
            raise GrubScriptError(
                0, f"the menu is made by `{machine.elsewhere}`" if machine.elsewhere else "the menu is empty"
            )
        entry = machine.entries[_choose(machine.entries, default, names_first=bls is not None)]
        path.append(entry)
        if not entry.submenu:
            return _boot(machine, path)
        machine = machine.nested()
        rest = _after_first(default or "")
        if rest:
            machine.variables["default"] = rest
        else:
            machine.variables.pop("default", None)
        machine.run(entry.body, entry.arguments)
    raise GrubScriptError(0, "too many nested submenus")


def linux_entries(menu: str, files: ReadFile, platform: str = "pc") -> list[BootEntry]:
    """Every entry of the menu and its submenus that starts a Linux kernel, in order. Raises as ``next_entry``."""
    machine = Machine.fresh(files, platform)
    machine.run(parse(menu))
    return _linux_entries(machine, [])


def _linux_entries(machine: Machine, path: list[Entry]) -> list[BootEntry]:
    found = []
    for entry in machine.entries:
        inner = machine.nested() if entry.submenu else machine.copy()
        if len(path) < MAX_SUBMENUS:
            inner.run(entry.body, entry.arguments)
        if entry.submenu:
            found += _linux_entries(inner, [*path, entry])
        elif inner.linux and not inner.elsewhere:
            found.append(_boot_entry(inner.linux, [*path, entry]))
    return found


def _boot(machine: Machine, path: list[Entry]) -> BootEntry:
    machine.run(path[-1].body, path[-1].arguments)
    if machine.elsewhere or not machine.linux:
        title = ">".join(entry.title for entry in path)
        raise GrubScriptError(0, f"the entry {title!r} that boots next starts no Linux kernel")
    return _boot_entry(machine.linux, path)


def _boot_entry(words: list[str], path: list[Entry]) -> BootEntry:
    title, identity = (">".join(names) for names in zip(*((e.title, e.id.replace(">", ">>")) for e in path)))
    return BootEntry(title, tuple(words), identity, path[-1].line)


def _after_first(default: str) -> str:
    """What follows the first single ``>``; ``>>`` stands for the character itself."""
    found = re.match(r"(?:[^>]|>>)*>(?!>)", default)
    return default[found.end() :] if found else ""


def _choose(entries: list[Entry], default: str | None, *, names_first: bool) -> int:
    """``get_entry_number`` and ``run_menu``: a number, else a title or ID, else the first.

    Builds with ``blscfg`` try ID and title first: IDs of entry files begin with a machine's ID, often with a digit.
    """
    if default is None:
        return 0
    named = [i for i, e in enumerate(entries) if _matches(e.id, default) or _matches(e.title, default)]
    number = _NUMBER.match(default)
    if named and (names_first or not number):
        return named[0]
    if number:
        base = 16 if number.group(1) else 8 if number.group(2) else 10
        index = int(number.group(number.lastindex or 0)[:30], base)
        return index if index < len(entries) else 0
    return 0


def _matches(name: str, default: str) -> bool:
    """``menuentry_eq``: the part of ``default`` before its first single ``>``."""
    first = re.match(r"(?:[^>]|>>)*", default)
    return first is not None and first.group().replace(">>", ">") == name
