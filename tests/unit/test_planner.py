# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds for every layout, on made-up hosts."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from layout_checks import LOW, check_layout
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.module_utils._units import MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan


def carved(host: Host, layout: Layout) -> Host:
    """The host after it booted with the layout: same firmware, our run of arguments on its line."""
    return dataclasses.replace(
        host,
        boot_arguments=(*host.foreign_tokens, *layout.kernel_arguments, "after"),
        layouts={layout.id: json.loads(json.dumps(layout.to_json()))},
        state={"root": True, "boot_id": "x"},
    )


# ------------------------------------------------------------------------------------- made-up hosts

PIECE = st.tuples(
    st.integers(0, 3 * 1024),  # MiB of hole before it
    st.integers(700, 24 * 1024),  # MiB of RAM
    st.sampled_from([0, 0, 4096, 0x7F000, 64 * MIB, MIB]),  # and a bit
    st.sampled_from([0, 0, 2, 3, 4, 20]),  # type of what follows at once, if anything
)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """1 to 4 nodes with RAM below and above 4 GiB, holes, odd borders, and ranges of other types."""
    low = draw(st.integers(256, 3 * 1024)) * MIB
    firmware = [(0x1000, 0x9F000, 1), (0x9F000, 0x100000, 2), (MIB, low, 1), (0xFEC00000, LOW, 2)]
    position = LOW
    nodes: list[tuple[int, int, int]] = []
    count = draw(st.integers(1, 4))
    numbers = draw(st.permutations(range(count)))
    border = 0
    for number in numbers:
        for hole, size, bit, kind in draw(st.lists(PIECE, min_size=1, max_size=3)):
            position += hole * MIB
            firmware.append((position, position + size * MIB + bit, 1))
            position += size * MIB + bit
            if kind:
                firmware.append((position, position + 0x3000, kind))
                position += 0x3000
        nodes.append((number, border, position))
        border = position
    return make_host(firmware, nodes)


AMOUNTS = st.one_of(
    st.just("rest"),
    st.integers(1, 900).map(lambda n: f"{2 * n}MiB"),
    st.integers(1, 30).map(lambda n: f"{n}%"),
)
ALIGNS = st.sampled_from(["4KiB", "2MiB", "2MiB", "1GiB"])


@st.composite
def pool_plans(draw: st.DrawFn, name: str, nodes: list[int]) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(nodes), min_size=1, unique=True))
    mechanism = draw(st.sampled_from(["dax", "dax", "reserved"]))
    align = draw(ALIGNS)
    amounts = {str(node): draw(AMOUNTS) for node in chosen}
    if align == "1GiB":
        amounts = {n: f"{a[:-3]}GiB" if a.endswith("MiB") else a for n, a in amounts.items()}
        amounts = {n: f"{int(a[:-3]) % 3 + 1}GiB" if a.endswith("GiB") else a for n, a in amounts.items()}
    pool: dict[str, Any] = {"mechanism": mechanism, "nodes": amounts, "align": align}
    if mechanism == "dax" and draw(st.booleans()):
        node, size = chosen[0], {"1GiB": 1024}.get(align, 2)
        pool["devices"] = [
            {"name": f"{name}a", "node": node, "size": f"{size}MiB"},
            {
                "name": f"{name}b",
                "node": node,
                "size": "rest",
                "align": draw(st.sampled_from(["4KiB", align])),
            },
        ]
    return pool


@st.composite
def cases(draw: st.DrawFn) -> tuple[Host, Plan]:
    host = draw(hosts())
    pools = {n: draw(pool_plans(n, host.nodes)) for n in ("p0", "p1", "p2")[: draw(st.integers(1, 3))]}
    for node in map(str, host.nodes):
        rests = [pool for pool in pools.values() if pool["nodes"].get(node) == "rest"]
        for pool in rests[1:]:
            pool["nodes"][node] = "1GiB"
    kernel: Any = draw(st.sampled_from(["0", "1GiB", "1%", "7%", "33MiB", "1234567B"]))
    avoid = [{"start": f"{draw(st.integers(4096, 30000))}MiB", "size": f"{draw(st.integers(1, 500))}MiB"}]
    return host, make_plan(kernel, pools, avoid=avoid if draw(st.booleans()) else [])


@given(cases())
@settings(max_examples=200)
def test_every_layout_keeps_what_is_promised(case: tuple[Host, Plan]) -> None:
    host, plan = case
    try:
        layout = make_layout(plan, host)
    except NotPossible as error:
        event("refused: " + error.problems[0].code)
        assert all(p.message for p in error.problems)
        return
    event("planned")
    check_layout(host, plan, layout)
    assert make_layout(plan, host).to_json() == layout.to_json(), "the same again, byte for byte"
    after = carved(host, layout)
    assert make_layout(plan, after) == layout, "a carved host plans to what it has"
    assert make_layout(plan, after, layout) == layout
    again = make_layout(plan, after, layout, replan=True)
    # On shredded nodes the search for the fewest reservations is bounded: what is kept may show it a better end.
    fewer = len(again.reservations) < len(layout.reservations)
    assert again == layout or fewer, "and planning anew moves nothing in vain"


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_what_is_written_does_not_matter(case: tuple[Host, Plan], chance: random.Random) -> None:
    host, plan = case
    pools = list(json.loads(json.dumps(plan.source["pools"])).items())
    chance.shuffle(pools)
    for _, pool in pools:
        amounts = list(pool["nodes"].items())
        chance.shuffle(amounts)
        pool["nodes"] = dict(amounts)
    other = validated_plan({**plan.source, "pools": dict(pools)})
    try:
        layout = make_layout(plan, host)
    except NotPossible:
        with pytest.raises(NotPossible):
            make_layout(other, host)
        return
    # A plan's keys have no order, so neither have its layout's bytes.
    assert json.dumps(make_layout(other, host).to_json()) == json.dumps(layout.to_json())
