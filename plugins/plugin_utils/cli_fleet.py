# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many hosts in one run: what they share between ``carveout plan``, ``check`` and ``diff``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    Problem,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._units import MIB, parse_size

from .cli_files import internal_problem
from .layout_change import Change
from .parallel import in_order, processors
from .progress import with_progress

#: Over many hosts the first of these that occurred is the command's (the design's order).
_ORDER = (1, 4, 3, 5)


class HostResult(NamedTuple):
    """What became of one host.

    ``status`` is its exit code, ``id`` its layout's, None where there is none. ``file`` says what was done
    for it: ``new``, ``changed``, ``same``; empty where no file was wanted. ``change``: where it was asked for.
    """

    host: str
    status: int
    id: str | None
    errors: tuple[Problem, ...] = ()
    file: str = ""
    change: Change | None = None

    def to_json(self) -> dict[str, Any]:
        errors = [problem.to_json() for problem in self.errors]
        change = {} if self.change is None else {"change": self.change.to_json()}
        return {
            "host": printable(self.host), "status": self.status, "id": self.id, "errors": errors, **change
        }  # fmt: skip


def attempt(host: str, compute: Callable[[], HostResult]) -> HostResult:
    """The result of ``compute``, or what kept it from one."""
    try:
        return compute()
    except CarveoutError as error:
        return HostResult(host, error.exit_code, None, tuple(error.problems))
    except Exception as error:  # our own fault on one host must not hide what the others have
        if os.environ.get("CARVEOUT_TRACEBACK"):
            raise
        return HostResult(host, 1, None, (internal_problem(error),))


def over_hosts(
    task: Callable[[str], HostResult], hosts: Sequence[str], jobs: int, what: str
) -> Iterator[HostResult]:
    """The results in the order of ``hosts``, with a progress bar."""
    return with_progress(in_order(task, hosts, jobs, _lost), len(hosts), what)


def _lost(host: str, reason: str) -> HostResult:
    text = f"a process that had this host among others ended {reason}; is there enough memory for --jobs?"
    return HostResult(host, 1, None, (Problem("", "process-lost", text),))


def exit_code(statuses: Iterable[int]) -> int:
    seen = set(statuses)
    return next((status for status in _ORDER if status in seen), 0)


def snapshots(directory: str) -> list[str]:
    """The names of a directory's files ``*.json``, in order; hidden ones are left out, and so is what is
    no file: a pipe would be waited for without end.

    Raises :class:`InvalidInput` where it cannot be read or has none.
    """
    try:
        with os.scandir(directory) as entries:
            found = [
                entry.name
                for entry in entries
                if entry.name.endswith(".json")
                and entry.name[0] != "."
                and (entry.is_file() or not os.path.exists(entry.path))
            ]
    except OSError as error:
        raise InvalidInput.of("", "file-unreadable", f"{directory}: {error.strerror}") from None
    if not found:
        raise InvalidInput.of(
            "",
            "no-hosts",
            f"{directory}: no snapshot in it; they are made by 'carveout host' and end in .json",
        )
    return sorted(found)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=processors(),
        metavar="N",
        help="processes for many hosts (default: one a core)",
    )


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)


def guest_size(text: str) -> int:
    """Of an argument, bytes."""
    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if size < MIB:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1MiB")
    return size
