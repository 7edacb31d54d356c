# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What plans mean, and that every bad one gives one clear message with its place."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
    Problem,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    ForeignArgument,
    Host,
    MapEntry,
    NodeRange,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Percent
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB, parse_size
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_yaml import load_plan

# 3 GiB below the hole, node 0 up to 6 GiB, node 1 up to 10 GiB: the lab's virtual host.
HOST = make_host(
    (
        MapEntry(0, 0x9FC00, 1),
        MapEntry(0x9FC00, 0xA0000, 2),
        MapEntry(MIB, 3 * GIB, 1),
        MapEntry(4 * GIB, 10 * GIB, 1),
    ),
    (NodeRange(0, 0, 6 * GIB), NodeRange(1, 6 * GIB, 10 * GIB)),
    kernel_running="6.12.107",
    kernel_default="6.12.107",
    kernel_config={"CONFIG_DEV_DAX": "m", "CONFIG_DEV_DAX_HMEM": "m"},
    cmdline="",
    boot_arguments=("root=/dev/vda", "quiet"),
)


def planned(text: str, host: Host = HOST) -> Layout:
    return make_layout(validated_plan(load_plan(text, "plan.yml")), host)


def plan(pools: str = "a: {mechanism: dax, nodes: {1: 1GiB}}", kernel: str = "1GiB", more: str = "") -> str:
    return f"version: 1\nkernel: {{memory: {kernel}}}\npools: {{{pools}}}\n{more}"


def dax(devices: str, node: str = "1: 2GiB", align: str = "2MiB") -> str:
    return plan(f"a: {{mechanism: dax, nodes: {{{node}}}, align: {align}, devices: [{devices}]}}")


def refused(text: str, host: Host = HOST) -> CarveoutError:
    with pytest.raises(CarveoutError) as caught:
        planned(text, host)
    return caught.value


def only(error: CarveoutError) -> Problem:
    (problem,) = error.problems
    assert "\n" not in problem.message
    return problem


