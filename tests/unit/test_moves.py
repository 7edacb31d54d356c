# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans that change again and again: who is not touched stays wherever that is possible at all."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

import pytest
from every_placement import best
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.place import Demand
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, parse_size
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

#: The maps are counted in pages of half a GiB from 4 GiB on, so a pool of 1 GiB pages has align 2.
PAGE = 512 * MIB
#: Half GiB of RAM and of hole, by turns.
MAPS = [(12,), (5, 1, 6), (1, 1, 4, 2, 6), (7, 2, 1, 1, 3)]
HOSTS = []
for parts in MAPS:
    spots, at = [], 4 * GIB
    for number, count in enumerate(parts):
        if number % 2 == 0:
            spots.append((at, at + count * PAGE, 1))
        at += count * PAGE
    HOSTS.append(make_host([(0, 3 * GIB, 1), *spots], [(0, 0, at)]))


def in_pages(part: Range) -> Range:
    return Range((part.start - 4 * GIB) // PAGE, (part.end - 4 * GIB) // PAGE)


def changed(plan: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One pool comes, goes, grows or shrinks."""
    plan = copy.deepcopy(plan)
    pools = plan["pools"]
    name = chance.choice("abc")
    if name in pools and len(pools) > 1 and chance.random() < 0.15:
        del pools[name]
        return plan
    align = chance.choice(["2MiB", "1GiB"]) if name not in pools else pools[name]["align"]
    size = chance.randint(1, 3) if align == "1GiB" else chance.randint(1, 6) / 2
    resting = [n for n, pool in pools.items() if pool["nodes"]["0"] == "rest"]
    amount = "rest" if chance.random() < 0.25 and resting in ([], [name]) else f"{int(size * 1024)}MiB"
    devices = [{"name": f"{name}1", "size": align if align == "1GiB" else "512MiB"}]
    pools[name] = {"mechanism": "dax", "align": align, "nodes": {"0": amount}, "devices": devices}
    return plan


def wishes(plan: dict[str, Any]) -> list[Demand]:
    found = []
    for name, pool in plan["pools"].items():
        amount = pool["nodes"]["0"]
        size = None if amount == "rest" else parse_size(amount) // PAGE
        found.append(Demand(name, 2 if pool["align"] == "1GiB" else 1, size))
    return found


def what_could_stay(old: Layout, before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Range, ...]]:
    """Pools of unchanged size whole, and of one that takes the rest the pages of its devices."""
    found: dict[str, tuple[Range, ...]] = {}
    for demand in wishes(now):
        if demand not in wishes(before):
            continue
        own = [in_pages(r.range) for r in old.reservations if r.pool == demand.pool]
        if demand.size is None:
            extents = [in_pages(e) for d in old.devices if d.pool == demand.pool for e in d.extents]
            own = list(RangeSet(extents).align_outward(demand.align))
        found[demand.pool] = tuple(own)
    return found


@pytest.mark.parametrize("number", range(len(MAPS)))
def test_who_is_not_touched_stays_wherever_that_is_possible(number: int) -> None:
    """30 histories of 8 changes each on every map; whether staying is possible is found page by page."""
    host, met = HOSTS[number], Counter[str]()
    free = RangeSet(in_pages(r) for r in host.usable if r.start >= 4 * GIB)
    for seed in range(30):
        chance = random.Random(f"{number}-{seed}")
        plan = changed({"version": 1, "kernel": {"memory": "1GiB"}, "pools": {}}, chance)
        try:
            layout = make_layout(validated_plan(plan), host)
        except NotPossible:
            continue
        for _ in range(8):
            new = changed(plan, chance)
            could = best(free, 96, wishes(new), {})
            try:
                after = make_layout(validated_plan(new), host, layout)
            except NotPossible as error:
                # All fits by size, or the rest has nothing, or a device is larger than any run.
                codes = {p.code for p in error.problems}
                assert could is None or codes <= {"nothing-left", "device-does-not-fit"}, (seed, codes)
                met["refused"] += 1
                continue
            if new == plan:
                assert after is layout
                continue
            assert could is not None
            kept = what_could_stay(layout, plan, new)
            possible = best(free, 96, wishes(new), kept)
            rests = any(d.size is None for d in wishes(new))
            moved = {w.message.split()[1] for w in after.warnings if w.code in ("pool-moved", "device-moved")}
            old = {d.name: d.extents for d in layout.devices}
            stays = {
                d.pool: d.extents == old[d.name] for d in after.devices if d.pool in kept and d.name in old
            }
            places = {
                pool: tuple(in_pages(r.range) for r in after.reservations if r.pool == pool) for pool in kept
            }
            if possible is not None and (possible[0] or not rests):
                assert all(stays.values()), seed
                fixed = {d.pool for d in wishes(new) if d.size is not None}
                assert all(places[pool] == kept[pool] for pool in kept if pool in fixed), seed
                assert not moved & set(kept), seed
                rest = sum(r.range.size for r in after.reservations if r.pool not in fixed) // PAGE
                assert (rest or 0) == possible[0], seed
                smaller = [w for w in after.warnings if w.code == "rest-smaller"]
                assert bool(smaller) == (possible[0] < could[0]), seed
                met["stayed"] += bool(kept)
                met["rest is smaller"] += bool(smaller)
            else:
                met["moved"] += 1
                assert moved, seed
                for device in (d for d in after.devices if not stays.get(d.pool, True)):
                    assert device.name in moved, seed
            again = make_layout(validated_plan(new), host, after, replan=True)
            best_of_all = best(free, 96, wishes(new), {})
            total = sum(r.range.size for r in again.reservations) // PAGE
            assert best_of_all is not None
            assert total == sum(d.size or best_of_all[0] for d in wishes(new)), seed
            plan, layout = new, after
    assert met["stayed"] > 40
    assert met["refused"]
