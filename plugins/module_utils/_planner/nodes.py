# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan asks of each node, placed there or refused with the largest size that fits.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .._errors import NotPossible, Problem
from .._host.model import Host
from .._layout import Reservation
from .._mechanisms import MECHANISMS
from .._ranges import Range, RangeSet
from .._units import GIB, SECTION, align_down, align_up, approximate_size, format_size
from .place import Demand, place
from .plan import REST, Amount, Percent, Plan, PoolPlan

#: All usable RAM below belongs to the kernel: its image, initrd, DMA zones and crashkernel=low.
LOW = 4 * GIB


@dataclass(frozen=True)
class NodePlan:
    """One node's share of a plan: bytes usable and kept, what may be taken, and who wants what."""

    node: int
    usable: int
    keep: int
    free: RangeSet
    pools: Mapping[str, PoolPlan]
    demands: tuple[Demand, ...]

    @property
    def budget(self) -> int:
        return self.usable - self.keep

    def path(self, pool: str) -> str:
        return f"{self.pools[pool].path}.nodes.{self.node}"


def node_plans(plan: Plan, host: Host) -> list[NodePlan]:
    """Translate the plan for each node that a pool names.

    Raises :class:`NotPossible` for nodes that do not exist and shares that a node does not have.
    """
    problems = _unknown_nodes(plan, host)
    if problems:
        raise NotPossible(problems)
    result = []
    for node in sorted({node for pool in plan.pools for node in pool.nodes}):
        usable = host.node_usable(node)
        pools = {pool.name: pool for pool in plan.pools if node in pool.nodes}
        keep = _bytes_to_keep(plan.keep_for_kernel(node), usable.size)
        path = f"kernel.memory.{node}" if node in plan.kernel_memory else "kernel.memory"
        if keep > usable.size:
            problems.append(
                Problem(
                    path,
                    "kernel-share-too-large",
                    f"node {node} has {approximate_size(usable.size)} of usable RAM, less than the "
                    f"{format_size(keep)} to be kept for the kernel",
                )
            )
        rests = [name for name, pool in pools.items() if pool.nodes[node] == REST]
        for extra in rests[1:]:
            problems.append(
                Problem(
                    f"{pools[extra].path}.nodes.{node}",
                    "rest-twice",
                    f"pool {rests[0]!r} takes the rest of node {node} already; give one of them a size",
                )
            )
        free = usable.intersect([(LOW, 1 << 64)]).subtract(plan.avoid)
        demands = tuple(_demand(pool, node, usable.size) for pool in pools.values())
        for demand in demands:
            if demand.size == 0:
                problems.append(
                    Problem(
                        f"{pools[demand.pool].path}.nodes.{node}",
                        "size-invalid",
                        "the share is smaller than one page of the pool's align",
                    )
                )
        result.append(NodePlan(node, usable.size, keep, free, pools, demands))
    if problems:
        raise NotPossible(problems)
    return result


def _unknown_nodes(plan: Plan, host: Host) -> list[Problem]:
    known = host.nodes
    names = ", ".join(str(node) for node in known) or "none"
    wanted = [(f"{pool.path}.nodes.{node}", node) for pool in plan.pools for node in pool.nodes]
    wanted += [(f"kernel.memory.{node}", node) for node in plan.kernel_memory if node >= 0]
    return [
        Problem(path, "node-unknown", f"this host has no node {node} with memory; it has: {names}")
        for path, node in wanted
        if node not in known
    ]


def _bytes_to_keep(amount: Amount, usable: int) -> int:
    if isinstance(amount, Percent):
        return min(usable, align_up(amount.of(usable), SECTION))
    return amount if isinstance(amount, int) else 0


def placement_align(pool: PoolPlan, node: int) -> int:
    """What start and length of the pool's reservations are multiples of."""
    return max(pool.aligns[node], MECHANISMS[pool.mechanism].MIN_ALIGN)


def _demand(pool: PoolPlan, node: int, usable: int) -> Demand:
    amount = pool.nodes[node]
    align = placement_align(pool, node)
    if isinstance(amount, Percent):
        return Demand(pool.name, align, align_down(amount.of(usable), align))
    return Demand(pool.name, align, amount if isinstance(amount, int) else None)