@pytest.mark.parametrize(
    ("text", "path", "code", "words"),
    [
        # unknown unit
        (plan(kernel="1GB"), "kernel.memory", "size-invalid", "did you mean GiB?"),
        (plan("a: {mechanism: dax, nodes: {1: 1Gib}}"), "pools.a.nodes.1", "size-invalid", "did you mean GiB?"),
        (dax("{name: x, size: 1parsec}"), "pools.a.devices[0].size", "size-invalid", "known units are KiB"),
        (plan(more="avoid: [{start: 1kb, size: 1GiB}]"), "avoid[0].start", "size-invalid", "did you mean KiB?"),
        # sizes that are none
        (plan(kernel="rest"), "kernel.memory", "size-invalid", "'rest' is for pools"),
        (plan(kernel="120%"), "kernel.memory", "size-invalid", "not between 0% and 100%"),
        (plan(kernel="0%"), "kernel.memory", "size-invalid", "not between 0% and 100%"),
        (plan(kernel="x%"), "kernel.memory", "size-invalid", "'x%' is not a share"),
        (plan(kernel="1073741824.0"), "kernel.memory", "size-invalid", "is not a size"),
        (plan("a: {mechanism: dax, nodes: {1: 0}}"), "pools.a.nodes.1", "size-invalid", "more than 0"),
        (plan(more="avoid: [{start: 5GiB, size: 0}]"), "avoid[0].size", "size-invalid", "needs a size"),
        # aligns
        (plan("a: {mechanism: dax, nodes: {1: 1GiB}, align: 4MiB}"), "pools.a.align", "align-invalid",
         "use 4KiB, 2MiB or 1GiB"),
        (plan("a: {mechanism: dax, nodes: {1: 1GiB}, align: {0: 1GiB}}"), "pools.a.align.0", "node-unknown",
         "no memory on node 0"),
        (plan("a: {mechanism: dax, nodes: {1: 1025MiB}}"), "pools.a.nodes.1", "misaligned",
         "1025MiB is not a multiple of the pool's align, 2MiB; nearest are 1GiB or 1026MiB"),
        (plan("a: {mechanism: dax, nodes: {1: 1025MiB}, align: 4KiB}"), "pools.a.nodes.1", "misaligned",
         "what the kernel can make devices of, 2MiB"),
        (plan("a: {mechanism: reserved, nodes: {1: 6KiB}, align: 4KiB}"), "pools.a.nodes.1", "misaligned",
         "the pool's align, 4KiB; nearest are 4KiB or 8KiB"),
        (plan("a: {mechanism: dax, nodes: {1: 1MiB}}"), "pools.a.nodes.1", "misaligned", "nearest are 2MiB"),
        # misaligned devices
        (dax("{name: x, size: 1535MiB}"), "pools.a.devices[0].size", "misaligned",
         "the device's align, 2MiB; nearest are 1534MiB or 1.5GiB"),
        (dax("{name: x, extents: [{offset: 1MiB, size: 2MiB}]}"), "pools.a.devices[0].extents[0].offset",
         "misaligned", "nearest are 0B or 2MiB"),
        (dax("{name: x, extents: [{offset: 0, size: 3MiB}]}"), "pools.a.devices[0].extents[0].size",
         "misaligned", "nearest are 2MiB or 4MiB"),
        (dax("{name: x, size: 512MiB}", align="1GiB"), "pools.a.devices[0].size", "misaligned", "align, 1GiB"),
        (dax("{name: x, size: 1GiB, align: 1GiB}"), "pools.a.devices[0].align", "align-invalid",
         "more than the pool's align of 2MiB"),
        (dax("{name: x, size: 1GiB, align: 3GiB}"), "pools.a.devices[0].align", "align-invalid", "4KiB, 2MiB or 1GiB"),
        # devices of a pool
        (dax("{name: x, size: 1GiB}, {name: y, size: 1026MiB}"), "pools.a.devices", "devices-exceed-pool",
         "ask for 2050MiB, 2MiB more than the pool's 2GiB"),
        (dax("{name: x, size: 1GiB}, {name: x, size: 1GiB}"), "pools.a.devices[1].name", "name-duplicate",
         "'x' is also the name of pools.a.devices[0]"),
        (dax("{name: x, size: rest}, {name: y, size: rest}"), "pools.a.devices[1].size", "rest-twice",
         "pools.a.devices[0] takes the rest"),
        (dax("{name: x, size: 2GiB}, {name: y, size: rest}"), "pools.a.devices[1].size", "nothing-left", "of 2MiB"),
        (dax("{name: x, size: 1GiB, node: 0}"), "pools.a.devices[0].node", "node-unknown", "it has on: 1"),
        (dax("{name: x, size: 1GiB}", node="0: 1GiB, 1: 1GiB"), "pools.a.devices[0].node", "node-missing",
         "say which one: 0 or 1"),
        (dax("{name: x, size: 0.001%}"), "pools.a.devices[0].size", "size-invalid", "smaller than one page"),
        (dax("{name: x, extents: [{offset: 1GiB, size: 2GiB}]}"), "pools.a.devices[0].extents[0]",
         "extent-outside", "ends 3GiB into the reservation, which has 2GiB"),
        (dax("{name: x, extents: [{offset: 0, size: 4MiB}, {offset: 2MiB, size: 2MiB}]}"),
         "pools.a.devices[0].extents[1]", "extents-overlap", "another one of this device"),
        (dax("{name: x, extents: [{offset: 0, size: 4MiB}]}, {name: y, extents: [{offset: 2MiB, size: 2MiB}]}"),
         "pools.a.devices[1].extents", "extents-overlap", "another device's extents overlap them"),
        (dax("{name: x, extents: [{offset: 512MiB, size: 1GiB}]}, {name: y, size: 1GiB}"),
         "pools.a.devices[1].size", "device-does-not-fit", "nearest that fits: pools.a.devices[1].size: 512MiB"),
        (plan("a: {mechanism: reserved, nodes: {1: 1GiB}, devices: [{name: x, size: rest}]}"), "pools.a.devices",
         "devices-not-possible", "has no devices"),
        # names with what a path, a shell or a unit file reads as more
        (dax("{name: a/b, size: 1GiB}"), "pools.a.devices[0].name", "value", "'a/b' is not a name"),
        (dax("{name: a b, size: 1GiB}"), "pools.a.devices[0].name", "value", "'a b' is not a name"),
        (dax("{name: $(reboot), size: 1GiB}"), "pools.a.devices[0].name", "value", "is not a name"),
        (dax("{name: ..., size: 1GiB}"), "pools.a.devices[0].name", "value", "is not a name"),
        (dax('{name: "x\\n", size: 1GiB}'), "pools.a.devices[0].name", "name-invalid", "not allowed as a name"),
        (dax('{name: x, size: 1GiB, owner: "x\\n"}'), "pools.a.devices[0].owner", "name-invalid", "not an account"),
        (dax('{name: x, size: 1GiB, mode: "0660\\n"}'), "pools.a.devices[0].mode", "mode-invalid", "in quotes"),
        (dax("{name: x, size: 1GiB, mode: 0660}"), "pools.a.devices[0].mode", "number-octal", 'quote it: "0660"'),
        (plan('"a;b": {mechanism: dax, nodes: {1: 1GiB}}'), "pools", "value", "'a;b' is not a name"),
    ],
)  # fmt: skip
def test_bad_plans(text: str, path: str, code: str, words: str) -> None:
    problem = only(refused(text))
    assert (problem.path, problem.code) == (path, code)
    assert words in problem.message


