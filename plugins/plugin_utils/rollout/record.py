# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollout knows of each host, in one file a host until it ends.

Files, not variables of Ansible: for a host that became unreachable in the middle nothing runs any more that could say
so, but what was last noted of it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: Nothing is known but that it is being asked; it does not answer; its plan cannot be carried out.
ASKED, UNREACHABLE, UNPLANNABLE = "asked", "unreachable", "unplannable"
#: As its plan says already; to be changed; not now, because its domain has too many hosts down.
SETTLED, PLANNED, HELD = "settled", "planned", "held"
WORKING, COMMITTED, FAILED = "working", "committed", "failed"

_STOP = "stop.json"


@dataclass(frozen=True)
class Record:
    """``why`` is what went wrong, ``phase`` what is being done to a host that is worked on.

    ``kind`` is the class of hosts that should be alike, ``shape`` what they are compared by. ``reboots`` and
    ``disturbs`` (a reboot, or a device or mount that goes or moves) are of the change that was planned, ``changes``
    says it for people. ``down``: a failed host that does not serve its tenants, as far as is known; ``drained``: it was
    drained, and not brought back yet.
    """

    host: str
    state: str = ASKED
    why: str = ""
    phase: str = ""
    down: bool = False
    drained: bool = False
    kind: str = ""
    domain: str = ""
    canary: bool = False
    layout: str = ""
    previous: str = ""
    shape: str = ""
    reboots: bool = False
    disturbs: bool = False
    changes: tuple[str, ...] = ()
    wave: int = 0

    @property
    def failed(self) -> bool:
        """Also a host that is still worked on when nobody works on it: it was lost in the middle."""
        return self.state in (ASKED, UNREACHABLE, UNPLANNABLE, WORKING, FAILED)

    @property
    def out(self) -> bool:
        """Whether its failure domain has to do without it."""
        return self.failed and (self.down or self.state != FAILED)

    @property
    def reason(self) -> str:
        """Why it failed, or was left alone."""
        if self.state == WORKING:
            return (
                f"it became unreachable in the middle of its job (step: {self.phase}). A trial boot that runs there "
                f"ends by itself; the next run takes away what is left, or goes on{self._drained}"
            )
        if self.state == ASKED:
            return "it became unreachable while it was measured; nothing was changed on it"
        return self.why + (self._drained if self.failed else "")

    @property
    def _drained(self) -> str:
        return "\nIt was drained and has not been brought back into service" if self.drained else ""


def write_record(folder: str, record: Record) -> None:
    """Whole or as before. Raises OSError."""
    path = _path(folder, record.host)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
    temporary.replace(path)


def read_record(folder: str, host: str) -> Record:
    """A host of which nothing was noted did not answer."""
    try:
        data = json.loads(_path(folder, host).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Record(host)
    return Record(**{**data, "changes": tuple(data["changes"])})


def update_record(folder: str, host: str, **fields: Any) -> Record:
    """The record with other values; raises OSError."""
    record = replace(read_record(folder, host), **fields)
    write_record(folder, record)
    return record


def read_records(folder: str, hosts: Iterable[str]) -> list[Record]:
    return [read_record(folder, host) for host in hosts]


def keep_layout(folder: str, host: str, layout: dict[str, Any]) -> None:
    """For the comparison within a class; raises OSError."""
    _path(folder, host, "layout").write_text(json.dumps(layout), encoding="utf-8")


def kept_layout(folder: str, host: str) -> Any:
    """Raises OSError and ValueError."""
    return json.loads(_path(folder, host, "layout").read_text(encoding="utf-8"))


def stop(folder: str, why: str) -> None:
    """From now on no further host is touched; the first reason counts. Raises OSError."""
    if not stopped(folder):
        (Path(folder) / _STOP).write_text(json.dumps({"why": why}), encoding="utf-8")


def stopped(folder: str) -> str:
    """Why the rollout goes no further, empty where it does."""
    try:
        return str(json.loads((Path(folder) / _STOP).read_text(encoding="utf-8"))["why"])
    except FileNotFoundError:
        return ""


def _path(folder: str, host: str, what: str = "host") -> Path:
    """An inventory's name may have what a file's name may not."""
    return Path(folder) / f"{what}-{quote(host, safe='')}.json"
