# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading single values of a plan: amounts, sizes, node numbers, names, and what is a matter of few lines.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from .._errors import Problem
from .._layout import ACCOUNT, MODE, NAME
from .._units import GIB, parse_size

REST = "rest"


@dataclass(frozen=True)
class Percent:
    """A share in millionths, so that ``12.5%`` stays exact."""

    millionths: int

    def of(self, size: int) -> int:
        return size * self.millionths // 100_000_000

    def __str__(self) -> str:
        return f"{self.millionths / 1_000_000:g}%"


#: Bytes, a share, or ``rest``.
Amount = Union[int, Percent, str]


class Reader:
    """Collects every problem instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def fail(self, path: str, code: str, message: str) -> None:
        self.problems.append(Problem(path, code, message))

    def amount(self, value: Any, path: str) -> Amount:
        if value == REST:
            return REST
        if isinstance(value, str) and value.strip().endswith("%"):
            return self.percent(value.strip(), path)
        return self.size(value, path)

    def percent(self, text: str, path: str) -> Percent:
        try:
            whole, _, fraction = text[:-1].strip().partition(".")
            if not whole.isdecimal() or len(fraction) > 6 or (fraction and not fraction.isdecimal()):
                raise ValueError
            share = Percent(int(whole) * 1_000_000 + int(fraction.ljust(6, "0")))
        except ValueError:
            self.fail(path, "size-invalid", f"{text!r} is not a share; write for example 5% or 12.5%")
            return Percent(0)
        if not 0 < share.millionths <= 100_000_000:
            self.fail(path, "size-invalid", f"{text!r} is not between 0% and 100%")
        return share

    def size(self, value: Any, path: str) -> int:
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(path, "size-invalid", str(error))
            # stands for it, so that one mistake gives one message
            return GIB

    def node(self, key: Any, path: str) -> int:
        text = str(key)
        if not (text.isascii() and text.isdecimal()) or (len(text) > 1 and text[0] == "0") or len(text) > 4:
            self.fail(path, "node-invalid", f"{text!r} is not a node number")
            return 0
        return int(text)

    def name(self, name: Any, path: str) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.fail(
                path,
                "name-invalid",
                f"{name!r} is not allowed as a name: letters, digits, '_', '-' and '.', a letter first, at most 63",
            )

    def access(self, item: Mapping[str, Any], path: str, mode: str) -> tuple[str, str, str]:
        """Owner, group and mode; ``mode`` is the default."""
        for key in ("owner", "group"):
            if not ACCOUNT.fullmatch(str(item.get(key, "root"))):
                self.fail(f"{path}.{key}", "name-invalid", f"{item[key]!r} is not an account name")
        given = item.get("mode", mode)
        if not isinstance(given, str) or not MODE.fullmatch(given):
            self.fail(
                f"{path}.mode",
                "mode-invalid",
                f'{given!r} is not a mode; write four octal digits in quotes: "0660"',
            )
        return item.get("owner", "root"), item.get("group", "root"), given


def check_existing(reader: Reader, mechanism: str, nodes: Mapping[int, Amount], path: str) -> None:
    """``existing: true`` is for DAX regions, and takes all of a node's."""
    if mechanism != "dax":
        text = f"only regions of mechanism 'dax' can be there already; a {mechanism!r} pool is carved out"
        reader.fail(f"{path}.existing", "key-of-others", text)
    for node, amount in nodes.items():
        if amount != REST:
            text = "the regions that a node has already are used whole: write rest; devices divide them"
            reader.fail(f"{path}.nodes.{node}", "size-invalid", text)
