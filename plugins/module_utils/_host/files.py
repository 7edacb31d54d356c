# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a host read with limits: what is too long, special or forbidden becomes a problem, never an error.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import stat

from .._errors import NotPossible
from .._system import System
from .text import printable

_MANY_PROBLEMS = 100


class Reader:
    """Reads through a :class:`System`; ``problems`` names what could not be used, and why."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.problems: list[str] = []

    def problem(self, path: str, what: str) -> None:
        if len(self.problems) < _MANY_PROBLEMS:
            self.problems.append(printable(f"{path}: {what}")[:500])

    def names(self, path: str, limit: int = 4096) -> list[str]:
        """Sorted names in a directory, empty where there is none."""
        try:
            found = self._system.listdir(path)
        except OSError as error:
            self.problem(path, error.strerror or "cannot be read")
            return []
        if len(found) > limit:
            self.problem(path, f"holds {len(found)} files; the first {limit} are read")
        return found[:limit]

    def text(self, path: str, limit: int) -> str | None:
        """A file's text made printable, None where there is no regular file within ``limit`` bytes."""
        try:
            text = self._read(path, limit)
            return None if text is None else printable(text)
        except OSError as error:
            self.problem(path, error.strerror or "cannot be read")
            return None

    def line(self, path: str) -> str:
        """What a small file holds without white space around it, empty where there is none."""
        return (self.text(path, 4096) or "").strip()

    def data(self, path: str, what_for: str) -> bytes | None:
        """The bytes of a file, None where it does not exist.

        Raises :class:`NotPossible` where it cannot be read: without it the plan would be wrong.
        """
        try:
            text = self._read(path, 1 << 20)
        except OSError as error:
            raise NotPossible.of(
                "", "unreadable", f"cannot read {path} ({what_for}): {error.strerror}; hosts are read as root"
            ) from None
        return None if text is None else text.encode("utf-8", "surrogateescape")

    def _read(self, path: str, limit: int) -> str | None:
        found = self._system.stat(path)
        if found is None:
            return None
        if not stat.S_ISREG(found.mode):
            self.problem(path, "is not a regular file")
            return None
        text = self._system.read(path) if found.size <= limit else None
        if found.size > limit or (text is not None and len(text) > limit):
            self.problem(path, f"is longer than {limit} bytes")
            return None
        return text
