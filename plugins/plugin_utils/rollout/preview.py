# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a rollout is going to do, before it does it, and what keeps it from it."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable

from .classes import Stranger
from .judge import over_budget
from .record import PLANNED, SETTLED, UNPLANNABLE, Record
from .waves import Batch

#: Hosts of one batch that are named.
_NAMED = 20


def refusals(records: Sequence[Record], different: Sequence[Stranger], budget: int) -> list[str]:
    """Why no host is touched; empty where the rollout may begin."""
    why = []
    cannot = [record.host for record in records if record.state == UNPLANNABLE]
    failed = [record.host for record in records if record.failed]
    if cannot:
        why.append(f"{_hosts(len(cannot))} cannot do what the plan says: {', '.join(cannot[:_NAMED])}")
    elif len(failed) > budget:
        why.append(over_budget(len(failed), budget))
    why += [f"{stranger}" for stranger in different[:_NAMED]]
    if different:
        why.append("give them a carveout_class of their own, or set carveout_allow_different")
    return why


def preview_text(
    records: Sequence[Record], batches: Sequence[Batch], different: Sequence[Stranger], why: Sequence[str]
) -> str:
    """The waves, with the reboots of each batch."""
    by_name = {record.host: record for record in records}
    planned = [record for record in records if record.state == PLANNED]
    reboots = sum(record.reboots for record in planned)
    settled = sum(record.state == SETTLED for record in records)
    lines = [
        f"{_hosts(len(records))}: {len(planned)} to be changed, {reboots} of them with a reboot; "
        f"{settled} as their plans say already"
    ]
    for batch in batches:
        names = ", ".join(
            host + ("" if by_name[host].reboots else " (no reboot)") for host in batch.hosts[:_NAMED]
        )
        more = f" and {len(batch.hosts) - _NAMED} more" if len(batch.hosts) > _NAMED else ""
        lines.append(f"wave {batch.wave}, batch {batch.number}: {names}{more}")
    lines += [f"allowed: {stranger}" for stranger in different if not why]
    lines += [f"refused: {reason}" for reason in why]
    return "".join(f"{printable(line)}\n" for line in lines)


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"
