# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's last words of a trial boot that the host came back from.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._arguments import TRIAL_ARGUMENT
from .._system import System
from .reading import read_text

#: Lines that are kept of a log.
LINES = 40
_PSTORE = ("/sys/fs/pstore", "/var/lib/systemd/pstore")


def last_words(system: System, since: int) -> str:
    """The end of the kernel's log of the boot before this one, if that was a trial; else why there is none.

    What pstore kept goes first: it has the panic, which the journal cannot have. ``since`` is when the trial was
    prepared, in nanoseconds since 1970: what is older in pstore is of another boot.
    """
    kept = _pstore(system, since)
    if kept:
        return _end(kept)
    done = system.run(["journalctl", "--boot=-1", "--dmesg", "--no-pager", "--output=cat"])
    if done.status == 0 and TRIAL_ARGUMENT in done.stdout:
        return _end(done.stdout)
    return (
        "The kernel's log of the trial was not kept: pstore has nothing, and the journal of the boot before this one"
        " is not the trial's, so it ended before its journal was on disk. A serial console, or pstore, would show it"
    )


def _pstore(system: System, since: int) -> str:
    found = []
    for directory in _PSTORE:
        for path in _below(system, directory, 3):
            stat = system.stat(path)
            if "dmesg" in path and stat is not None and stat.modified >= since:
                found.append((stat.modified, read_text(system, path) or ""))
    return max(found, default=(0, ""))[1]


def _below(system: System, directory: str, depth: int) -> list[str]:
    paths = [f"{directory}/{name}" for name in system.listdir(directory)]
    deeper = [path for parent in paths if depth > 1 for path in _below(system, parent, depth - 1)]
    return [*paths, *deeper]


def _end(text: str) -> str:
    return "\n".join(["The end of its kernel's log:", *text.rstrip("\n").split("\n")[-LINES:]])
