# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeping what a host has: whether a committed layout still answers plan and host.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

from .._arguments import parse
from .._errors import NotPossible
from .._host.model import Host, MapEntry
from .._layout import Device, Layout, Reservation
from .._mechanisms import MECHANISMS, dax, dmemfs, reserved
from .._mechanisms.dax import IGNORE_HMAT
from .._mechanisms.dmemfs import HUGE_PAGES_OFF
from .._mechanisms.hugetlb import OPTIMISE
from .._mechanisms.pmem import is_plain
from .._model.e820 import apply_arguments
from .._model.firmware_moves import moves, tolerable
from .._model.kaslr import GUARD, placement
from .._model.sections import ram_of
from .._ranges import Range, RangeSet
from .._units import PAGE
from .dmemfs import still_registered, the_pool, wanted_mount, without_regions
from .hugepages import check_pages, wanted_mounts, wanted_pages
from .namespaces import namespace_of, place_of
from .nodes import NodePlan
from .plan import DevicePlan, Plan, PoolPlan
from .regions import region_problems

#: What layouts hold beside the arguments of their reservations; whether it fits is looked at where it is used.
_OWN_ARGUMENTS = re.compile(
    "|".join(
        [
            *map(re.escape, [GUARD, IGNORE_HMAT, OPTIMISE, HUGE_PAGES_OFF, *dax.host_arguments(), "nokaslr"]),
            "hugepagesz=(?:2M|1G)",
            "hugepages=[0-9:,]{1,200}",
            "dmem=!?[0-9KMGTPE@:]{1,80}",
        ]
    )
)


def still_satisfies(
    layout: Layout,
    plan: Plan,
    host: Host,
    nodes: Sequence[NodePlan],
    before: Sequence[MapEntry],
    existing: Sequence[Reservation],
) -> bool:
    """True where the layout answers this very plan and every reservation still stands on RAM.

    Where memory was added, taken out or replaced since, it does not: amounts and what is kept for the kernel follow
    from all of it. ``before`` is the map without our arguments, ``existing`` the reservations of regions that are there
    in it.

    A newer planner that would place better is no reason to leave it; nor is a newer kernel, but where
    it makes other DAX regions of the reservations (with an HMAT).
    """
    if json.dumps(layout.plan, sort_keys=True) != json.dumps(plan.source, sort_keys=True):
        return False
    own = [r.range for r in layout.reservations]
    if not tolerable(
        moves(layout.predicted_map, host.firmware_map, host.foreign_tokens, host.kernel_running, own)
    ):
        return False
    carved = [r for r in layout.reservations if not r.existing]
    if {r for r in layout.reservations if r.existing} != set(existing):
        return False
    if not _answers(layout, plan, nodes, carved) or not _same_pages(layout, plan, host):
        return False
    for node in nodes:
        mine = [r for r in carved if r.node == node.node]
        # memory to be avoided is in holes between the regions of dmem=
        if any(
            not node.free.contains(r.range)
            for r in mine
            if r.pool in node.pools or r.mechanism == dmemfs.NAME
        ):
            return False
        if sum(r.range.size for r in mine) > node.budget + node.dmem:
            return False
    if any(r.mechanism not in MECHANISMS for r in layout.reservations) or not _own(layout, plan, carved):
        return False
    tokens = [*host.foreign_tokens, *layout.arguments]
    after = apply_arguments(host.firmware_map, tokens, host.kernel).entries
    ranges = [r.range for r in carved]
    if not still_registered(plan, host, carved, tokens, after):
        return False
    in_map = RangeSet(r.range for r in carved if r.mechanism != dmemfs.NAME)
    if ram_of(before).subtract(ram_of(after)) != in_map:
        return False
    if region_problems(host, tokens, after, layout.reservations):
        return False
    return not placement(tokens).collisions(ranges) and all(
        any(e.type == MECHANISMS[r.mechanism].TYPE and Range(e.start, e.end).contains(r.range) for e in after)
        for r in carved
    )


