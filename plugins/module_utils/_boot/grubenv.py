# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB's environment block: the file grubenv.

Modelled on grub-core/lib/envblk.c: lines ``name=value`` behind a signature, a backslash protects the
character behind it, ``#`` fills the rest.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

from .._errors import NotPossible

SIGNATURE = "# GRUB Environment Block\n"


def variables_of(text: str) -> dict[str, str]:
    """The variables of a block, the later one where a name is there twice."""
    variables: dict[str, str] = {}
    for line in _lines(text):
        name, equals, value = _unescaped(line).partition("=")
        if equals and not name.startswith("#"):
            variables[name] = value
    return variables


def line_of(text: str, name: str) -> int:
    """The line of the file in which a variable begins, counted from 1; 0 where it is not there."""
    found = re.search(rf"^{re.escape(name)}=", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def with_variable(path: str, text: str, name: str, value: str | None) -> str:
    """The block with a variable set, or without it for None; everything else stays as and where it is.

    Raises :class:`NotPossible` for what is no block, and where it would not hold the variable.
    """
    if not text.startswith(SIGNATURE):
        raise NotPossible.of(
            "boot",
            "environment-block-damaged",
            f"{path} is no GRUB environment block; make it anew with `grub2-editenv {path} create`",
        )
    size = len(text.encode("utf-8", "surrogateescape"))
    lines = _lines(text)
    if set(lines[-1]) <= {"#"}:
        del lines[-1]
    written = [] if value is None else [f"{name}=" + re.sub(r"([\\\n])", r"\\\1", value)]
    index = next(
        (i for i, line in enumerate(lines) if _unescaped(line).partition("=")[0] == name), len(lines)
    )
    if (index < len(lines)) == bool(written) and lines[index : index + 1] == written:
        return text
    lines[index : index + 1] = written
    body = "".join(f"{line}\n" for line in lines)
    length = len(body.encode("utf-8", "surrogateescape"))
    if length > size:
        raise NotPossible.of(
            "boot",
            "environment-block-full",
            f"{path} has room for {size} bytes, with {name} as it has to be it would be {length}: a layout with fewer"
            " reservations, or fewer other arguments, would fit",
        )
    return body + "#" * (size - length)


def _lines(text: str) -> list[str]:
    """As written; a newline behind a backslash is part of a line."""
    return re.findall(r"((?:\\[\s\S]|[^\\\n])*)(?:\n|\Z)", text)[:-1]


def _unescaped(line: str) -> str:
    return re.sub(r"\\([\s\S])", r"\1", line)
