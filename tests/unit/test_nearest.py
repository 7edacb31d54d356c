# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refusals: the nearest plan that a message names fits, and the message says where the memory is."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible, Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

MARK = "nearest that fits: "


def problems(plan: dict[str, Any], host: Host) -> list[Problem]:
    try:
        make_layout(validated_plan(plan), host)
    except NotPossible as error:
        return error.problems
    return []


def changed(plan: dict[str, Any], way: str) -> dict[str, Any]:
    """The plan after ``pools.a.nodes.1: 2GiB and no pools.b.nodes.1``, as an operator would write it."""
    plan = copy.deepcopy(plan)
    for change in way.replace(", ", " and ").split(" and "):
        path, _, value = change.removeprefix("no ").partition(": ")
        if path.startswith("kernel.memory"):
            node = path.removeprefix("kernel.memory").removeprefix(".")
            if node:
                plan["kernel"]["memory"][node] = value
            else:
                plan["kernel"]["memory"] = value
            continue
        _, name, key, *rest = path.replace("[", ".").replace("]", "").split(".")
        pool = plan["pools"][name]
        if key == "devices":
            pool["devices"][int(rest[0])]["size"] = value
        elif key == "align" and not rest:
            pool["align"] = value
        elif change.startswith("no "):
            del pool[key][rest[0]]
            if not pool["nodes"]:
                del plan["pools"][name]
        else:
            pool[key][rest[0]] = value
    return plan


def ways(problem: Problem) -> list[str]:
    _, found, text = problem.message.partition(MARK)
    return text.split(", or ") if found else []


def random_case(chance: random.Random) -> tuple[dict[str, Any], Host]:
    firmware = [(0, 2 * GIB, 1)]
    nodes = [(0, 0, 4 * GIB)]
    position = 4 * GIB
    for node in range(chance.randint(1, 2)):
        start = position
        for _ in range(chance.randint(1, 3)):
            position += chance.choice([0, 2, 700]) * MIB
            firmware.append((position, position := position + chance.randint(600, 5000) * MIB, 1))
        nodes.append((node, start, position))
    numbers = [str(n) for n in range(nodes[-1][0] + 1)]
    pools: dict[str, Any] = {}
    for name in ("a", "b", "c")[: chance.randint(1, 3)]:
        sizes = {
            n: f"{chance.randint(1, 6)}GiB" for n in chance.sample(numbers, chance.randint(1, len(numbers)))
        }
        align = chance.choice(["2MiB", "2MiB", "1GiB"])
        pools[name] = {"mechanism": chance.choice(["dax", "reserved"]), "nodes": sizes, "align": align}
    for n in numbers:
        takers = [pool for pool in pools.values() if n in pool["nodes"]]
        if takers and chance.random() < 0.5:
            chance.choice(takers)["nodes"][n] = "rest"
    kernel: Any = chance.choice(["0", "1GiB", "3GiB", "10%"])
    if chance.random() < 0.3:
        kernel = dict.fromkeys(numbers, kernel)
    return {"version": 1, "kernel": {"memory": kernel}, "pools": pools}, make_host(firmware, nodes)


@pytest.mark.parametrize("block", range(6))
def test_what_is_suggested_fits(block: int) -> None:
    """1,500 plans: where one is refused, each way that the message names makes its node fit."""
    refused = tried = 0
    for seed in range(250 * block, 250 * (block + 1)):
        plan, host = random_case(random.Random(seed))
        found = problems(plan, host)
        refused += bool(found)
        for problem in found:
            if problem.code not in ("does-not-fit", "nothing-left"):
                continue
            node = problem.path.rpartition(".")[2]
            assert ways(problem) or "no size of it fits" in problem.message, (seed, problem)
            for way in ways(problem):
                tried += 1
                if not (less := changed(plan, way))["pools"]:
                    continue
                left = [
                    p for p in problems(less, host) if p.path.rpartition(".")[2] == node or "." not in p.path
                ]
                assert not left, (seed, way, left)
    assert refused > 60
    assert tried > 100


HOST = make_host(
    [(0, 3 * GIB, 1), (4 * GIB, 8 * GIB, 1), (9 * GIB, 12 * GIB + 512 * MIB, 1)], [(0, 0, 16 * GIB)]
)


def plan_of(kernel: str, **pools: Any) -> dict[str, Any]:
    return {"version": 1, "kernel": {"memory": kernel}, "pools": pools}


def test_where_the_memory_went() -> None:
    pool = {"mechanism": "dax", "nodes": {"0": "9GiB"}, "align": "1GiB"}
    avoid = [{"start": "5GiB", "size": "1MiB"}]
    (problem,) = problems({**plan_of("2GiB", a=pool), "avoid": avoid}, HOST)
    assert problem.path == "pools.a.nodes.0"
    assert problem.message == (
        "9GiB does not fit on node 0: the largest possible size is 6GiB, 3GiB less (10.5 GiB usable, 2GiB kept for "
        "the kernel, 7.5 GiB above 4 GiB, 3 GiB below 4 GiB, 1 MiB to be avoided, 1 GiB in between taken by firmware "
        "or holes, 1.5 GiB lost to holes and the align of 1GiB); nearest that fits: pools.a.nodes.0: 6GiB"
    )


def test_each_way_to_go_is_named() -> None:
    """A smaller pool, a smaller share of the kernel, a smaller align."""
    (problem,) = problems(plan_of("4GiB", a={"mechanism": "dax", "nodes": {"0": "7GiB"}}), HOST)
    assert ways(problem) == ["pools.a.nodes.0: 6.5GiB", "kernel.memory: 3.5GiB"]
    large = {"mechanism": "reserved", "nodes": {"0": "7GiB"}, "align": "1GiB"}
    small = {"mechanism": "reserved", "nodes": {"0": "512MiB"}}
    (problem,) = problems(plan_of("1GiB", a={**large, "nodes": {"0": "8GiB"}}), HOST)
    assert ways(problem) == ["pools.a.nodes.0: 7GiB"]
    host = make_host([(0, 3 * GIB, 1), (4 * GIB + 512 * MIB, 8 * GIB + 512 * MIB, 1)], [(0, 0, 16 * GIB)])
    found = problems(plan_of("1GiB", a={**large, "nodes": {"0": "4GiB"}}), host)
    assert [ways(p) for p in found] == [["pools.a.nodes.0: 3GiB", "pools.a.align: 2MiB"]]
    found = problems(
        plan_of("1GiB", a={**large, "nodes": {"0": "rest"}}, b={**small, "nodes": {"0": "7680MiB"}}), HOST
    )
    assert [ways(p)[0] for p in found] == ["pools.b.nodes.0: 6.5GiB"]


def test_several_that_cannot_be_mended_alone() -> None:
    pools = {n: {"mechanism": "reserved", "nodes": {"0": "8GiB"}} for n in "abc"}
    (problem,) = problems(plan_of("1GiB", **pools), HOST)
    assert (
        "ask for 24GiB on node 0, 16.5GiB too much; together they can have at most 7.5GiB" in problem.message
    )
    assert ways(problem) == ["pools.a.nodes.0: 7.5GiB and no pools.b.nodes.0 and no pools.c.nodes.0"]
    assert not problems(changed(plan_of("1GiB", **pools), ways(problem)[0]), HOST)


def test_nothing_at_all() -> None:
    host = make_host([(0, 3 * GIB, 1)], [(0, 0, 4 * GIB)])
    (problem,) = problems(plan_of("1GiB", a={"mechanism": "dax", "nodes": {"0": "rest"}}), host)
    assert problem.code == "nothing-left"
    assert ways(problem) == []