@pytest.mark.parametrize(
    ("text", "path", "code", "words"),
    [
        # nodes that do not exist
        (plan("a: {mechanism: dax, nodes: {7: 1GiB}}"), "pools.a.nodes.7", "node-unknown", "it has: 0, 1"),
        (plan(kernel="{0: 1GiB, 2: 1GiB}"), "kernel.memory.2", "node-unknown", "no node 2 with memory"),
        # more than there is
        (plan("a: {mechanism: dax, nodes: {1: 30GiB}}"), "pools.a.nodes.1", "does-not-fit",
         "is 3GiB, 27GiB less (4 GiB usable, 1GiB kept for the kernel, 4 GiB above 4 GiB)"),
        (plan("a: {mechanism: dax, nodes: {0: 3GiB}}", "2GiB"), "pools.a.nodes.0", "does-not-fit",
         "is 2GiB, 1GiB less (5 GiB usable, 2GiB kept for the kernel, 2 GiB above 4 GiB, 3 GiB below 4 GiB)"),
        (plan("a: {mechanism: dax, nodes: {1: rest}}, b: {mechanism: reserved, nodes: {1: 3GiB}}"),
         "pools.a.nodes.1", "nothing-left", "3GiB for other pools"),
        (plan("a: {mechanism: dax, nodes: {1: rest}}, b: {mechanism: reserved, nodes: {1: 4GiB}}"),
         "pools.b.nodes.1", "does-not-fit", "the largest possible size is 3070MiB"),
        (plan("a: {mechanism: dax, nodes: {1: rest}}, b: {mechanism: dax, nodes: {1: rest}}"), "pools.b.nodes.1",
         "rest-twice", "pool 'a' takes the rest of node 1 already"),
        (plan("a: {mechanism: dax, nodes: {1: 0.01%}}"), "pools.a.nodes.1", "size-invalid", "one page"),
        (plan(kernel="{0: 1GiB, 1: 5GiB}"), "kernel.memory.1", "kernel-share-too-large", "has 4 GiB of usable RAM"),
        (plan(kernel="{1: 4GiB}"), "pools.a.nodes.1", "nothing-left", "4GiB kept for the kernel"),
        (plan(kernel="100%"), "pools.a.nodes.1", "nothing-left", "4GiB kept for the kernel"),
        (plan("a: {mechanism: dax, nodes: {1: 2GiB}}, b: {mechanism: dax, nodes: {1: 2GiB}}",
              more="avoid: [{start: 6GiB, size: 3GiB}]"), "pools.a.nodes.1", "does-not-fit",
         "together they can have at most 1GiB"),
    ],
)  # fmt: skip
def test_plans_that_this_host_cannot_carry_out(text: str, path: str, code: str, words: str) -> None:
    error = refused(text)
    problem = only(error)
    assert isinstance(error, NotPossible)
    assert (problem.path, problem.code) == (path, code)
    assert words in problem.message


