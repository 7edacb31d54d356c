# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB's configuration through augeas: where an argument stands, and the text of our drop-in.

augeas is handed texts and gives texts back; it never touches a file itself. Works with both Python
bindings: Debian's python3-augeas (0.5, ctypes) and python-augeas from PyPI (1.x, cffi).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._arguments import is_memory_argument, parse
from .._errors import CarveoutError, NotPossible
from .._system import System
from .grub_encode import VARIABLE, decode, encode

DEFAULTS = "/etc/default/grub"
DROP_INS = "/etc/default/grub.d"
DROP_IN = DROP_INS + "/zz-carveout.cfg"

#: The variable that names the entry which boots where nobody chooses another.
DEFAULT = "GRUB_DEFAULT"
LENS = "Shellvars.lns"
_TEXT, _TREE, _RESULT = "/carveout/text", "/carveout/tree", "/carveout/result"
_ERROR = f"/augeas/text{_TREE}/error"

_EMPTY = f"""\
# Written by Carveout: the kernel arguments of this host's memory layout.
# Do not edit: changes are lost, and what the layout reserves may be lost with them.
{VARIABLE}=""
"""


class Unparsable(ValueError):
    """A file that augeas cannot read; the text names file, line and augeas' own words."""


@dataclass(frozen=True)
class Assignment:
    """``name=value`` in a file, the value as written; ``line`` counts from 1."""

    path: str
    name: str
    value: str
    line: int

    def arguments(self) -> list[tuple[str, int]]:
        """The kernel arguments in the value, each with its line. Raises ValueError as ``decode``."""
        found = []
        position = 0
        for token in decode(self.value):
            name = parse(token).name
            position = max(self.value.find(name, position), position)
            found.append((token, self.line + self.value.count("\n", 0, position)))
            position += len(name)
        return found


def config_files(system: System) -> list[str]:
    """What grub-mkconfig sources, in its order."""
    names = [name for name in system.listdir(DROP_INS) if name.endswith(".cfg") and name[0] != "."]
    return [DEFAULTS, *(f"{DROP_INS}/{name}" for name in names)]


def read_assignments(augeas: Any, path: str, text: str) -> list[Assignment]:
    """Every variable that a file of sh assignments sets. Raises :class:`Unparsable`."""
    if not text.strip():
        return []
    _store(augeas, path, text if text.endswith("\n") else text + "\n")
    found = []
    offsets: dict[str, int] = {}
    for node in augeas.match(f"{_TREE}//*"):
        name = re.sub(r"\[[0-9]+\]$", "", node.rpartition("/")[2])
        value = augeas.get(node)
        if value is None or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            continue
        written = f"{name}={value}"
        offset = _assignment_offset(text, written, offsets.get(written, 0))
        offsets[written] = offset + 1
        found.append(Assignment(path, name, value, text.count("\n", 0, offset) + 1))
    return found


def _assignment_offset(text: str, written: str, start: int) -> int:
    """Where an assignment stands, not counting those in comments."""
    offset = text.find(written, start)
    while offset >= 0 and "#" in text[text.rfind("\n", 0, offset) + 1 : offset]:
        offset = text.find(written, offset + 1)
    return max(offset, 0)


def _store(augeas: Any, path: str, text: str) -> None:
    if "\0" in text:
        raise Unparsable(f"{path}: it holds a NUL character")
    for node in (_TEXT, _TREE, _RESULT, f"/augeas/text{_TREE}"):
        augeas.remove(node)
    try:
        augeas.set(_TEXT, text)
        augeas.text_store(LENS, _TEXT, _TREE)
    except UnicodeEncodeError:
        raise Unparsable(f"{path}: it is not UTF-8 text") from None
    except (ValueError, RuntimeError):
        # the bindings know no more than that it failed; what and where stands in the tree
        line, message = (augeas.get(f"{_ERROR}/{name}") for name in ("line", "message"))
        raise Unparsable(f"{path}, line {line or '?'}: augeas cannot read it: {message}") from None


def locate(assignments: Sequence[Assignment]) -> list[tuple[str, str, int]]:
    """Each memory argument in the configuration: as the kernel gets it, file and line."""
    found = []
    for assignment in assignments:
        try:
            arguments = assignment.arguments()
        except ValueError:
            # needs a shell to be understood: as it is written has to do
            arguments = [
                (
                    word.group().replace("\\", ""),
                    assignment.line + assignment.value.count("\n", 0, word.start()),
                )
                for word in re.finditer(r"[^\s\"'`]+", assignment.value)
            ]
        found += [(token, assignment.path, line) for token, line in arguments if is_memory_argument(token)]
    return found


def assigns_anew(assignment: Assignment) -> bool:
    """Whether what earlier files put into the variable is lost."""
    return assignment.name == VARIABLE and not re.search(rf"\$\{{?{VARIABLE}\b", assignment.value)


def render(augeas: Any, tokens: Sequence[str], default: str = "") -> str:
    """The text of our drop-in; ``default`` names the entry to boot, empty leaves that to the other files.

    Raises as ``encode``, and where it would not decode to ``tokens``.
    """
    value = encode(tokens)
    try:
        _store(augeas, DROP_IN, _EMPTY)
    except Unparsable as error:  # not of the text: the lens itself is missing or broken
        raise NotPossible.of(
            "boot", "augeas-unusable", f"{error}; is the package augeas-lenses installed?"
        ) from None
    augeas.set(f"{_TREE}/{VARIABLE}", value)
    if default:
        augeas.set(f"{_TREE}/{DEFAULT}", f"'{default}'")
    augeas.text_retrieve(LENS, _TEXT, _TREE, _RESULT)
    text = str(augeas.get(_RESULT))
    if owned_tokens(text) != list(tokens):
        raise CarveoutError.of(
            "arguments", "encoding-not-reversible", f"{tokens!r} would not be read back from {text!r}"
        )
    return text


def owned_tokens(text: str) -> list[str]:
    """The kernel arguments in the text of our drop-in. Raises ValueError where it was edited."""
    found = re.search(rf"^{VARIABLE}=(.*)$", text, re.MULTILINE)
    return decode(found.group(1)) if found else []
