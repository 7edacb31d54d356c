# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory arguments of others: named where they are in the way, left alone where they are not."""

from __future__ import annotations

from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible, Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    ForeignArgument,
    Host,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan


def host(*tokens: str, foreign: tuple[ForeignArgument, ...] = ()) -> Host:
    return make_host(
        [(0, 3 * GIB, 1), (3 * GIB, 3 * GIB + 4096, 2), (4 * GIB, 12 * GIB, 1)],
        [(0, 0, 12 * GIB)],
        cmdline="never looked at",
        boot_arguments=tokens,
        foreign=foreign,
    )


def planned(where: Host, size: str = "4GiB", **more: Any) -> Layout:
    pools = {"a": {"mechanism": "reserved", "nodes": {"0": size}}}
    data = {"version": 1, "kernel": {"memory": "1GiB"}, "pools": pools, **more}
    return make_layout(validated_plan(data), where)


def problems(where: Host, size: str = "4GiB", **more: Any) -> list[Problem]:
    with pytest.raises(NotPossible) as caught:
        planned(where, size, **more)
    return caught.value.problems


@pytest.mark.parametrize(
    "tokens",
    [
        ("memmap=1G$10G",),  # where the pool is not
        ("memmap=1G$3G",),  # no RAM there
        ("memmap=8G@64G",),  # adds RAM
        ("memmap=2G%4G-2+77",),  # converts what is not there
        ("memmap=bogus", "mem=nopentium", "mem=64G"),
        ("crashkernel=512M", "hugepages=16", "hugepagesz=1G", "numa_balancing=enable", "quiet"),
        ("memmap=exactmap", "memmap=3G@0,8G@4G"),  # the same map spelt out
    ],
)
def test_what_is_not_in_the_way_stays_as_it_is(tokens: tuple[str, ...]) -> None:
    layout = planned(host(*tokens))
    assert [(r.start, r.end) for r in layout.reservations] == [(4 * GIB, 8 * GIB)]
    assert not set(tokens) & set(layout.kernel_arguments)


@pytest.mark.parametrize(
    ("token", "places"),
    [
        ("memmap=1G$5G", "takes [0x140000000, 0x180000000), which"),
        ("memmap=1G!5G", "takes [0x140000000, 0x180000000), which"),
        ("memmap=1G#5G", "takes [0x140000000, 0x180000000), which"),
        ("memmap=1G%5G-1+77", "takes [0x140000000, 0x180000000), which"),
        ("memmap=1G%5G", "takes [0x140000000, 0x180000000), which"),
        ("memmap=4G$7G", "takes [0x1c0000000, 0x200000000), which"),
        ("memmap=1G$4G,1G$6G", "takes [0x100000000, 0x140000000), [0x180000000, 0x1c0000000), which"),
        ("mem=6G", "takes [0x180000000, 0x200000000), which"),
        ("memmap=6G", "takes [0x180000000, 0x200000000), which"),
    ],
)
def test_what_is_in_the_way_is_named(token: str, places: str) -> None:
    (problem,) = problems(host("quiet", token, "splash"))
    assert (problem.path, problem.code) == ("pools.a.nodes.0", "foreign-argument")
    assert problem.message.startswith(
        f"{token} (on the kernel's command line) is not Carveout's and {places}"
    )


def test_file_and_line_are_named() -> None:
    token = "memmap=1G$5G"
    for argument, words in (
        (ForeignArgument(token, "/etc/default/grub", 7), "(/etc/default/grub, line 7)"),
        (ForeignArgument(token, "/etc/default/grub", 0), "(/etc/default/grub)"),
        (ForeignArgument(token, "", 0), "(on the kernel's command line)"),
        (ForeignArgument("memmap=1G$6G", "/etc/default/grub", 7), "(on the kernel's command line)"),
    ):
        (problem,) = problems(host(token, foreign=(argument,)))
        assert words in problem.message


def test_each_of_several_is_named_once() -> None:
    found = problems(host("memmap=1G$5G", "memmap=1G$7G", "memmap=1G$5G", "memmap=1G$11G", "mem=64G"))
    assert [p.message.split(" ")[0] for p in found] == ["memmap=1G$5G", "memmap=1G$7G"]


def test_avoiding_the_range_plans_around_it() -> None:
    layout = planned(host("memmap=1G$5G"), avoid=[{"start": "5GiB", "size": "1GiB"}])
    assert RangeSet(r.range for r in layout.reservations) == RangeSet([(6 * GIB, 10 * GIB)])
    assert RangeSet((a, b) for a, b, kind in layout.predicted_map if kind == 2).contains(
        layout.reservations[0].range
    )


def test_what_the_kernel_does_not_read_is_not_in_the_way() -> None:
    """After a bare -- nothing is read, and that is what is told."""
    assert [p.code for p in problems(host("quiet", "--", "memmap=1G$5G"))] == ["arguments-not-read"]


def test_our_own_arguments_are_not_foreign() -> None:
    layout = planned(host("quiet"))
    carved = host("quiet", *layout.kernel_arguments, "splash")
    carved = Host(**{**carved.__dict__, "layouts": {layout.id: layout.to_json()}})
    assert carved.foreign_tokens == ["quiet", "splash"]
    assert planned(carved) == layout
    # Without the layout's file nobody can tell: then they are named, and nothing is guessed.
    assert [p.code for p in problems(host("quiet", *layout.kernel_arguments))] == ["foreign-argument"]


def test_foreign_arguments_that_do_not_boot() -> None:
    (problem,) = problems(host("memmap=1G%5G-1+1"))
    assert (problem.path, problem.code) == ("", "does-not-boot")
    (problem,) = problems(host("memmap=exactmap", "memmap=64G@0"))
    assert (problem.path, problem.code) == ("", "does-not-boot")


@pytest.mark.parametrize("argument", ["numa=off", "numa=noacpi", "numa=fake=4", "numa=fake=2G"])
def test_nodes_that_are_not_the_firmwares_are_refused(argument: str) -> None:
    plan = {
        "version": 1,
        "kernel": {"memory": "1GiB"},
        "pools": {"a": {"mechanism": "reserved", "nodes": {0: "1GiB"}}},
    }
    known = ForeignArgument(argument, "/etc/default/grub", 7)
    with pytest.raises(NotPossible) as caught:
        make_layout(validated_plan(plan), host("ro", argument, foreign=(known,)))
    (problem,) = caught.value.problems
    assert problem.code == "foreign-numa-argument"
    assert argument in problem.message and "/etc/default/grub, line 7" in problem.message
    assert make_layout(validated_plan(plan), host("ro", "numa=nohmat"))
