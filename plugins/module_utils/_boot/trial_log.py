# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's last words of a trial boot that the host came back from.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

from .._arguments import TRIAL_ARGUMENT
from .._system import System
from .reading import read_text
from .trial_watchdog import watchdog_told

#: Lines that are kept of a log.
LINES = 40
_PSTORE = ("/sys/fs/pstore", "/var/lib/systemd/pstore")
#: The first line of each piece of a dump (fs/pstore/platform.c, pstore_dump): part 1 is the end of the log.
_PIECE = re.compile(r"(\w+#[0-9]+) Part([0-9]+)\n")


def last_words(system: System, since: int) -> str:
    """The end of the log of the boot before this one, if that was a trial; else why there is none.

    Before it stands what the host's watchdog says of the reset, where it made it.

    What pstore kept goes first: it has the panic, which the journal cannot have. Of the journal it is what the kernel
    and systemd said. ``since`` is when the trial was prepared, in nanoseconds since 1970: what is older is of another
    boot, which may have been a trial too.
    """
    return "\n".join(filter(None, (watchdog_told(system), _log(system, since))))


def _log(system: System, since: int) -> str:
    kept = _pstore(system, since)
    if kept:
        return _end("kernel's log", kept)
    done = system.run(
        [
            "journalctl", "--boot=-1", f"--since=@{since // 10**9}", "--no-pager", "--output=cat",
            "_TRANSPORT=kernel", "+", "_PID=1",
        ]
    )  # fmt: skip
    # systemd names the argument on every boot: as the condition that was not met
    told = [line.split() for line in done.stdout.split("\n") if "ommand line: " in line]
    if done.status == 0 and any(TRIAL_ARGUMENT in words for words in told):
        return _end("journal", done.stdout)
    return (
        "The kernel's log of the trial was not kept: pstore has nothing, and the journal of the boot before this one"
        " is not the trial's, so it ended before its journal was on disk. A serial console, or pstore, would show it"
    )


def _pstore(system: System, since: int) -> str:
    """The last dump of a kernel's log, put together of its pieces."""
    dumps: dict[str, list[tuple[int, str]]] = {}
    newest = (0, "")
    for directory in _PSTORE:
        for path in _below(system, directory, 3):
            stat = system.stat(path)
            if "dmesg" in path and stat is not None and stat.modified >= since:
                text = read_text(system, path) or ""
                piece = _PIECE.match(text)
                name, part = (piece[1], int(piece[2])) if piece else (path, 1)
                dumps.setdefault(name, []).append((-part, text[piece.end() :] if piece else text))
                newest = max(newest, (stat.modified, name))
    return "".join(text for _part, text in sorted(dumps.get(newest[1], [])))


def _below(system: System, directory: str, depth: int) -> list[str]:
    paths = [f"{directory}/{name}" for name in system.listdir(directory)]
    deeper = [path for parent in paths if depth > 1 for path in _below(system, parent, depth - 1)]
    return [*paths, *deeper]


def _end(what: str, text: str) -> str:
    return "\n".join([f"The end of its {what}:", *text.rstrip("\n").split("\n")[-LINES:]])
