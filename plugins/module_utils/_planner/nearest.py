# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a node's pools do not fit: by how much, where the memory is, and the nearest plan that fits.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from .._errors import Problem
from .._units import GIB, KIB, MIB, align_down, approximate_size, format_size
from .nodes import NodePlan
from .place import Demand, largest_rest

_ALIGNS = (GIB, 2 * MIB, 4 * KIB)


def why_not(node: NodePlan) -> list[Problem]:
    """A problem for each pool that could be made smaller for all to fit, else one for all of them."""
    problems = []
    for demand in node.demands:
        if demand.size is None:
            continue
        others = [_one_page(d) for d in node.demands if d is not demand]
        most = _most(node, demand, others)
        if most and most < demand.size:
            problems.append(
                Problem(
                    node.path(demand.pool),
                    "does-not-fit",
                    f"{format_size(demand.size)} does not fit on node {node.node}: the largest possible size is "
                    f"{format_size(most)}, {format_size(demand.size - most)} less "
                    f"({_account(node, demand.align, others)}); "
                    f"{_nearest(node, {demand.pool: most})}",
                )
            )
    return problems or [_all_of_them(node)]


def nothing_left(node: NodePlan, demand: Demand) -> Problem:
    """For a pool that takes the rest, beside fixed sizes that fit without it."""
    others = [d for d in node.demands if d is not demand]
    nearest = _nearest(node, {})
    return Problem(
        node.path(demand.pool),
        "nothing-left",
        f"nothing is left for this pool on node {node.node} in pages of {format_size(demand.align)} "
        f"({_account(node, demand.align, others)}); {nearest}",
    )


def _all_of_them(node: NodePlan) -> Problem:
    wanted = sum(d.size or d.align for d in node.demands)
    align = min(d.align for d in node.demands)
    most = max(0, min(node.budget, node.free.align_inward(align).size))
    first = node.demands[0].pool
    if len(node.demands) == 1:
        return Problem(
            node.path(first),
            "nothing-left",
            f"nothing is left for this pool on node {node.node} in pages of {format_size(align)}: it asks for "
            f"{format_size(wanted)} ({_account(node, align, ())}); {_nearest(node, {})}",
        )
    over = f", {format_size(wanted - most)} too much" if wanted > most else ""
    return Problem(
        node.path(first),
        "does-not-fit",
        f"the pools {', '.join(d.pool for d in node.demands)} ask for {format_size(wanted)} on node {node.node}{over}; "
        f"together they can have at most {format_size(most)} ({_account(node, align, ())}); {_nearest(node, {})}",
    )


def _one_page(demand: Demand) -> Demand:
    """A pool that takes the rest needs one page at least."""
    return demand if demand.size is not None else dataclasses.replace(demand, size=demand.align)


def _most(node: NodePlan, demand: Demand, others: Sequence[Demand]) -> int:
    """The largest size of a demand beside others; 0 where there is none."""
    return largest_rest(node.free, node.budget, [*others, dataclasses.replace(demand, size=None)], {}) or 0


def _fits(node: NodePlan, demands: Sequence[Demand], budget: int) -> bool:
    return largest_rest(node.free, budget, [_one_page(d) for d in demands], {}) is not None


def _nearest(node: NodePlan, sizes: Mapping[str, int]) -> str:
    """Changes of the plan, each of which makes the node's pools fit; ``sizes`` is one of them."""
    sizes = sizes or _smaller(node)
    ways = []
    if sizes:
        ways.append(
            " and ".join(
                f"{node.path(pool)}: {format_size(size)}" if size else f"no {node.path(pool)}"
                for pool, size in sizes.items()
            )
        )
    needed = sum(_one_page(d).size or 0 for d in node.demands)
    keep = align_down(node.usable - node.huge - needed, MIB)
    if 0 <= keep < node.keep and _fits(node, node.demands, node.usable - node.huge - keep):
        ways.append(f"{node.keep_path}: {format_size(keep)}")
    ways += _smaller_align(node)
    return "nearest that fits: " + ", or ".join(ways) if ways else "no size of it fits"


def _smaller(node: NodePlan) -> dict[str, int]:
    """Sizes that fit together: each pool, in the plan's order, as large as those before it let.

    0 stands for a pool that has to go.
    """
    chosen: list[Demand] = []
    changed: dict[str, int] = {}
    rest = [d for d in node.demands if d.size is None]
    if not _fits(node, rest, node.budget):
        # Not even one page for the pool that takes the rest: it goes first.
        changed.update({d.pool: 0 for d in rest})
        rest = []
    for demand in node.demands:
        if demand.size is None:
            continue
        size = min(demand.size, _most(node, demand, [*chosen, *map(_one_page, rest)]))
        if size:
            chosen.append(dataclasses.replace(demand, size=size))
        if size != demand.size:
            changed[demand.pool] = size
    return changed if chosen or len(changed) < len(node.demands) else {}


def _smaller_align(node: NodePlan) -> list[str]:
    """One pool's align made smaller, where that makes all of them fit; the largest that does."""
    for demand in node.demands:
        lowest = node.least_align(demand.pool)
        for align in _ALIGNS:
            if not lowest <= align < demand.align or node.pools[demand.pool].devices:
                continue
            others = [d for d in node.demands if d is not demand]
            if _fits(node, [*others, dataclasses.replace(demand, align=align)], node.budget):
                return [f"{node.align_path(demand.pool)}: {format_size(align)}"]
    return []


def _account(node: NodePlan, align: int, others: Sequence[Demand]) -> str:
    """Where the node's memory is, in words."""
    low = node.usable - node.free.size - node.avoided
    aligned = node.free.align_inward(align).size
    parts = [
        f"{approximate_size(node.usable)} usable",
        f"{format_size(node.keep)} kept for the kernel",
        f"{approximate_size(node.free.size)} above 4 GiB",
    ]
    if low:
        parts.append(f"{approximate_size(low)} below 4 GiB")
    if node.huge:
        parts.append(f"{format_size(node.huge)} for huge pages")
    if node.avoided:
        parts.append(f"{approximate_size(node.avoided)} to be avoided")
    if node.firmware:
        parts.append(f"{approximate_size(node.firmware)} in between taken by firmware or holes")
    if node.free.size > aligned:
        parts.append(
            f"{approximate_size(node.free.size - aligned)} lost to holes and the align of {format_size(align)}"
        )
    taken = sum(d.size or 0 for d in others)
    if taken:
        parts.append(f"{format_size(taken)} for other pools")
    return ", ".join(parts)
