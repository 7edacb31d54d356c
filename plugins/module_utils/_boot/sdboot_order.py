# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Entries as systemd-boot reads and orders them, and which of them it boots.

Modelled on systemd's src/boot/boot.c (line_get_key_value, config_entry_compare, config_select_default_entry) and
src/fundamental/string-util-fundamental.c (strverscmp_improved).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cmp_to_key
from typing import NamedTuple

from .bls_entries import EntryFile

_COUNTED = re.compile(r"(.*)\+([0-9]+)(?:-[0-9]+)?(\.conf)")


class SdEntry(NamedTuple):
    """``id`` is the file's name in lower case, without a counter; ``exhausted`` has no tries left."""

    id: str
    exhausted: bool
    file: EntryFile


def read_entry(name: str, text: str) -> SdEntry:
    """An entry file: a key and a value on each line, double quotes around a whole value taken off."""
    fields = []
    for line in text.split("\n"):
        found = re.fullmatch(r"[ \t]*([^# \t][^ \t]*)[ \t]+(.*?)[ \t\r]*", line)
        if found and found.group(2):
            value = found.group(2)
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            fields.append((found.group(1), value[1:-1] if quoted else value))
    counted = _COUNTED.fullmatch(name)
    identity = (counted.group(1) + counted.group(3) if counted else name).lower()
    return SdEntry(identity, bool(counted and int(counted.group(2)) == 0), EntryFile(identity, tuple(fields)))


def in_order(entries: Mapping[str, SdEntry]) -> list[str]:
    """The keys of entries as the menu has them."""

    def compare(left: str, right: str) -> int:
        one, two = entries[left], entries[right]
        keys = [entry.file.value("sort-key") for entry in (one, two)]
        result = one.exhausted - two.exhausted or (keys[0] is None) - (keys[1] is None)
        if not result and None not in keys:
            result = _order(keys[0] or "", keys[1] or "")
            for name, comparison in (("machine-id", _order), ("version", _newer_first)):
                result = result or comparison(one.file.value(name) or "", two.file.value(name) or "")
        return result or _newer_first(one.id, two.id)

    return sorted(entries, key=cmp_to_key(compare))


def choose(entries: Mapping[str, SdEntry], wanted: Sequence[str], last_booted: str) -> str:
    """The key of the entry that boots: by the first pattern of ``wanted`` that fits any, else the first of the menu.

    ``@saved`` stands for the entry that booted last. Empty where there are no entries.
    """
    for pattern in wanted:
        pattern = (last_booted if pattern == "@saved" else pattern).lower()
        found = next(
            (key for key, entry in entries.items() if pattern and fnmatchcase(entry.id, pattern)), ""
        )
        if found:
            return found
    return next(iter(entries), "")


def _order(left: str, right: str) -> int:
    return (left > right) - (left < right)


def _newer_first(left: str, right: str) -> int:
    return -compare_versions(left, right)


def compare_versions(left: str, right: str) -> int:
    """``strverscmp_improved``: 1 where left is newer, -1 where right is, else 0."""
    while True:
        left, right = (re.sub(r"\A[^A-Za-z0-9~^.-]+", "", text) for text in (left, right))
        for separator in "~-^.":
            if separator != "~" and not (left and right):
                return bool(left) - bool(right)
            if separator in (left[:1], right[:1]):
                if left[:1] != right[:1]:
                    return 1 if right[:1] == separator else -1
                left, right = left[1:], right[1:]
        kind = "[0-9]" if any("0" <= text[:1] <= "9" for text in (left, right)) else "[A-Za-z]"
        one, two = (re.sub(rf"(?s)\A({kind}*).*", r"\1", text) for text in (left, right))
        left, right = left[len(one) :], right[len(two) :]
        if kind == "[0-9]":
            if bool(one) != bool(two):
                return 1 if one else -1
            one, two = one.lstrip("0"), two.lstrip("0")
            if len(one) != len(two):
                return 1 if len(one) > len(two) else -1
        if one != two:
            return 1 if one > two else -1
