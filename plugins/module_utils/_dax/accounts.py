# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users and groups of the host, by name and by number, through the host's own name service.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._system import System


def account_id(system: System, database: str, name: str) -> int | None:
    """Number of a user (``passwd``) or group (``group``), None where the host has no such name."""
    return _find(_entries(system, database, name), 0, name)


def account_name(system: System, database: str, number: int) -> str:
    """Name of a user or group; the number as text where the host has no name for it."""
    for fields in _entries(system, database, str(number)):
        if fields[2] == str(number):
            return fields[0]
    return str(number)


def _find(entries: list[list[str]], field: int, value: str) -> int | None:
    for fields in entries:
        if fields[field] == value and fields[2].isdigit():
            return int(fields[2])
    return None


def _entries(system: System, database: str, key: str) -> list[list[str]]:
    """The lines of the file, and what the name service says of ``key`` where that is not among them."""
    lines = (system.read(f"/etc/{database}") or "").splitlines()
    entries = [line.split(":") for line in lines if line.count(":") >= 3]
    if not any(key in (fields[0], fields[2]) for fields in entries):
        answer = system.run(["getent", database, key])
        if answer.status == 0:
            entries += [line.split(":") for line in answer.stdout.splitlines() if line.count(":") >= 3]
    return entries