def replaced(**changes: Any) -> Host:
    return dataclasses.replace(HOST, **changes)


@pytest.mark.parametrize(
    ("host", "path", "code", "words"),
    [
        (replaced(architecture="aarch64"), "", "architecture", "the host is aarch64"),
        (replaced(kernel_default="5.9.16"), "pools.a.mechanism", "kernel-too-old", "5.10 or newer is needed"),
        (replaced(kernel_default="4.19.0-27-amd64"), "pools.a.mechanism", "kernel-too-old", "4.19.0-27-amd64"),
        (replaced(kernel_default="", kernel_running="5.4"), "pools.a.mechanism", "kernel-too-old", "5.4"),
        (replaced(kernel_default="", kernel_running=""), "", "kernel-unknown", "is not known"),
        (replaced(kernel_config={"CONFIG_DEV_DAX": "m"}), "pools.a.mechanism", "kernel-config",
         "built without CONFIG_DEV_DAX_HMEM"),
        (replaced(hmat=True), "pools.a.nodes.1", "hmat-regions", "policy.ignore_hmat: true"),
        (replaced(firmware_map=(*HOST.firmware_map, MapEntry(16 * GIB, 17 * GIB, 0xEFFFFFFF))),
         "pools.a.mechanism", "foreign-dax-regions", "policy.idle_foreign_dax: true"),
        (replaced(boot_arguments=("memmap=1G%9G-1+0xefffffff",)), "pools.a.mechanism", "foreign-dax-regions", ""),
        (replaced(boot_arguments=("memmap=1G%9G-1+1",)), "", "does-not-boot", "memmap=1G%9G-1+1 converts type 0x1"),
        (replaced(firmware_map=()), "pools.a.nodes.1", "node-unknown", "it has: none"),
        (replaced(node_ranges=()), "pools.a.nodes.1", "node-unknown", "it has: none"),
        (replaced(boot_arguments=("x" * 2000,)), "pools", "command-line-too-long", "it takes 2047"),
        (replaced(boot_arguments=("quiet", "--", "init-argument")), "", "arguments-not-read", "'--'"),
    ],
)  # fmt: skip
def test_hosts_that_cannot(host: Host, path: str, code: str, words: str) -> None:
    problem = only(refused(plan(), host))
    assert (problem.path, problem.code) == (path, code)
    assert words in problem.message


def test_a_reserved_pool_asks_nothing_of_the_kernel() -> None:
    host = replaced(kernel_default="4.19.0", hmat=True, kernel_config={"CONFIG_DEV_DAX": "n"})
    layout = planned(plan("a: {mechanism: reserved, nodes: {1: 1GiB}}"), host)
    assert layout.arguments == ("memmap=1G%6G-1+2",)


def test_foreign_dax_regions_can_be_accepted() -> None:
    host = replaced(firmware_map=(*HOST.firmware_map, MapEntry(16 * GIB, 17 * GIB, 0xEFFFFFFF)))
    assert planned(plan(more="policy: {idle_foreign_dax: true}"), host).devices == ()


