# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan --compare`` for people, in 80 columns."""

from __future__ import annotations

from ansible_collections.carveout.memory.plugins.module_utils._planner.compare import (
    Comparison,
    PoolTable,
    Row,
)
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size

from .picture_text import wrap


def comparison_text(found: Comparison) -> str:
    """A table for each pool, and below it what each mechanism loses, or why this host cannot do it."""
    guest = format_size(found.guest)
    text = wrap(
        f"Mechanisms side by side for kernel {found.kernel}, each pool in turn, the others as planned; without "
        f"Carveout this host has {approximate_size(found.without)} of struct pages. * is what the plan has. guests: of "
        f"{guest}, in what tenants get; more: in what the pool gives back.",
        "",
    )
    for problem in found.problems:
        text += ["", *wrap(f"the plan as it is cannot be carried out here: {problem}", "")]
    for table in found.tables:
        text += ["", *_table(table)]
    possible = {row.way.label: row.way for table in found.tables for row in table.rows if not row.problems}
    text += ["", *(["What each loses"] if possible else [])]
    for way in possible.values():
        text += wrap(f"{way.label}: {'; '.join(way.lost)}", "  ")
    return "\n".join(text) + "\n"


def _table(table: PoolTable) -> list[str]:
    pages = " and ".join(format_size(size) for size in table.pages)
    text = [
        *wrap(f"pool {table.pool}, pages of {pages}", ""),
        f"  {'':<20}{'':>12} {'struct pages':>13} {'given back':>13}",
        f"  {'':<20}{'for tenants':>12} {'of the host':>13} {'by the pool':>13} {'guests':>7} {'more':>6}",
    ]
    text += [_line(row, table.way) for row in table.rows]
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        why = "; ".join([str(problem) for problem in row.problems] or row.lost)
        word = "not here" if row.problems else "loses here"
        if why:
            reasons.setdefault(f"{word}: {why}", []).append(row.way.label)
    for why, labels in reasons.items():
        text += wrap(f"{', '.join(labels)} {why}", "    ")
    return text


def _line(row: Row, way: str) -> str:
    mark = "*" if row.way.label == way else " "
    if row.problems:
        return f"{mark} {row.way.label:<20}{'-':>12}"
    saved = approximate_size(row.saved) if row.saved >= 0 else f"-{approximate_size(-row.saved)}"
    return (
        f"{mark} {row.way.label:<20}{approximate_size(row.size):>12} {approximate_size(row.left):>13} {saved:>13} "
        f"{row.guests:>7} {row.more:>6}"
    )
