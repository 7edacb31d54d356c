# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeping what a host has: whether a committed layout still answers plan and host.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .._host.model import Host
from .._layout import Layout
from .._mechanisms import MECHANISMS
from .._model.e820 import apply_arguments
from .._model.kaslr import placement
from .._ranges import Range
from .nodes import NodePlan
from .plan import Plan


def still_satisfies(layout: Layout, plan: Plan, host: Host, nodes: Sequence[NodePlan]) -> bool:
    """True where the layout answers this very plan and every reservation still stands on RAM.

    A newer planner that would place better is no reason to leave it; nor is a newer kernel.
    """
    if json.dumps(layout.plan, sort_keys=True) != json.dumps(plan.source, sort_keys=True):
        return False
    for node in nodes:
        ranges = [r.range for r in layout.reservations if r.node == node.node]
        if any(not node.free.contains(r) for r in ranges) or sum(r.size for r in ranges) > node.budget:
            return False
    if any(r.mechanism not in MECHANISMS for r in layout.reservations):
        return False
    tokens = [*host.foreign_tokens, *layout.arguments]
    after = apply_arguments(host.firmware_map, tokens).entries
    ranges = [r.range for r in layout.reservations]
    return not placement(tokens).collisions(ranges) and all(
        any(e.type == MECHANISMS[r.mechanism].TYPE and Range(e.start, e.end).contains(r.range) for e in after)
        for r in layout.reservations
    )


def earlier_extents(layout: Layout | None, pool: str, node: int) -> dict[str, tuple[Range, ...]]:
    """Where the devices of a pool on a node were, by name."""
    if layout is None:
        return {}
    return {d.name: d.extents for d in layout.devices if d.pool == pool and d.node == node}
