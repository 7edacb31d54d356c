# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan asks of each node.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .._errors import NotPossible, Problem
from .._host.model import Host
from .._mechanisms import MECHANISMS, dmemfs
from .._ranges import RangeSet
from .._units import GIB, SECTION, align_down, align_up, approximate_size, format_size
from .dmemfs_plan import unit_of
from .hugepages import size_on, wanted_pages
from .place import Demand
from .plan import REST, Amount, Percent, Plan, PoolPlan

#: All usable RAM below belongs to the kernel: its image, initrd, DMA zones and crashkernel=low.
LOW = 4 * GIB


@dataclass(frozen=True)
class NodePlan:
    """One node's share of a plan: bytes usable and kept, what may be taken, and who wants what.

    ``avoided`` are bytes above 4 GiB that the plan wants avoided, ``firmware`` those between the
    node's first and last usable byte there that are no RAM. ``keep_path`` is where the plan says
    ``keep``. ``huge`` are bytes of huge pages, which the kernel makes of what no pool here takes,
    ``dmem`` those that a dmemfs pool is to have: it is placed after the pools here (:mod:`.dmemfs`).
    """

    node: int
    usable: int
    keep: int
    free: RangeSet
    pools: Mapping[str, PoolPlan]
    demands: tuple[Demand, ...]
    avoided: int
    firmware: int
    keep_path: str
    huge: int = 0
    dmem: int = 0

    @property
    def budget(self) -> int:
        return self.usable - self.keep - self.huge - self.dmem

    def path(self, pool: str) -> str:
        return f"{self.pools[pool].path}.nodes.{self.node}"

    def align_path(self, pool: str) -> str:
        plan = self.pools[pool]
        return (
            f"{plan.path}.align.{self.node}" if len(set(plan.aligns.values())) > 1 else f"{plan.path}.align"
        )

    def least_align(self, pool: str) -> int:
        """The smallest align that the pool's mechanism can do."""
        return MECHANISMS[self.pools[pool].mechanism].MIN_ALIGN


def node_plans(plan: Plan, host: Host) -> list[NodePlan]:
    """Translate the plan for each node that a pool names. Pools of huge pages and of dmemfs have no demand.

    Raises :class:`NotPossible` for nodes that do not exist and shares that a node does not have.
    """
    problems = _unknown_nodes(plan, host)
    if problems:
        raise NotPossible(problems)
    result = []
    huge_pages = wanted_pages(plan, host)
    for node in sorted({node for pool in plan.pools if not pool.existing for node in pool.nodes}):
        usable = host.node_usable(node)
        # A mapping of the plan has no order that means anything: nothing may depend on it.
        pools = {p.name: p for p in sorted(plan.pools, key=lambda p: p.name) if node in p.nodes}
        rests = [name for name, pool in pools.items() if pool.nodes[node] == REST and not pool.existing]
        dmem = sum(dmem_amount(p, node, host) or 0 for p in pools.values() if p.mechanism == dmemfs.NAME)
        every = pools
        pools = {name: pool for name, pool in pools.items() if takes_ranges(pool)}
        huge = size_on(huge_pages, node)
        keep = _bytes_to_keep(plan.keep_for_kernel(node), usable.size)
        path = f"kernel.memory.{node}" if node in plan.kernel_memory else "kernel.memory"
        if keep > usable.size:
            problems.append(
                Problem(
                    path,
                    "kernel-share-too-large",
                    f"node {node} has {approximate_size(usable.size)} of usable RAM, "
                    f"{approximate_size(keep - usable.size)} less than the {format_size(keep)} to be kept for the "
                    "kernel",
                )
            )
        elif keep + huge > usable.size:
            pool_of = next(each.pool for each in huge_pages if each.node == node)
            problems.append(
                Problem(
                    f"pools.{pool_of}.nodes.{node}",
                    "does-not-fit",
                    f"node {node} has {approximate_size(usable.size)} of usable RAM; {format_size(huge)} of huge pages "
                    f"beside the {format_size(keep)} to be kept for the kernel are "
                    f"{approximate_size(keep + huge - usable.size)} too much",
                )
            )
        for extra in rests[1:]:
            problems.append(
                Problem(
                    f"{every[extra].path}.nodes.{node}",
                    "rest-twice",
                    f"pool {rests[0]!r} takes the rest of node {node} already; give one of them a size",
                )
            )
        high = usable.intersect([(LOW, 1 << 64)])
        free = high.subtract(plan.avoid)
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
        result.append(
            NodePlan(
                node,
                usable.size,
                keep,
                free,
                pools,
                demands,
                high.size - free.size,
                _span(high) - high.size,
                path,
                huge,
                dmem,
            )
        )
    if problems:
        raise NotPossible(problems)
    return result


def takes_ranges(pool: PoolPlan) -> bool:
    """Whether the planner chooses ranges of the host's RAM for the pool: those of dmemfs the kernel chooses."""
    return pool.mechanism in MECHANISMS and pool.mechanism != dmemfs.NAME and not pool.existing


def dmem_amount(pool: PoolPlan, node: int, host: Host) -> int | None:
    """Bytes that a dmemfs pool is to have on a node; None for what is left."""
    amount = pool.nodes[node]
    if isinstance(amount, Percent):
        return align_down(amount.of(host.node_usable(node).size), unit_of(pool.aligns[node]))
    return amount if isinstance(amount, int) else None


def memory_block(host: Host) -> int:
    """The memory blocks in which the kernel takes memory back and gives it away.

    128 MiB, or 2 GiB on hosts of 64 GiB and more (arch/x86/mm/init_64.c, probe_memory_block_size:
    bare metal; a virtual machine may have smaller ones). From the firmware's map and not from
    /sys/devices/system/memory/block_size_bytes, which depends on what is carved out now.
    """
    top = max((part.end for part in host.usable), default=0)
    return 2 * GIB if top >= 64 * GIB else SECTION


def _span(ranges: RangeSet) -> int:
    parts = tuple(ranges)
    return parts[-1].end - parts[0].start if parts else 0


def _unknown_nodes(plan: Plan, host: Host) -> list[Problem]:
    known = host.nodes
    names = ", ".join(str(node) for node in known) or "none"
    wanted = [
        (f"{pool.path}.nodes.{node}", node) for pool in plan.pools if not pool.existing for node in pool.nodes
    ]
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
