# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The layouts that a host stores, and which of them is committed.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._arguments import LAYOUT_ARGUMENT
from .._errors import InvalidInput
from .._host_files import COMMITTED, LAYOUT_DIRECTORY, PREVIOUS, VERIFIED
from .._layout import LAYOUT_ID
from .._records import recorded_release
from .files import Reader
from .text import is_printable

#: What one layout may take as text, and how many a host may store.
LAYOUT_BYTES = 1 << 20
MANY_LAYOUTS = 64
_DEPTH = 12
_ARGUMENTS = 256


def check_layout(data: Any, layout_id: str, path: str) -> Mapping[str, Any]:
    """The shape that everyone who reads a host relies on: who plans or verifies reads the whole.

    Raises :class:`InvalidInput` where the ID is another, the kernel arguments are not an ordered list
    that starts with it, or the value is not plain JSON.
    """
    if not isinstance(data, dict):
        raise InvalidInput.of(path, "layout-invalid", "a layout is an object")
    if data.get("id") != layout_id:
        raise InvalidInput.of(f"{path}.id", "layout-invalid", f"{layout_id!r} is expected")
    arguments = data.get("kernel_arguments")
    if (
        not isinstance(arguments, list)
        or len(arguments) > _ARGUMENTS
        or not all(isinstance(a, str) and 0 < len(a) < 4096 for a in arguments)
        or (arguments and arguments[0] != f"{LAYOUT_ARGUMENT}={layout_id}")
    ):
        raise InvalidInput.of(
            f"{path}.kernel_arguments",
            "layout-invalid",
            f"a list of arguments is expected, the first {LAYOUT_ARGUMENT}={layout_id}",
        )
    check_plain(data, path, _DEPTH)
    return data


def check_plain(value: Any, path: str, depth: int) -> None:
    """Raise :class:`InvalidInput` unless ``value`` is JSON of at most ``depth`` levels with decent text."""
    if depth < 0:
        raise InvalidInput.of(path, "too-deep", "nested deeper than anything we write")
    if isinstance(value, str):
        if not is_printable(value):
            raise InvalidInput.of(path, "unprintable", "holds control or undecodable characters")
    elif isinstance(value, list):
        for item in value:
            check_plain(item, path, depth - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not is_printable(key):
                raise InvalidInput.of(path, "unprintable", "a key is not decent text")
            check_plain(item, path, depth - 1)
    elif isinstance(value, float):
        if not -1e308 <= value <= 1e308:  # NaN and the infinities, which JSON does not have
            raise InvalidInput.of(path, "not-json", "holds a number that JSON does not have")
    elif value is not None and not isinstance(value, int):
        raise InvalidInput.of(path, "not-json", f"holds a {type(value).__name__}")


def read_layouts(reader: Reader) -> dict[str, Mapping[str, Any]]:
    """Every stored layout by ID. A file that is none is named in the reader's problems."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in reader.names(LAYOUT_DIRECTORY, MANY_LAYOUTS):
        path = f"{LAYOUT_DIRECTORY}/{name}"
        layout_id = name[: -len(".json")]
        if not name.endswith(".json") or not LAYOUT_ID.fullmatch(layout_id):
            reader.problem(path, "is not named as a layout is: ID.json")
            continue
        text = reader.text(path, LAYOUT_BYTES)
        if text is None:
            continue
        try:
            found[layout_id] = check_layout(json.loads(text), layout_id, "layout")
        except InvalidInput as error:
            reader.problem(path, str(error))
        except (ValueError, RecursionError) as error:
            reader.problem(path, f"is not JSON: {error}")
    return found


def read_committed(reader: Reader) -> str | None:
    """The ID of the committed layout; None where there is none, or the file holds something else."""
    return _read_id(reader, COMMITTED)


def read_previous(reader: Reader) -> str | None:
    """The ID of the layout that was committed before it, likewise."""
    return _read_id(reader, PREVIOUS)


def read_verified(reader: Reader, committed: str | None) -> str:
    """The release that the committed layout was verified with, empty where none is recorded."""
    return recorded_release(reader.text(VERIFIED, 4096) or "", committed)


def _read_id(reader: Reader, path: str) -> str | None:
    text = reader.text(path, 4096)
    if text is None:
        return None
    if not LAYOUT_ID.fullmatch(text.strip()):
        reader.problem(path, "does not hold a layout's ID")
        return None
    return text.strip()
