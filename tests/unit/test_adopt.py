# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans made of hand-written arguments: the same map by Carveout's own, or a refusal that says why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    ForeignArgument,
    Host,
    MapEntry,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._planner.adopt import (
    Adoption,
    adopt,
    check_adopted,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

FIRMWARE = ((0, 0x9F000, 1), (0x100000, 3 * GIB, 1), (4 * GIB, 9 * GIB, 1))
NODES = ((0, 0, 5 * GIB), (1, 5 * GIB, 9 * GIB))

DEVDAX = {"name": "namespace0.0", "mode": "devdax", "map": "mem"}


def host_of(*arguments: str, **more: Any) -> Host:
    placed = tuple(ForeignArgument(a, "/etc/default/grub", 6) for a in arguments if "=" in a)
    return make_host(FIRMWARE, NODES, boot_arguments=("quiet", *arguments), foreign=placed, **more)


def adopted(host: Host) -> tuple[Adoption, Layout]:
    adoption = adopt(host)
    layout = make_layout(validated_plan(adoption.plan), adoption.host)
    check_adopted(adoption, layout)
    return adoption, layout


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (["memmap=1G$6G"], ["reserved"]),
        (["memmap=1G%6G-1+2"], ["reserved"]),
        (["memmap=1G%6G-1+0xefffffff", "dax_hmem.region_idle=1"], ["dax"]),
        (["memmap=512M!6G"], ["pmem"]),
        (["memmap=512M!6G", "memmap=512M!6656M"], ["pmem", "pmem"]),
        (["memmap=256M$0x110000000,1G%6G-1+0xefffffff"], ["reserved", "dax"]),
        (["memmap=2G$4G"], ["reserved", "reserved"]),
        (["memmap=640M%6G-1+0xefffffff", "memmap=4K$0x1f0001000"], ["dax", "reserved"]),
    ],
)
def test_the_plan_gives_the_very_map_of_today(arguments: list[str], kinds: list[str]) -> None:
    host = host_of(*arguments)
    adoption, layout = adopted(host)
    assert [r.mechanism for r in layout.reservations] == kinds
    assert [a.argument for a in adoption.remove] == arguments
    assert adoption.remove[0].file == "/etc/default/grub"
    today = apply_arguments(host.firmware_map, host.foreign_tokens, host.kernel).entries
    alone = [e for e in today if e.type != 1]
    assert [tuple(e) for e in layout.predicted_map if e[2] != 1] == [tuple(e) for e in alone]


def test_huge_pages_become_pools_of_the_same_numbers() -> None:
    adoption, layout = adopted(
        host_of("hugepagesz=2M", "hugepages=0:128,1:256", "hugepagesz=1G", "hugepages=1:1")
    )
    assert {(p.node, p.page_size, p.count) for p in layout.hugepages} == {
        (0, 2 * MIB, 128),
        (1, 2 * MIB, 256),
        (1, GIB, 1),
    }
    assert len(adoption.remove) == 4
    assert not layout.reservations


def test_what_is_no_business_of_a_plan_stays() -> None:
    adoption, _ = adopted(host_of("memmap=64M$512M", "crashkernel=256M", "memmap=1G$6G", "hugepagesz=2M"))
    assert [a.argument for a in adoption.stay] == ["memmap=64M$512M", "crashkernel=256M", "hugepagesz=2M"]
    assert [a.argument for a in adoption.remove] == ["memmap=1G$6G"]
    assert "memmap=64M$512M" in adoption.host.foreign_tokens


def test_before_they_are_removed_the_plan_is_refused_with_their_place() -> None:
    host = host_of("memmap=1G$6G")
    plan = validated_plan(adopt(host).plan)
    with pytest.raises(NotPossible, match=r"memmap=1G.6G .*/etc/default/grub, line 6.* is not Carveout's"):
        make_layout(plan, host)


def test_the_layout_stays_when_avoid_goes() -> None:
    adoption, layout = adopted(host_of("memmap=1G$6G"))
    plan = validated_plan({key: value for key, value in adoption.plan.items() if key != "avoid"})
    again = make_layout(plan, adoption.host, layout)
    assert [(r.start, r.end) for r in again.reservations] == [(r.start, r.end) for r in layout.reservations]


@pytest.mark.parametrize(
    ("host", "code"),
    [
        (host_of("quiet"), "adopt-nothing"),
        (host_of("mem=6G"), "adopt-nothing"),
        (host_of("memmap=64M$512M"), "adopt-nothing"),
        (host_of("memmap=1G@6G"), "adopt-nothing"),
        (host_of("memmap=1M%6G-1+0xefffffff"), "adopt-misaligned"),
        (host_of("memmap=2G!4G"), "adopt-two-nodes"),
        (dataclasses.replace(host_of("memmap=1G$6G"), committed="0123456789abcdef"), "adopt-committed"),
        (
            host_of(
                "memmap=1G!6G",
                state={
                    "namespaces": [
                        {
                            "name": "namespace0.0",
                            "start": 6 * GIB,
                            "end": 7 * GIB,
                            "mode": "devdax",
                            "map": "mem",
                        }
                    ]
                },
            ),
            "adopt-namespace",
        ),
    ],
)
def test_what_can_be_no_plan_is_refused(host: Host, code: str) -> None:
    with pytest.raises(NotPossible) as refused:
        adopt(host)
    assert [p.code for p in refused.value.problems] == [code]


def test_another_map_is_found() -> None:
    adoption, layout = adopted(host_of("memmap=1G$6G"))
    moved = dataclasses.replace(layout, predicted_map=((0, 9 * GIB, 1),))
    with pytest.raises(NotPossible, match="no plan gives"):
        check_adopted(adoption, moved)
    assert MapEntry(6 * GIB, 7 * GIB, 2) in adoption.before
