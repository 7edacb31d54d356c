# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one family of errors of the core, and the problems they carry.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    ``path`` names the place in the plan or input (``pools.guests.devices[0].size``; empty for
    the whole), ``code`` is a stable word for programs, ``message`` says what is wrong and what
    would work.
    """

    path: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def to_json(self) -> dict[str, str]:
        return {"path": self.path, "code": self.code, "message": self.message}


_E = TypeVar("_E", bound="CarveoutError")


class CarveoutError(Exception):
    """Base of the family: one or more :class:`Problem`. ``exit_code`` is the command's status."""

    exit_code = 1

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls: type[_E], path: str, code: str, message: str) -> _E:
        """The usual case: an error with a single problem."""
        return cls([Problem(path, code, message)])


class InvalidInput(CarveoutError):
    """An input (plan, host, layout, kernel argument) is not valid whatever the host."""

    exit_code = 4


class NotPossible(CarveoutError):
    """The input is valid, but this host cannot do it, or is predicted not to boot."""

    exit_code = 3
