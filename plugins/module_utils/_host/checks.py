# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of JSON from outside: each names the place and what was expected there.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from .._errors import InvalidInput
from .._units import U64
from .text import is_printable, printable


def refuse(path: str, expected: str, value: Any) -> NoReturn:
    """Raise :class:`InvalidInput` for a value that is not what is expected at ``path``."""
    shown = (
        printable(repr(value)) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
    )
    shown = shown if len(shown) <= 60 else shown[:60] + "..."
    raise InvalidInput.of(path, "host-invalid", f"{expected} is expected, not {shown}")


def obj(value: Any, path: str, required: Iterable[str] = (), optional: Iterable[str] = ()) -> dict[str, Any]:
    """An object with all of the required keys and no others than the optional ones."""
    if type(value) is not dict:
        refuse(path, "an object", value)
    missing = [key for key in required if key not in value]
    if missing:
        raise InvalidInput.of(_join(path, missing[0]), "host-invalid", "is missing")
    known = {*required, *optional}
    for key in value:
        if key not in known:
            where = _join(path, printable(str(key))[:60])
            raise InvalidInput.of(where, "host-invalid", f"unknown key; known are {', '.join(sorted(known))}")
    return value


def mapping(
    value: Any, path: str, limit: int, key: re.Pattern[str], read: Callable[[Any, str], Any]
) -> dict[str, Any]:
    """An object of at most ``limit`` keys of a pattern, each value as ``read`` reads it."""
    if type(value) is not dict or len(value) > limit:
        refuse(path, f"an object of at most {limit} keys", value)
    found = {}
    for name, item in value.items():
        if type(name) is not str or not key.fullmatch(name):
            refuse(path, f"a key like {key.pattern}", name)
        found[name] = read(item, f"{path}.{name}")
    return found


def array(value: Any, path: str, limit: int) -> list[Any]:
    if type(value) is not list or len(value) > limit:
        refuse(path, f"an array of at most {limit} elements", value)
    return value


def integer(value: Any, path: str, low: int = 0, high: int = U64) -> int:
    # type() and not isinstance(): a boolean is no number here
    if type(value) is not int or not low <= value <= high:
        refuse(path, f"an integer from {low} to {high}", value)
    return value


def boolean(value: Any, path: str) -> bool:
    if type(value) is not bool:
        refuse(path, "true or false", value)
    return value


def text(value: Any, path: str, limit: int = 256) -> str:
    if type(value) is not str or len(value) > limit or not is_printable(value):
        refuse(path, f"text of at most {limit} printable characters", value)
    return value


def match(value: Any, path: str, pattern: re.Pattern[str], expected: str) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        refuse(path, expected, value)
    return value


def texts(value: Any, path: str, count: int, limit: int = 256) -> list[str]:
    return [text(item, f"{path}[{i}]", limit) for i, item in enumerate(array(value, path, count))]


def span(value: Any, path: str) -> list[int]:
    """``[start, end]``, half-open and not empty."""
    if (
        type(value) is not list
        or len(value) != 2
        or type(value[0]) is not int
        or type(value[1]) is not int
        or not 0 <= value[0] < value[1] <= U64
    ):
        refuse(path, "[start, end] with start < end", value)
    return value


def triple(value: Any, path: str, index: int, expected: str) -> tuple[int, int, int]:
    """Three integers; maps are made of them, so this says its place only where it has to."""
    if type(value) is list and len(value) == 3:
        first, second, third = value
        if type(first) is int and type(second) is int and type(third) is int:
            return first, second, third
    refuse(f"{path}[{index}]", expected, value)


def numbers(value: Any, path: str, limit: int, key: re.Pattern[str]) -> Mapping[str, int]:
    """An object of plain numbers."""
    return mapping(value, path, limit, key, integer)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
