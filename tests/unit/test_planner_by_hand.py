# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Layouts of single hosts, written out: order and form of the arguments, warnings, odd nodes."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
from layout_checks import LOW, check_layout
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._model.kaslr import GUARD
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB

LAB = partial(
    make_host,
    [(0, 0x9FC00, 1), (MIB, 3 * GIB, 1), (4 * GIB, 10 * GIB, 1)],
    [(0, 0, 6 * GIB), (1, 6 * GIB, 10 * GIB)],
)


def test_the_guard_stands_first_exactly_where_it_is_needed() -> None:
    large = {"a": {"mechanism": "dax", "nodes": {"0": "5GiB"}}}
    host = make_host([(0, 3 * GIB, 1), (4 * GIB, 32 * GIB, 1)], [(0, 0, 32 * GIB)])
    layout = make_layout(make_plan("1GiB", large), host)
    assert layout.arguments == (GUARD, "memmap=5G%4G-1+0xefffffff", "dax_hmem.region_idle=1")
    # SIZE <= START: not needed
    large["a"]["nodes"] = {"0": "4GiB"}
    assert make_layout(make_plan("1GiB", large), host).arguments[0] == "memmap=4G%4G-1+0xefffffff"
    # a smaller item lowers the limit already
    large["a"]["nodes"] = {"0": "5GiB"}
    large["b"] = {"mechanism": "reserved", "nodes": {"0": "1GiB"}}
    assert GUARD not in make_layout(make_plan("1GiB", large), host).arguments
    # so do foreign arguments, and without KASLR nothing is needed
    del large["b"]
    for foreign in ("mem=30G memmap=1G%31G-1+2", "nokaslr"):
        other = dataclasses.replace(host, cmdline=foreign)
        assert GUARD not in make_layout(make_plan("1GiB", large), other).arguments


def test_four_foreign_regions_hide_ours_from_early_boot() -> None:
    pools = {"a": {"mechanism": "dax", "nodes": {"0": "5GiB"}}}
    lines = [f"memmap=1M${n}G" for n in (26, 27, 28, 29)]
    host = make_host(
        [(0, 3 * GIB, 1), (4 * GIB, 32 * GIB, 1)], [(0, 0, 32 * GIB)], cmdline=" ".join(["quiet", *lines])
    )
    with pytest.raises(NotPossible, match=r"policy\.kaslr: .*allow-disable") as caught:
        make_layout(make_plan("1GiB", pools), host)
    assert [p.code for p in caught.value.problems] == ["kaslr-collision"]
    layout = make_layout(make_plan("1GiB", pools, policy={"kaslr": "allow-disable"}), host)
    assert layout.arguments == ("memmap=5G%4G-1+0xefffffff", "dax_hmem.region_idle=1", "nokaslr")
    assert [w.code for w in layout.warnings] == ["kaslr-physical"]
    three = dataclasses.replace(host, cmdline=" ".join(lines[:3]))
    assert make_layout(make_plan("1GiB", pools), three).arguments[0] == GUARD
    # allow-disable does not disable what need not be
    assert GUARD in make_layout(make_plan("1GiB", pools, policy={"kaslr": "allow-disable"}), three).arguments


def test_the_labs_layout() -> None:
    plan = make_plan(
        {"0": "2GiB", "1": "1GiB"},
        {
            "guests": {
                "mechanism": "dax",
                "nodes": {"0": "2GiB", "1": "rest"},
                "align": {"0": "1GiB", "1": "2MiB"},
            },
            "scratch": {"mechanism": "reserved", "nodes": {"1": "256MiB"}},
        },
    )
    layout = make_layout(plan, LAB())
    assert layout.kernel_arguments == (
        f"carveout.layout={layout.id}",
        "memmap=2G%4G-1+0xefffffff",
        "memmap=256M%6G-1+2",
        "memmap=2816M%6400M-1+0xefffffff",
        "dax_hmem.region_idle=1",
    )
    assert layout.memory.kernel_after == LAB().usable.size - 5 * GIB
    assert layout.memory_nodes[1].struct_pages_before - layout.memory_nodes[1].struct_pages_after == 48 * MIB


def test_shared_sections_are_told() -> None:
    plan = make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"1": "64MiB"}}})
    (warning,) = [w for w in make_layout(plan, LAB()).warnings if w.code == "sections-shared"]
    assert "64 MiB of the reservations" in warning.message
    plan = make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"1": "256MiB"}}})
    assert make_layout(plan, LAB()).warnings == ()


