# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report for people at a terminal, and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.text import one_line
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size

from .amounts import carved, saved
from .record import DEVIATES, FINE, UNKNOWN, Record

_WORDS = {FINE: "as committed", DEVIATES: "deviating", UNKNOWN: "not verified"}
#: Messages of one host that the text shows; JSON, JUnit and the page have them all.
_SHOWN = 20


def report_text(records: Iterable[Record]) -> str:
    """One line a host, and below it what deviates; the totals last, where a terminal ends."""
    counts: Counter[str] = Counter()
    total_carved = total_saved = 0
    lines = []
    for record in records:
        counts[record.verdict] += 1
        layout = f", layout {record.id}" if record.layout else ""
        lines.append(f"{record.host}: {_WORDS[record.verdict]}{layout}")
        lines += [f"  - {' '.join(failure.split())}" for failure in record.failures[:_SHOWN]]
        if len(record.failures) > _SHOWN:
            lines.append(f"  ... and {len(record.failures) - _SHOWN} more")
        lines += [f"  note: {' '.join(note.split())}" for note in record.notes]
        if record.verdict != UNKNOWN:
            total_carved += carved(record)
            total_saved += saved(record)
    verdicts = ", ".join(
        f"{counts[word]} {_WORDS[word]}" for word in (FINE, DEVIATES, UNKNOWN) if counts[word]
    )
    lines.append(f"{counts.total()} hosts: {verdicts or 'none'}")
    lines.append(
        f"carved out: {approximate_size(total_carved)}; struct pages given back: {approximate_size(total_saved)}"
    )
    return "".join(f"{one_line(line)}\n" for line in lines)


def report_json(records: Iterable[Record]) -> dict[str, Any]:
    """Bytes; ``expectations`` are those that are not met."""
    hosts = [
        {
            "host": record.host,
            "verdict": record.verdict,
            "id": record.id,
            "carved": carved(record),
            "saved": saved(record),
            "failures": list(record.failures),
            "notes": record.notes,
            "checked": len(record.expectations),
            "expectations": [dict(expectation) for expectation in record.unmet],
        }
        for record in records
    ]
    counts = Counter(str(host["verdict"]) for host in hosts)
    return {"hosts": hosts, "counts": {word: counts[word] for word in (FINE, DEVIATES, UNKNOWN)}}