def _own(layout: Layout, plan: Plan, carved: Sequence[Reservation]) -> bool:
    """Whether each argument is one that this planner writes. The ID proves nothing: whoever forges a layout has it."""
    rest = list(layout.arguments)
    for reservation in carved:
        for argument in MECHANISMS[reservation.mechanism].arguments([reservation]):
            if argument not in rest:
                return False
            rest.remove(argument)
    if "nokaslr" in rest and plan.policy.kaslr == "keep":
        return False
    if HUGE_PAGES_OFF in rest and plan.policy.transparent_huge_pages == "keep":
        return False
    return all(_OWN_ARGUMENTS.fullmatch(argument) for argument in rest)


def _same_pages(layout: Layout, plan: Plan, host: Host) -> bool:
    """Whether the huge pages and mounts are the plan's, and the kernel still makes them by the layout's arguments."""
    pages = wanted_pages(plan, host)
    mounts = (*wanted_mounts(plan, pages), *wanted_mount(plan, layout.reservations))
    if layout.hugepages != pages or layout.mounts != mounts:
        return False
    asked = [a for a in layout.arguments if parse(a).name.startswith("huge")]
    if not pages:
        return not asked
    if (OPTIMISE in asked) != any(pool.optimize_vmemmap for pool in plan.pools):
        return False
    tokens = [*host.foreign_tokens, *layout.arguments]
    try:
        after = apply_arguments(host.firmware_map, tokens, host.kernel).entries
        check_pages(plan, host, pages, tokens, without_regions(after, layout.reservations))
    except NotPossible:
        return False
    return True


def _answers(layout: Layout, plan: Plan, nodes: Sequence[NodePlan], carved: Sequence[Reservation]) -> bool:
    """Whether the layout, which comes from the host, is one that this planner could have made of the plan."""
    numa = [argument for argument in layout.arguments if parse(argument).name == "numa"]
    if numa and (set(numa) != {IGNORE_HMAT} or not plan.policy.ignore_hmat):
        return False
    own = the_pool(plan)
    kinds = (dmemfs.NAME, reserved.NAME)  # the pool's regions, and the holes between them
    if any(own and r.pool == own.name and r.mechanism not in kinds for r in carved):
        return False
    places = {(r.pool, r.node) for r in carved if own is None or r.pool != own.name}
    if places != {(demand.pool, node.node) for node in nodes for demand in node.demands}:
        return False
    for node in nodes:
        for demand in node.demands:
            pool = node.pools[demand.pool]
            mine = [r for r in layout.reservations if (r.pool, r.node) == (demand.pool, node.node)]
            if any(r.mechanism != pool.mechanism or r.align != pool.aligns[node.node] for r in mine):
                return False
            if demand.size is not None and sum(r.range.size for r in mine) != demand.size:
                return False
    wanted = {d.name: (pool, d) for pool in plan.pools for d in pool.devices}
    return {d.name for d in layout.devices} == set(wanted) and all(
        _is_device(device, *wanted[device.name], layout) for device in layout.devices
    )


def _is_device(device: Device, pool: PoolPlan, wish: DevicePlan, layout: Layout) -> bool:
    align = PAGE if is_plain(pool.namespace, pool.map) else wish.align
    if (device.pool, device.node, device.align, device.path) != (pool.name, wish.node, align, wish.path):
        return False
    access = (wish.owner, wish.group, wish.mode, wish.units)
    if (device.owner, device.group, device.mode, device.units) != access:
        return False
    if (device.use, device.online) != (wish.use, wish.online):
        return False
    if (device.namespace, device.map) != (pool.namespace, pool.map):
        return False
    if wish.extents:
        starts = [r.start for r in layout.reservations if (r.pool, r.node) == (pool.name, wish.node)]
        return any(
            device.extents == tuple(Range(s + e.start, s + e.end) for e in wish.extents) for s in starts
        )
    if (
        device.namespace
        and namespace_of(pool, wish, replace(device, extents=place_of(layout, device))) != device
    ):
        return False
    size = sum(part.size for part in place_of(layout, device))
    return len(device.extents) == 1 and (not isinstance(wish.size, int) or size == wish.size)