def test_foreign_arguments_in_the_way() -> None:
    host = replaced(
        boot_arguments=("quiet", "memmap=1G$6G", "hugepages=4"),
        foreign=(
            ForeignArgument("memmap=1G$6G", "/etc/default/grub", 7),
            ForeignArgument("hugepages=4", "/etc/default/grub", 7),
        ),
    )
    problem = only(refused(plan(), host))
    assert (problem.path, problem.code) == ("pools.a.nodes.1", "foreign-argument")
    assert "memmap=1G$6G (/etc/default/grub, line 7) is not Carveout's" in problem.message
    assert "takes [0x180000000, 0x1c0000000)" in problem.message
    around = planned(plan(more="avoid: [{start: 6GiB, size: 1GiB}]"), host)
    assert [r.range for r in around.reservations] == [Range(7 * GIB, 8 * GIB)]


NEAREST = re.compile(r"nearest that fits: pools\.a\.nodes\.0: ([0-9.]+[KMGT]iB)$")


@pytest.mark.parametrize("align", ["4KiB", "2MiB"])
@pytest.mark.parametrize("low", [64 * MIB, 256 * MIB, 500 * MIB])
@pytest.mark.parametrize("size", [2 * GIB, 70 * GIB])
def test_a_kernel_with_too_little_and_what_would_be_enough(low: int, size: int, align: str) -> None:
    host = replaced(
        firmware_map=(
            MapEntry(0, 4096, 2),
            MapEntry(MIB, MIB + low, 1),
            MapEntry(4 * GIB, 4 * GIB + size, 1),
        ),
        node_ranges=(NodeRange(0, 0, 256 * GIB),),
    )

    def text(of_pool: str) -> str:
        devices = "[{name: x, size: rest}]"
        pools = f"a: {{mechanism: dax, nodes: {{0: {of_pool}}}, align: {align}, devices: {devices}}}"
        return plan(pools, "0")

    problem = only(refused(text("rest"), host))
    assert (problem.path, problem.code) == ("kernel.memory", "kernel-left-with-too-little")
    match = NEAREST.search(problem.message)
    assert match
    layout = planned(text(match.group(1)), host)
    assert layout.memory.kernel_after - layout.memory.struct_pages_after >= 512 * MIB
    too_large = min(parse_size(match.group(1)) + 320 * MIB, size)
    assert only(refused(text(str(too_large)), host)).code == "kernel-left-with-too-little"


LARGEST = re.compile(r"the largest possible size is ([0-9.]+[A-Za-z]+) ")


@given(
    st.integers(0, 10 * 512), st.sampled_from(["4KiB", "2MiB", "1GiB"]), st.sampled_from([0, 1]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 300)), max_size=3),
    st.sampled_from(["", ", b: {mechanism: reserved, nodes: {0: 256MiB, 1: 512MiB}}",
                     ", b: {mechanism: dax, nodes: {0: rest, 1: rest}, align: 2MiB}",
                     ", b: {mechanism: dax, nodes: {0: rest, 1: rest}, align: 1GiB}"]),
)  # fmt: skip
def test_the_largest_possible_size_is_possible_and_no_larger_one(
    keep: int, align: str, node: int, holes: list[tuple[int, int]], other: str
) -> None:
    avoid = ", ".join(f"{{start: {4096 + 2 * a}MiB, size: {2 * n}MiB}}" for a, n in holes)

    def text(size: str) -> str:
        pools = f"a: {{mechanism: dax, nodes: {{{node}: {size}}}, align: {align}}}{other}"
        return plan(pools, f"{2 * keep}MiB", f"avoid: [{avoid}]")

    try:
        planned(text("64GiB"))
    except CarveoutError as error:
        problems = [
            p for p in error.problems if p.path == f"pools.a.nodes.{node}" and LARGEST.search(p.message)
        ]
    if not problems:
        return
    match = LARGEST.search(problems[0].message)
    assert match
    largest = parse_size(match.group(1))
    assert largest % parse_size(align) == 0
    # It fits as far as this pool is concerned: what else is wrong has other places.
    try:
        layout = planned(text(match.group(1)))
        assert sum(r.range.size for r in layout.reservations if r.pool == "a" and r.node == node) == largest
    except CarveoutError as error:
        assert {p.code for p in error.problems} <= {
            "kernel-left-with-too-little",
            "does-not-fit",
            "nothing-left",
            "kernel-share-too-large",
        }
        assert all(not p.path.endswith(f".nodes.{node}") for p in error.problems)
    with pytest.raises(CarveoutError):
        planned(text(str(largest + max(parse_size(align), 2 * MIB))))


