# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Command lines that the planner makes, for plans made from a case's seed."""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import read_plan

from .cases import Case

_ATTEMPTS = 20


def planned_tokens(case: Case, host: Host) -> tuple[str, ...]:
    """The case's own arguments and those of a layout for this host.

    Only its own where no plan fits, as on a host without memory above 4 GiB.
    """
    rng = random.Random(f"{case.seed}/{case.number}/plan")
    for _ in range(_ATTEMPTS):
        try:
            layout = make_layout(read_plan(_plan(rng, host.nodes)), host)
        except CarveoutError:
            continue
        return (*case.tokens, *layout.kernel_arguments)
    return case.tokens


def _plan(rng: random.Random, nodes: list[int]) -> dict[str, Any]:
    amounts = ("rest", "25%", "50%", "12.5%", "256MiB", "1GiB", "130MiB", "2MiB")
    mechanisms = rng.choice((("dax",), ("dax", "reserved"), ("reserved",), ("dax", "dax", "reserved")))
    rested: set[int] = set()
    pools = {}
    for number, mechanism in enumerate(mechanisms):
        wanted: dict[int, str] = {}
        for node in rng.sample(nodes, rng.randrange(1, len(nodes) + 1)):
            amount = rng.choice(amounts)
            if amount == "rest" and node in rested:
                amount = "256MiB"
            if amount == "rest":
                rested.add(node)
            wanted[node] = amount
        pools[f"p{number}"] = {"mechanism": mechanism, "nodes": wanted}
        if mechanism == "dax" and rng.random() < 0.4:
            pools[f"p{number}"]["align"] = {node: rng.choice(("2MiB", "1GiB")) for node in wanted}
    return {"version": 1, "kernel": {"memory": {0: rng.choice(("1GiB", "1536MiB", "2GiB"))}}, "pools": pools}
