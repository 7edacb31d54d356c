# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Entries of the Boot Loader Specification as GRUB's ``blscfg`` reads, orders and expands them.

Modelled on grub-core/commands/blscfg.c of GRUB as Red Hat builds it: its oddities are kept, because
what counts is what that code hands to the kernel.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cmp_to_key
from typing import NamedTuple

from .grub_machine import Entry
from .grub_script import parse
from .grub_words import GrubScriptError

ENTRIES = "/boot/loader/entries"

#: What GRUB knows as the device that holds the kernels; which one it is does not matter here, its length does.
_ROOT = "(hd0,msdos1)"


class EntryFile(NamedTuple):
    """``id`` is the file's name without ``.conf``; ``fields`` are as written, in order."""

    id: str
    fields: tuple[tuple[str, str], ...]

    def value(self, key: str) -> str | None:
        """The first field of that name, as ``bls_get_val`` finds it."""
        return next((value for name, value in self.fields if name == key), None)

    @property
    def release(self) -> str:
        """The kernel's release by its image's name, or by the entry's version where the name holds none."""
        found = re.fullmatch(
            r"(?:vmlinuz|vmlinux|kernel)-(.+)", (self.value("linux") or "").rpartition("/")[2]
        )
        return found.group(1) if found else self.value("version") or ""

    @property
    def rescue(self) -> bool:
        """Whether it is the entry that dracut makes for emergencies (51-dracut-rescue.install)."""
        return "0-rescue" in self.id or (self.value("version") or "").startswith("0-rescue")


def read_entry(identity: str, text: str) -> EntryFile:
    """The fields up to the first line without a value: there ``read_entry`` of GRUB stops."""
    fields = []
    for line in text.replace("\r", "").split("\n"):
        stripped = line.lstrip(" \t")
        if stripped.startswith("#"):
            continue
        separator = stripped.find(" ")
        if separator < 0:
            separator = stripped.find("\t")
        if separator < 0 or separator + 1 == len(stripped):
            break
        fields.append((stripped[:separator], stripped[separator + 1 :].lstrip(" \t")))
    return EntryFile(identity, tuple(fields))


def in_order(entries: Iterable[EntryFile]) -> list[EntryFile]:
    """As ``bls_add_entry`` puts them: the newest first; of two with equal names one is dropped."""

    def older(left: EntryFile, right: EntryFile) -> int:
        return _compare_names(right.id, left.id)

    ordered: list[EntryFile] = []
    for entry in sorted(entries, key=cmp_to_key(older)):
        if not ordered or _compare_names(ordered[-1].id, entry.id):
            ordered.append(entry)
    return ordered


def _compare_names(left: str, right: str) -> int:
    """``split_cmp``: name, version and release, cut at the last two dashes."""
    return next((r for r in map(compare_versions, _parts(left), _parts(right)) if r), 0)


def _parts(name: str) -> tuple[str, str, str]:
    parts = name.rsplit("-", 2)
    return (parts[0], parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else "")


def compare_versions(left: str, right: str) -> int:
    """``vercmp``: 1 where left is newer, -1 where right is, else 0 (the rules are rpm's)."""
    while left or right:
        left, right = (re.sub(r"\A[^A-Za-z0-9~+]+", "", text) for text in (left, right))
        heads = (left[:1], right[:1])
        if "~" in heads or "+" in heads:
            sign = "~" if "~" in heads else "+"
            if sign == "+" and not (left and right):
                return 1 if left else -1
            if heads != (sign, sign):
                return 1 if right[:1] == sign else -1
            left, right = left[1:], right[1:]
            continue
        if not (left and right):
            break
        numeric = "0" <= left[0] <= "9"
        kind = r"(?s)\A([0-9]*).*" if numeric else r"(?s)\A([A-Za-z]*).*"
        one, two = (re.sub(kind, r"\1", text) for text in (left, right))
        if not two:
            return 1 if numeric else -1
        left, right = left[len(one) :], right[len(two) :]
        if numeric:
            one, two = one.lstrip("0"), two.lstrip("0")
            if len(one) != len(two):
                return 1 if len(one) > len(two) else -1
        if one != two:
            return 1 if one > two else -1
    return 0 if not (left or right) else 1 if left else -1


def expand_value(value: str, variables: Mapping[str, str]) -> str | None:
    """``expand_val``: variables put in, each with a blank behind it; None where nothing was.

    A ``$`` is taken for the start of a variable's name even behind a backslash (kept only by builds
    with rhboot's commit 4f8353a04 of May 2025): no spelling of one in an entry survives everywhere.
    """
    result: str | None = None
    start = end = 0
    variable = False

    def append() -> str | None:
        text = value[start : end + 1]
        if not variable:
            return (result or "") + text
        return result if text not in variables else (result or "") + variables[text] + " "

    for position, char in enumerate(value):
        if char == "$":
            if start != end:
                result = append()
                if result is None:
                    return None
            variable, start = True, position + 1
        elif variable and not (char == "_" or (char.isascii() and char.isalnum())):
            result = append()
            variable = False
            start = position + (char == " ")
        end = position
    return append() if start != end else result


def menu_entry(entry: EntryFile, variables: Mapping[str, str]) -> Entry | None:
    """The menu entry that ``create_entry`` makes; None for what starts no Linux kernel."""
    image = entry.value("linux")
    if image is None:
        return None
    written = entry.value("options")
    options = None if written is None else expand_value(written, variables)
    if options is None:
        options = expand_value(variables.get("default_kernelopts", ""), variables)
    try:
        body = parse(f"linux {_ROOT}{image} {options or ''}\n")
    except GrubScriptError:
        body = ()  # GRUB, too, finds out only when the entry is chosen
    title = entry.value("title") or image
    return Entry(title, entry.id, (title,), body, False)
