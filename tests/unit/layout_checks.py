# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is promised of every layout, checked from its JSON, the host and the kernel's rules alone."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._model.kaslr import placement
from ansible_collections.carveout.memory.plugins.module_utils._planner.limits import MINIMUM_KERNEL
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Percent, Plan
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import (
    GIB,
    MIB,
    SECTION,
    align_down,
    align_up,
)

SOFT = 0xEFFFFFFF
LOW = 4 * GIB


def bytes_of(amount: Any, usable: int) -> int:
    if isinstance(amount, Percent):
        return min(usable, align_up(amount.of(usable), SECTION))
    assert isinstance(amount, int)
    return amount


def check_layout(host: Host, plan: Plan, layout: Layout) -> None:
    """Everything that is promised of a layout, from its JSON, the host and the kernel's rules alone."""
    pools = {pool.name: pool for pool in plan.pools}
    taken = [r.range for r in layout.reservations]
    assert sorted(taken) == taken
    assert RangeSet(taken).size == sum(r.size for r in taken)
    for r in layout.reservations:
        pool = pools[r.pool]
        align = max(pool.aligns[r.node], 2 * MIB) if pool.mechanism == "dax" else pool.aligns[r.node]
        assert r.mechanism == pool.mechanism
        assert r.align == pool.aligns[r.node]
        assert r.start % align == r.end % align == 0
        assert r.start >= LOW
        assert host.node_usable(r.node).contains(r.range)
        assert not RangeSet(plan.avoid).overlaps(r.range)
    _check_sizes(host, plan, layout)
    _check_prediction(host, layout)
    _check_devices(plan, layout)
    memory = layout.memory
    assert memory.kernel_after - memory.struct_pages_after >= MINIMUM_KERNEL
    assert memory.saved >= 0
    assert memory.installed == host.usable.size
    for name in ("installed", "kernel_before", "kernel_after", "struct_pages_before", "struct_pages_after"):
        nodes = sum(getattr(m, name) for m in layout.memory_nodes.values())
        total = getattr(memory, name)
        inside = RangeSet((r.start, r.end) for r in host.node_ranges)
        assert nodes == total or host.usable.subtract(inside), name
    # A section on the border of two nodes may change its owner: 2 MiB less on one of them.
    assert all(m.saved >= -4 * MIB for m in layout.memory_nodes.values())
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert len(" ".join([*host.foreign_tokens, *layout.kernel_arguments])) < 2048


def _check_sizes(host: Host, plan: Plan, layout: Layout) -> None:
    for node in {node for pool in plan.pools for node in pool.nodes}:
        usable = host.node_usable(node).size
        keep = bytes_of(plan.keep_for_kernel(node), usable)
        got = {
            p.name: [r.range for r in layout.reservations if (r.pool, r.node) == (p.name, node)]
            for p in plan.pools
        }
        assert sum(r.size for ranges in got.values() for r in ranges) <= usable - keep
        for pool in plan.pools:
            amount = pool.nodes.get(node)
            size = sum(r.size for r in got[pool.name])
            align = max(pool.aligns.get(node, 0), 2 * MIB if pool.mechanism == "dax" else 4096)
            if amount is None:
                assert size == 0
            elif isinstance(amount, Percent):
                assert size == align_down(amount.of(usable), align)
            elif amount != "rest":
                assert size == amount
            elif len([p for p in plan.pools if node in p.nodes]) == 1:
                # One pool that takes the rest: all that is aligned, or all that the kernel does not keep.
                free = host.node_usable(node).intersect([(LOW, 1 << 64)]).subtract(plan.avoid)
                capacity = sum(part.align_inward(align).size for part in free)
                assert size == min(capacity, align_down(usable - keep, align))
            else:
                assert size > 0


def _check_prediction(host: Host, layout: Layout) -> None:
    """In the reservations exactly their type, everywhere else what was there before."""
    before = apply_arguments(host.firmware_map, host.foreign_tokens, host.kernel).entries
    tokens = [*host.foreign_tokens, *layout.kernel_arguments]
    after = apply_arguments(host.firmware_map, tokens, host.kernel)
    assert tuple(tuple(entry) for entry in after.entries) == layout.predicted_map
    assert not [i for i in after.ignored if i.argument in layout.arguments]
    reserved = RangeSet(r.range for r in layout.reservations)
    kinds = {entry.type for entry in (*before, *after.entries)} | {1}
    for kind in kinds:
        was = RangeSet((e.start, e.end) for e in before if e.type == kind)
        now = RangeSet((e.start, e.end) for e in after.entries if e.type == kind)
        mine = RangeSet(
            r.range for r in layout.reservations if {"dax": SOFT, "reserved": 2}[r.mechanism] == kind
        )
        assert now == was.subtract(reserved).union(mine)
    for r in layout.reservations:
        if r.mechanism == "dax":
            assert [e for e in after.entries if e.type == SOFT and e.start == r.start and e.end == r.end]
    assert not placement(tokens).collisions(r.range for r in layout.reservations)
    dax = any(r.mechanism == "dax" for r in layout.reservations)
    assert layout.arguments.count("dax_hmem.region_idle=1") == dax


def _check_devices(plan: Plan, layout: Layout) -> None:
    wanted = {d.name: d for pool in plan.pools for d in pool.devices}
    assert {d.name for d in layout.devices} == set(wanted)
    extents = [e for d in layout.devices for e in d.extents]
    assert RangeSet(extents).size == sum(e.size for e in extents)
    for device in layout.devices:
        ask = wanted[device.name]
        homes = [r for r in layout.reservations if (r.pool, r.node) == (device.pool, device.node)]
        home = next(r for r in homes if all(r.range.contains(e) for e in device.extents))
        unit = max(device.align, 2 * MIB)
        assert all(e.start % unit == e.size % unit == 0 for e in device.extents)
        assert (device.owner, device.group, device.mode) == (ask.owner, ask.group, ask.mode)
        assert device.units == ask.units
        if ask.extents:
            assert [(e.start - home.start, e.end - home.start) for e in device.extents] == list(ask.extents)
        elif isinstance(ask.size, int):
            assert device.size == ask.size
            assert len(device.extents) == 1
