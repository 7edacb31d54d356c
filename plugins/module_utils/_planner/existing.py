# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pools of DAX regions that a host has already: soft-reserved by the firmware or others' arguments, or CXL RAM.

Nothing is carved out for them. What is soft-reserved is foretold from the map without our arguments, as all else
is; regions of CXL memory are no part of that map (drivers/cxl/core/region.c makes them), so they are taken as the
snapshot shows them.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._errors import NotPossible, Problem
from .._host.model import SOFT_RESERVED, Host, MapEntry
from .._layout import Device, Layout, LayoutWarning, Reservation
from .._model.dax_regions import NO_NODE, DaxRegion, dax_regions
from .._model.kaslr import placement
from .._model.releases import has
from .._ranges import Range, RangeSet
from .devices import place_devices
from .moves import device_of, earlier_extents
from .plan import DAX_UNIT, Plan, PoolPlan

#: Where sysfs has the DAX region of a CXL region (drivers/cxl/core/region.c: "region%d", "dax_region%d").
_CXL = re.compile(r"/region\d+/dax_region\d+/dax_region")


def existing_regions(host: Host, before: Sequence[MapEntry]) -> list[DaxRegion]:
    """The regions of a boot without our arguments, each with its node; ``before`` is the kernel's map then."""
    alone = host.nodes[0] if len(host.nodes) == 1 else NO_NODE
    made = dax_regions(before, host, host.foreign_tokens, host.kernel).regions
    found = {region if region.node != NO_NODE else region._replace(node=alone) for region in made}
    for region in host.state.get("dax", {}).get("regions", []):
        if _CXL.search(region["path"]):
            found.add(DaxRegion(region["start"], region["end"], region["target_node"]))
    return sorted(found)


def all_adopted(plan: Plan, host: Host, before: Sequence[MapEntry]) -> bool:
    """Whether every soft-reserved byte is in a region that some pool of the plan uses."""
    nodes = {node for pool in plan.pools if pool.existing for node in pool.nodes}
    used = RangeSet((r.start, r.end) for r in existing_regions(host, before) if r.node in nodes)
    return all(used.contains(Range(e.start, e.end)) for e in before if e.type == SOFT_RESERVED)


def place_existing(
    plan: Plan, host: Host, before: Sequence[MapEntry], previous: Layout | None
) -> tuple[list[Reservation], list[Device]]:
    """All regions of the nodes that such pools name, as reservations, and their devices.

    Raises :class:`NotPossible` where a node has none, or two pools want the same.
    """
    pools = [pool for pool in plan.pools if pool.existing]
    regions = existing_regions(host, before) if pools else []
    reservations: list[Reservation] = []
    devices: list[Device] = []
    problems: list[Problem] = []
    taken: dict[int, str] = {}
    for pool in sorted(pools, key=lambda p: p.name):
        for node in sorted(pool.nodes):
            mine = [Range(r.start, r.end) for r in regions if r.node == node]
            path = f"{pool.path}.nodes.{node}"
            if not mine:
                known = ", ".join(f"{Range(r.start, r.end)} on node {r.node}" for r in regions) or "none"
                message = (
                    f"this host has no DAX region of its own on node {node} (soft-reserved memory of 2 MiB and more, "
                    f"or CXL RAM); regions it has: {known}"
                )
                problems.append(Problem(path, "no-existing-region", message))
            elif node in taken:
                message = f"pool {taken[node]!r} uses the regions of node {node} already"
                problems.append(Problem(path, "rest-twice", message))
            else:
                taken[node] = pool.name
                reservations += [_reservation(pool, node, part) for part in mine]
                try:
                    devices += _devices(pool, node, mine, previous)
                except NotPossible as error:
                    problems += error.problems
    if problems:
        raise NotPossible(problems)
    return reservations, devices


def _reservation(pool: PoolPlan, node: int, part: Range) -> Reservation:
    return Reservation(
        pool.name, pool.mechanism, node, part.start, part.end, pool.aligns[node], existing=True
    )


def _devices(pool: PoolPlan, node: int, regions: Sequence[Range], previous: Layout | None) -> list[Device]:
    wanted = [d for d in pool.devices if d.node == node]
    if not wanted:
        return []
    for device in wanted:
        unit = max(device.align, DAX_UNIT)
        if device.extents and any(region.start % unit for region in regions):
            raise NotPossible.of(
                f"{device.path}.extents",
                "misaligned",
                "offsets count from the region's start, which is no multiple of the device's align; give the device a "
                "size instead, or a smaller align",
            )
    placed = place_devices(pool.path, node, regions, wanted, earlier_extents(previous, pool.name, node))
    return [device_of(wish, pool.name, placed[wish.name]) for wish in wanted]


def warn_existing(
    plan: Plan, host: Host, reservations: Sequence[Reservation], arguments: Sequence[str]
) -> list[LayoutWarning]:
    """What may happen to such regions before the boot service has them.

    ``arguments`` are ours.
    """
    ours = [r for r in reservations if r.existing]
    warnings = []
    if ours and has(host.kernel, "dax-defaults-to-kmem") and "dax_hmem.region_idle=1" not in arguments:
        text = (
            f"the kernel {host.kernel} may take the regions that exist already for itself at each boot, until the boot "
            "service takes them back; that fails while something there cannot be moved. policy.idle_foreign_dax: true "
            "keeps those of soft-reserved memory free from the start, by one kernel argument"
        )
        warnings.append(LayoutWarning("existing-kernel-memory", text))
    hit = placement([*host.foreign_tokens, *arguments]).collisions(
        r.range for r in ours if host.usable.overlaps(r.range)
    )
    if hit:
        text = (
            f"KASLR may put the kernel inside {hit[0]}, which arguments of others soft-reserve: that region then "
            "comes out otherwise"
        )
        warnings.append(LayoutWarning("existing-kaslr", text))
    return warnings