def test_a_small_reservation_costs_the_kernels_random_place() -> None:
    """Facts: % items only lower the limit, and below 128 MiB nothing is left to choose."""
    plan = make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"1": "64MiB"}}})
    assert "kaslr-physical" in [w.code for w in make_layout(plan, LAB()).warnings]


def test_nodes_without_memory_above_4_gib() -> None:
    host = make_host([(0, 3 * GIB, 1), (4 * GIB, 8 * GIB, 1)], [(0, 0, 4 * GIB), (1, 4 * GIB, 8 * GIB)])
    plan = make_plan("0", {"a": {"mechanism": "dax", "nodes": {"0": "rest"}}})
    with pytest.raises(NotPossible, match=r"pools\.a\.nodes\.0: nothing is left") as caught:
        make_layout(plan, host)
    assert len(caught.value.problems) == 1
    plan = make_plan("0", {"a": {"mechanism": "dax", "nodes": {"1": "rest"}}})
    layout = make_layout(plan, host)
    assert layout.memory_nodes[1].kernel_after == 0
    # The carved node is still known: nodes come from the firmware's table.
    again = dataclasses.replace(
        host, boot_arguments=layout.kernel_arguments, layouts={layout.id: layout.to_json()}
    )
    assert make_layout(plan, again).reservations == layout.reservations


def test_one_range_of_a_node_inside_of_anothers() -> None:
    """Node 1 lies in the middle of node 0's addresses."""
    host = make_host(
        [(0, 3 * GIB, 1), (4 * GIB, 16 * GIB, 1)],
        [(0, 0, 8 * GIB), (1, 8 * GIB, 12 * GIB), (0, 12 * GIB, 16 * GIB)],
    )
    plan = make_plan(
        "1GiB", {"a": {"mechanism": "dax", "nodes": {"0": "rest", "1": "rest"}, "align": "1GiB"}}
    )
    layout = make_layout(plan, host)
    assert [(r.node, r.start // GIB, r.end // GIB) for r in layout.reservations] == [
        (0, 4, 8),
        (1, 8, 11),
        (0, 12, 16),
    ]
    check_layout(host, plan, layout)


def test_large_hosts() -> None:
    firmware = [(0, 0xA0000, 1), (MIB, 2 * GIB, 1)]
    nodes = [(0, 0, LOW)]
    position = LOW
    for node in range(8):
        start = position
        for piece in range(12):
            size = (4 + piece % 3) * GIB + piece * 37 % 64 * MIB
            firmware += [(position, position + size, 1), (position + size, position + size + 2 * MIB, 2)]
            position += size + 3 * MIB
        nodes.append((node, start, position))
    host = make_host(firmware, nodes)
    each = [str(node) for node in range(8)]
    plan = make_plan(
        "4GiB",
        {
            "a": {"mechanism": "dax", "nodes": dict.fromkeys(each, "9GiB"), "align": "1GiB"},
            "b": {"mechanism": "reserved", "nodes": dict.fromkeys(each, "3GiB")},
        },
    )
    layout = make_layout(plan, host)
    check_layout(host, plan, layout)
    everything = make_plan("4GiB", {"a": {"mechanism": "dax", "nodes": dict.fromkeys(each, "rest")}})
    with pytest.raises(NotPossible, match="command line would be"):
        make_layout(everything, host)


def test_ranges_stay_whole_at_the_end_of_the_map() -> None:
    assert Range(4 * GIB, 8 * GIB) in [
        r.range
        for r in make_layout(
            make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {"0": "rest"}, "align": "1GiB"}}),
            make_host([(0, 3 * GIB, 1), (4 * GIB, 8 * GIB + 5 * MIB, 1)], [(0, 0, 9 * GIB)]),
        ).reservations
    ]


@pytest.mark.parametrize(("release", "start"), [("6.12.107", 2 * MIB), ("7.2.12", 64 * MIB)])
def test_since_7_0_no_region_starts_where_no_driver_can_be_bound(release: str, start: int) -> None:
    """The kernel keeps what follows RAM that ends at no multiple of 64 MiB (e820__reserve_resources_late)."""
    firmware = [(0, 3 * GIB, 1), (4 * GIB + MIB, 8 * GIB, 1)]
    host = make_host(firmware, [(0, 0, 8 * GIB)], kernel_default=release)
    layout = make_layout(make_plan("1GiB", {"a": {"mechanism": "dax", "nodes": {0: "rest"}}}), host)
    assert [r.range for r in layout.reservations] == [Range(4 * GIB + start, 8 * GIB)]