def test_every_problem_is_told_at_once() -> None:
    text = plan("a: {mechanism: dax, nodes: {1: 1GB}, align: 3}, b: {mechanism: auto, nodes: {0: 7%%}}", "x")
    error = refused(text)
    assert isinstance(error, InvalidInput)
    assert [p.path for p in error.problems] == [
        "kernel.memory", "pools.a.nodes.1", "pools.a.align", "pools.b.nodes.0",
    ]  # fmt: skip
    error = refused(plan("a: {mechanism: dax, nodes: {0: 99GiB, 1: 99GiB}}"))
    assert [p.path for p in error.problems] == ["pools.a.nodes.0", "pools.a.nodes.1"]


def test_meaning() -> None:
    text = plan(
        "g: {mechanism: dax, nodes: {0: 12.5%, 1: rest}, align: {1: 1GiB}, devices: ["
        "{name: x, node: 0, size: 50%}, {name: y, node: 1, extents: [{offset: 0, size: 1GiB}], owner: me,"
        ' group: kvm, mode: "0660"}]}, r: {mechanism: reserved, nodes: {0: 4KiB}, align: 4KiB}',
        "{0: 10%, 1: 1.5GiB}",
        "avoid: [{start: 0x180000000, size: 2MiB}]\npolicy: {kaslr: allow-disable}",
    )
    read = validated_plan(load_plan(text, "plan.yml"))
    assert read.kernel_memory == {0: Percent(10_000_000), 1: 1536 * MIB}
    assert (read.keep_for_kernel(0), read.keep_for_kernel(5)) == (Percent(10_000_000), 0)
    assert read.avoid == (Range(6 * GIB, 6 * GIB + 2 * MIB),)
    assert (read.policy.kaslr, read.policy.trial_boot, read.policy.idle_foreign_dax) == (
        "allow-disable",
        False,
        False,
    )
    pool, reserved = read.pools
    assert pool.nodes == {0: Percent(12_500_000), 1: "rest"}
    assert pool.aligns == {0: 2 * MIB, 1: GIB}
    x, y = pool.devices
    assert (x.name, x.node, x.align, x.size, x.mode, x.owner) == (
        "x",
        0,
        2 * MIB,
        Percent(50_000_000),
        "0600",
        "root",
    )
    assert (y.extents, y.align, y.group, y.mode) == ((Range(0, GIB),), GIB, "kvm", "0660")
    assert reserved.aligns == {0: 4 * KIB}
    layout = planned(text)
    usable = HOST.node_usable(0).size
    sizes = {r.pool: r.range.size for r in layout.reservations if r.node == 0}
    # an eighth of the node, rounded down to the align
    assert sizes == {"g": usable // 8 // (2 * MIB) * 2 * MIB, "r": 4 * KIB}
    assert layout.devices[0].size == sizes["g"] // 2 // (2 * MIB) * 2 * MIB
    assert [r.range for r in layout.reservations if r.node == 1] == [Range(7 * GIB, 9 * GIB)]


def test_shares_of_the_kernel_are_rounded_up_to_sections() -> None:
    text = plan("a: {mechanism: dax, nodes: {1: rest}}", "10%")
    (reservation,) = planned(text).reservations
    assert 4 * GIB - reservation.range.size == 512 * MIB  # 409.6 MiB and up
    assert str(Percent(12_500_000)) == "12.5%"


@given(st.integers(1, 100_000_000), st.integers(0, 1 << 50))
def test_shares(millionths: int, size: int) -> None:
    share = Percent(millionths)
    assert share.of(size) * 100_000_000 <= size * millionths < (share.of(size) + 1) * 100_000_000
