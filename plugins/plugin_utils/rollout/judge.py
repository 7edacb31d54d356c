# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the next hosts may be worked on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .record import HELD, PLANNED, Record


@dataclass(frozen=True)
class Verdict:
    """``stop`` says why nothing more is done, empty where it is; ``go`` are the hosts to be worked on now, ``held``
    those that are left alone, with the reason."""

    stop: str = ""
    go: tuple[str, ...] = ()
    held: dict[str, str] = field(default_factory=dict)


def judge(
    records: Sequence[Record], following: Sequence[str], *, budget: int, limit: int, stopped: str = ""
) -> Verdict:
    """Of all hosts of the rollout, and the names of those that are next.

    ``budget`` hosts may fail in the whole rollout. Of a domain ``limit`` hosts may be worked on at once, and hosts that
    are down count: those of an earlier batch that never came back, too.
    """
    failed = [record.host for record in records if record.failed]
    if stopped or len(failed) > budget:
        return Verdict(stopped or over_budget(len(failed), budget))
    by_name = {record.host: record for record in records}
    out = Counter(record.domain for record in records if record.domain and record.out)
    go: list[str] = []
    held: dict[str, str] = {}
    for name in following:
        record = by_name[name]
        if record.state not in (PLANNED, HELD):
            continue
        if record.domain and out[record.domain] >= limit:
            held[name] = (
                f"left alone: of {record.domain} {limit} {'host' if limit == 1 else 'hosts'} may be down at once, and "
                "as many are"
            )
            continue
        out[record.domain] += 1
        go.append(name)
    return Verdict("", tuple(go), held)


def over_budget(failed: int, budget: int) -> str:
    return f"{failed} {'host' if failed == 1 else 'hosts'} failed, and the failure budget is {budget}"
