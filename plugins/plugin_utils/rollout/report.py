# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollout came to: for people at a terminal, and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable

from .record import COMMITTED, SETTLED, Record

#: Hosts of one group that the text names; the JSON names them all.
_NAMED = 40
#: Lines of one host's reason in the text.
_LINES = 12
GROUPS = ("committed", "skipped", "failed", "untouched")
_WORDS = {
    "committed": "committed, verified and back in service",
    "skipped": "as their plans say already",
    "failed": "failed",
    "untouched": "not touched",
}


def group(record: Record) -> str:
    """One of :data:`GROUPS`."""
    if record.failed:
        return "failed"
    return {COMMITTED: "committed", SETTLED: "skipped"}.get(record.state, "untouched")


def outcome(records: Sequence[Record], stopped: str) -> str:
    """In one line."""
    left = sum(group(record) == "untouched" for record in records)
    if stopped:
        return f"The rollout was stopped: {stopped}"
    if left:
        return f"The rollout is not complete: {left} {'host is' if left == 1 else 'hosts are'} left for a later run"
    failed = sum(record.failed for record in records)
    return f"The rollout is complete{f', but {failed} of its hosts failed' if failed else ''}"


def report_text(records: Sequence[Record], stopped: str) -> str:
    """The outcome, then each group; of hosts that failed or were left alone for a reason, the reason."""
    lines = [outcome(records, stopped)]
    for name in GROUPS:
        members = [record for record in records if group(record) == name]
        if not members:
            lines.append(f"{0:5} {_WORDS[name]}")
            continue
        shown = ", ".join(record.host for record in members[:_NAMED])
        more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
        lines.append(f"{len(members):5} {_WORDS[name]}: {shown}{more}")
        for record in members[:_NAMED]:
            lines += _reason(record) if name in ("failed", "untouched") else []
    return "".join(f"{printable(line)}\n" for line in lines)


def _reason(record: Record) -> list[str]:
    if not record.reason:
        return []
    first, *rest = [line.rstrip() for line in record.reason.strip().split("\n")]
    wave = f" (wave {record.wave})" if record.wave else ""
    lines = [f"      - {record.host}{wave}: {first}", *(f"        {line}" for line in rest[: _LINES - 1])]
    return lines + ([f"        ... {len(rest) - _LINES + 1} more lines"] if len(rest) >= _LINES else [])


def report_json(records: Sequence[Record], stopped: str, finished: bool) -> dict[str, Any]:
    """``finished`` is false while the rollout runs: then the report is what is known so far."""
    hosts = [
        {
            "host": record.host,
            "outcome": group(record),
            "why": record.reason,
            "step": record.phase,
            "down": record.out,
            "wave": record.wave,
            "class": record.kind,
            "domain": record.domain,
            "layout": record.layout,
            "previous": record.previous,
            "reboot": record.reboots,
            "changes": list(record.changes),
        }
        for record in records
    ]
    return {
        "finished": finished,
        "complete": finished and not stopped and all(host["outcome"] in GROUPS[:2] for host in hosts),
        "stopped": stopped,
        "counts": {name: sum(host["outcome"] == name for host in hosts) for name in GROUPS},
        "hosts": hosts,
    }


def write_json(path: str, report: dict[str, Any]) -> None:
    """Whole or as before. Raises OSError."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    temporary.replace(target)
