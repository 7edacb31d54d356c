# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bytes that the layout of a verified host speaks of."""

from __future__ import annotations

from .record import Record


def by_pool(record: Record) -> dict[tuple[str, str, str], int]:
    """What is carved out by pool, mechanism and node."""
    found: dict[tuple[str, str, str], int] = {}
    layout = record.layout or {}
    parts = [
        (r["pool"], r["mechanism"], r["node"], r["end"] - r["start"]) for r in layout.get("reservations", [])
    ]
    parts += [
        (h["pool"], "hugetlb", h["node"], h["page_size"] * h["count"]) for h in layout.get("hugepages", [])
    ]
    for pool, mechanism, node, size in parts:
        key = (str(pool), str(mechanism), str(node))
        found[key] = found.get(key, 0) + size
    return found


def carved(record: Record) -> int:
    return sum(by_pool(record).values())


def saved(record: Record) -> int:
    """Struct pages given back."""
    return int(record.layout["memory"]["saved"]) if record.layout else 0


def saved_by_node(record: Record) -> dict[str, int]:
    nodes = record.layout["memory"]["nodes"] if record.layout else {}
    return {str(node): int(memory["saved"]) for node, memory in nodes.items()}