def place_node(node: NodePlan, earlier: Sequence[Reservation]) -> tuple[tuple[Reservation, ...], list[str]]:
    """Reservations on the node, and the pools whose earlier place could not be kept.

    ``earlier`` are the committed layout's reservations on this node.
    """
    pinned = {d.pool: ranges for d in node.demands if (ranges := _reusable(d, earlier))}
    found = None
    for kept in _fewest_moved(pinned):
        found = place(node.free, node.budget, node.demands, kept)
        if found and all(found.ranges[d.pool] for d in node.demands):
            break
    if found is None:
        raise NotPossible(_why_not(node))
    for demand in node.demands:
        if not found.ranges[demand.pool]:
            raise NotPossible.of(node.path(demand.pool), "nothing-left", _nothing_left(node, demand))
    moved = sorted(pool for pool, ranges in pinned.items() if found.ranges[pool] != ranges)
    reservations = [
        Reservation(
            pool,
            node.pools[pool].mechanism,
            node.node,
            part.start,
            part.end,
            node.pools[pool].aligns[node.node],
        )
        for pool, ranges in found.ranges.items()
        for part in ranges
    ]
    return tuple(sorted(reservations, key=lambda r: r.start)), moved


def _fewest_moved(pinned: Mapping[str, tuple[Range, ...]]) -> Iterator[Mapping[str, tuple[Range, ...]]]:
    """All of them kept, then all but one (the smallest first), then none."""
    yield pinned
    by_size = sorted(pinned, key=lambda pool: (sum(r.size for r in pinned[pool]), pool))
    if len(by_size) > 1:
        for moved in by_size:
            yield {pool: ranges for pool, ranges in pinned.items() if pool != moved}
    if pinned:
        yield {}


def _reusable(demand: Demand, earlier: Sequence[Reservation]) -> tuple[Range, ...]:
    ranges = tuple(r.range for r in earlier if r.pool == demand.pool)
    aligned = all(r.start % demand.align == 0 and r.end % demand.align == 0 for r in ranges)
    if not ranges or demand.size is None or not aligned:
        return ()
    return ranges if sum(r.size for r in ranges) == demand.size else ()


def _why_not(node: NodePlan) -> list[Problem]:
    problems = []
    for demand in node.demands:
        if demand.size is None:
            continue
        # A pool that takes the rest needs one page at least.
        others = [
            d if d.size is not None else Demand(d.pool, d.align, d.align)
            for d in node.demands
            if d is not demand
        ]
        alone = place(node.free, node.budget, [*others, Demand(demand.pool, demand.align, None)], {})
        if alone is not None and alone.rest < demand.size:
            if not alone.rest:
                problems.append(Problem(node.path(demand.pool), "nothing-left", _nothing_left(node, demand)))
                continue
            problems.append(
                Problem(
                    node.path(demand.pool),
                    "does-not-fit",
                    f"{format_size(demand.size)} does not fit on node {node.node}: the largest possible size is "
                    f"{format_size(alone.rest)} ({_account(node, demand, others)})",
                )
            )
    if problems:
        return problems
    wanted = sum(d.size or 0 for d in node.demands)
    most = min(node.budget, node.free.align_inward(min(d.align for d in node.demands)).size)
    return [
        Problem(
            node.path(node.demands[0].pool),
            "does-not-fit",
            f"the pools {', '.join(d.pool for d in node.demands)} ask for {format_size(wanted)} on node {node.node}; "
            f"together they can have at most {format_size(most)} ({_account(node, node.demands[0], ())})",
        )
    ]


def _nothing_left(node: NodePlan, demand: Demand) -> str:
    others = [d for d in node.demands if d is not demand]
    return (
        f"nothing is left for this pool on node {node.node} in pages of {format_size(demand.align)} "
        f"({_account(node, demand, others)})"
    )


def _account(node: NodePlan, demand: Demand, others: Sequence[Demand]) -> str:
    """Where the node's memory is, in words."""
    low = node.usable - node.free.size
    aligned = node.free.align_inward(demand.align).size
    parts = [
        f"{approximate_size(node.usable)} usable",
        f"{format_size(node.keep)} kept for the kernel",
        f"{approximate_size(node.free.size)} above 4 GiB",
    ]
    if low:
        parts.append(f"{approximate_size(low)} below 4 GiB or to be avoided")
    if node.free.size > aligned:
        parts.append(
            f"{approximate_size(node.free.size - aligned)} lost to holes and the align of {format_size(demand.align)}"
        )
    taken = sum(d.size or 0 for d in others)
    if taken:
        parts.append(f"{format_size(taken)} for other pools")
    return ", ".join(parts)
