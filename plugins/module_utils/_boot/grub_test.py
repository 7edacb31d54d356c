# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB's ``test`` command (grub-core/commands/test.c), as far as menus use it.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Callable

_TEXT = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_NUMBER = {
    "-eq": operator.eq, "-ne": operator.ne,
    "-lt": operator.lt, "-le": operator.le, "-gt": operator.gt, "-ge": operator.ge,
}  # fmt: skip
_FILE = ("-e", "-f", "-s", "-d")


def _number(text: str) -> int:
    found = re.match(r"\s*-?[0-9]{1,18}", text)
    return int(found.group()) if found else 0


def evaluate(arguments: Sequence[str], read: Callable[[str], str | None]) -> bool:
    """Whether the expression holds. ``-a`` binds tighter than ``-o``; no argument is false.

    A file that ``read`` does not know is taken not to exist.
    """
    return _either(list(arguments), read)


def _either(words: list[str], read: Callable[[str], str | None]) -> bool:
    result = False
    while True:
        result = _both(words, read) or result
        if not words or words.pop(0) != "-o":
            return result


def _both(words: list[str], read: Callable[[str], str | None]) -> bool:
    result = True
    while True:
        result = _single(words, read) and result
        if not words or words[0] != "-a":
            return result
        del words[0]


def _single(words: list[str], read: Callable[[str], str | None]) -> bool:
    if not words:
        return False
    if len(words) >= 3 and words[1] in _TEXT:
        left, name, right = words[:3]
        del words[:3]
        return bool(_TEXT[name](left, right))
    if len(words) >= 3 and words[1] in _NUMBER:
        left, name, right = words[:3]
        del words[:3]
        return bool(_NUMBER[name](_number(left), _number(right)))
    first = words.pop(0)
    if first == "!":
        return not _single(words, read)
    if first == "(":
        end = words.index(")") if ")" in words else len(words)
        inner = words[:end]
        del words[: end + 1]
        return _either(inner, read)
    if words and first in _FILE:
        text = read(words.pop(0))
        return bool(text) if first == "-s" else text is not None and first != "-d"
    if words and first in ("-n", "-z"):
        return (words.pop(0) != "") == (first == "-n")
    return first != ""
