# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is read of a host in the same way for every boot loader.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .._arguments import is_memory_argument
from .._host.model import ForeignArgument
from .._system import System
from .ownership import owned_runs, without_owned

LAYOUTS = "/etc/carveout/layouts"


def read_text(system: System, path: str) -> str | None:
    """A file's text, None where it cannot be read."""
    try:
        return system.read(path)
    except OSError:
        return None


def names_in(system: System, path: str) -> list[str]:
    """The sorted names in a directory, none where it cannot be read."""
    try:
        return system.listdir(path)
    except OSError:
        return []


def running_kernel(system: System) -> str:
    """The release of the running kernel, empty where it does not say."""
    return (read_text(system, "/proc/sys/kernel/osrelease") or "").strip()


def stored_arguments(system: System) -> tuple[tuple[str, ...], ...]:
    """The argument lists of the layouts stored on the host; a damaged file has none."""
    found = []
    for name in names_in(system, LAYOUTS):
        try:
            arguments = json.loads(read_text(system, f"{LAYOUTS}/{name}") or "")["kernel_arguments"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments):
            found.append(tuple(arguments))
    return tuple(found)


def foreign_arguments(
    arguments: Sequence[str],
    running: Sequence[str],
    ours: Sequence[Sequence[str]],
    located: Sequence[tuple[str, str, int]],
) -> list[ForeignArgument]:
    """Memory arguments that are not ours: of the next boot, then those only this boot has."""
    places = list(located)
    found = []
    rest = without_owned(arguments, owned_runs(arguments, ours))
    for token in filter(is_memory_argument, rest):
        place = next((place for place in places if place[0] == token), None)
        if place:
            places.remove(place)
        found.append(ForeignArgument(token, *(place[1:] if place else ("", 0))))
    for token in filter(is_memory_argument, without_owned(running, owned_runs(running, ours))):
        if token in rest:
            rest.remove(token)
        else:
            found.append(ForeignArgument(token, "", 0))
    return found
