# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dmemfs pools: which dmem= a plan gets, what is refused, the accounts, and the recorded kernels as judges."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import predict
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text

RELEASE = "5.4.119"
CONFIG = {"CONFIG_DMEM": "y", "CONFIG_DMEM_FS": "m", "CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS": "y"}
GUARD = "memmap=1G%0-77+78"
OFF = "transparent_hugepage=never"
NEVER = {"transparent_huge_pages": "never"}


def host_of(*nodes: int, release: str = RELEASE, **more: Any) -> Host:
    """Nodes of so many GiB above 4 GiB; node 0 has 3 GiB more below."""
    firmware, ranges = [(0x1000, 0x9FC00, 1), (MIB, 3 * GIB, 1)], [(0, 0, 4 * GIB)]
    start = 4 * GIB
    for node, size in enumerate(nodes):
        ranges.append((node, start, start + size * GIB))
        start += size * GIB
    firmware.append((4 * GIB, start, 1))
    known = {
        "kernel_running": release,
        "kernel_default": release,
        "kernel_config": CONFIG,
        "cmdline": "quiet",
    }
    return make_host(firmware, ranges, **{**known, **more})


def layout_of(
    host: Host, nodes: dict[str, str], keep: Any = "2GiB", previous: Layout | None = None, **more: Any
) -> Layout:
    policy = more.pop("policy", NEVER)
    avoid = more.pop("avoid", [])
    others = more.pop("others", {})
    pools = {"files": {"mechanism": "dmemfs", "nodes": nodes, **more}, **others}
    return make_layout(make_plan(keep, pools, policy=policy, avoid=avoid), host, previous)


def refused(host: Host, nodes: dict[str, str], keep: Any = "2GiB", **more: Any) -> CarveoutError:
    with pytest.raises(CarveoutError) as caught:
        layout_of(host, nodes, keep, **more)
    return caught.value


def regions(layout: Layout) -> list[tuple[int, float, float]]:
    return [(r.node, r.start / GIB, r.end / GIB) for r in layout.reservations if r.mechanism == "dmemfs"]


@pytest.mark.parametrize(
    ("sizes", "nodes", "more", "argument", "expected"),
    [
        ((8, 8), {"0": "2GiB", "1": "2GiB"}, {}, "dmem=2G", [(0, 9.875, 11.875), (1, 17.875, 19.875)]),
        ((8, 8), {"1": "2GiB"}, {}, "dmem=2G@12G", [(1, 12, 14)]),
        ((8, 8), {"0": "2GiB"}, {}, "dmem=2G@4G", [(0, 4, 6)]),
        ((8, 8), {"0": "1GiB", "1": "2GiB"}, {}, "dmem=3200M@11136M", [(0, 10.875, 11.875), (1, 12, 14)]),
        ((8, 8), {"0": "rest", "1": "rest"}, {}, "dmem=14G@4G", [(0, 4, 11.875), (1, 12, 18)]),
        ((8, 8), {"0": "rest"}, {"page_size": "1GiB"}, "dmem=7G@4G:1G", [(0, 4, 11)]),
        ((8, 8, 8), {"0": "2GiB", "1": "3GiB", "2": "3GiB"}, {}, None, []),
        (
            (8, 8, 8), dict.fromkeys("012", "3GiB"), {}, "dmem=3G",
            [(0, 8.875, 11.875), (1, 16.875, 19.875), (2, 24.875, 27.875)],
        ),
        ((8,), {"0": "25%"}, {}, "dmem=2688M", [(0, 9.25, 11.875)]),
    ],
)  # fmt: skip
def test_the_form_that_gives_just_the_amounts(
    sizes: tuple[int, ...],
    nodes: dict[str, str],
    more: dict[str, Any],
    argument: str | None,
    expected: list[tuple[int, float, float]],
) -> None:
    host = host_of(*sizes)
    if argument is None:
        problem = refused(host, nodes, **more).problems[0]
        assert (problem.path, problem.code) == ("pools.files.nodes", "dmem-no-form")
        assert "What works: 2GiB of node 0 and 2GiB of node 1 and 2GiB of node 2" in problem.message
        assert problem.message.endswith("or 2GiB of node 0, or 3GiB of node 1, or 3GiB of node 2")
        return
    layout = layout_of(host, nodes, **more)
    assert layout.arguments == (GUARD, argument, OFF)
    assert regions(layout) == expected
    made = predict(host, [*host.foreign_tokens, *layout.kernel_arguments])
    assert [(r.node, r.start / GIB, r.end / GIB) for r in made.dmem_regions] == expected
    assert made.kaslr.verdict == "avoids"


def test_all_but_one_size_where_no_range_can_do_it() -> None:
    """Three nodes give their rest, each another amount; kernel and initrd may be of any size."""
    firmware = [(MIB, 3 * GIB, 1), (4 * GIB, 64 * GIB, 1)]
    host = make_host(
        firmware,
        [(0, 0, 24 * GIB), (1, 24 * GIB, 40 * GIB), (2, 40 * GIB, 64 * GIB)],
        kernel_running=RELEASE, kernel_default=RELEASE, kernel_config=CONFIG,
    )  # fmt: skip
    layout = layout_of(host, dict.fromkeys("012", "rest"), "4GiB", page_size="1GiB")
    assert layout.arguments == (GUARD, "dmem=!5G:1G", OFF)
    assert regions(layout) == [(0, 5, 23), (1, 28, 39), (2, 44, 63)]
    assert {node: memory.kernel_after >= 4 * GIB for node, memory in layout.memory_nodes.items()} == {
        0: True, 1: True, 2: True
    }  # fmt: skip


def test_the_rest_that_one_request_cannot_take_is_told() -> None:
    layout = layout_of(host_of(8, 8, 8), dict.fromkeys("012", "rest"))
    assert layout.arguments[1] == "dmem=6G"
    told = [warning.message for warning in layout.warnings if warning.code == "rest-smaller"]
    assert told == [
        "pool files on node 0 gets 1.875GiB less than the node could give: dmem=6G is one request for all nodes"
    ]


def test_regions_of_more_than_128_gib_are_split_by_holes() -> None:
    layout = layout_of(host_of(317), {"0": "rest"}, "16GiB")
    assert layout.arguments == (
        "memmap=128M%66176M-1+2", "memmap=128M%197376M-1+2", "dmem=310912M", OFF
    )  # fmt: skip
    assert regions(layout) == [(0, 17, 64.625), (0, 64.75, 192.75), (0, 192.875, 320.875)]
    holes = [r for r in layout.reservations if r.mechanism == "reserved"]
    assert [(hole.pool, hole.range.size) for hole in holes] == [("files", 128 * MIB)] * 2
    warning = next(w for w in layout.warnings if w.code == "dmem-holes")
    assert warning.message.startswith("256 MiB are given away between the regions of dmem=")
    assert layout.memory.saved == (sum(r.range.size for r in layout.reservations)) // 64
    # all struct pages of what is taken, and nothing of it is the kernel's
    taken = RangeSet(r.range for r in layout.reservations)
    assert layout.memory.kernel_after == layout.memory.kernel_before - taken.size == layout.managed_ram.size


def test_the_second_posting_takes_large_regions() -> None:
    host = host_of(317, release="5.10.3")
    layout = layout_of(host, {"0": "rest"}, "16GiB", policy={})
    assert layout.arguments == (GUARD, "dmem=311168M")
    assert len(regions(layout)) == 1


def test_memory_to_be_avoided_is_in_no_region() -> None:
    layout = layout_of(host_of(8), {"0": "3GiB"}, avoid=[{"start": "10GiB", "size": "4KiB"}])
    assert layout.arguments == (GUARD, "dmem=3G@4G", OFF)
    layout = layout_of(host_of(8), {"0": "6GiB"}, avoid=[{"start": "9GiB", "size": "4KiB"}])
    assert "memmap=4K%9G-1+2" in layout.arguments
    assert regions(layout) == [(0, 5.75, 9), (0, 9.125, 11.875)]


def test_beside_pools_of_other_mechanisms() -> None:
    others = {
        "idle": {"mechanism": "reserved", "nodes": {"1": "1GiB"}},
        "pages": {"mechanism": "hugetlb", "nodes": {"0": "1GiB", "1": "1GiB"}},
    }
    layout = layout_of(host_of(8, 8), {"0": "rest", "1": "2GiB"}, others=others, mount="/mnt/files")
    assert [(r.pool, r.mechanism, r.node) for r in layout.reservations] == [
        ("files", "dmemfs", 0), ("idle", "reserved", 1), ("files", "dmemfs", 1)
    ]  # fmt: skip
    assert layout.memory_nodes[1].kernel_after == 5 * GIB
    assert "  files          dmemfs 9.875GiB at /mnt/files, root:root 0755" in layout_text(
        host_of(8, 8), layout
    )
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_a_layout_that_still_fits_is_kept() -> None:
    host = host_of(160, 160)
    wish = {"0": "rest", "1": "rest"}
    first = layout_of(host, wish, "16GiB", avoid=[{"start": "20GiB", "size": "1MiB"}])
    again = layout_of(host, wish, "16GiB", first, avoid=[{"start": "20GiB", "size": "1MiB"}])
    assert again is first
    # a node has grown: the same argument registers other regions of it
    small = layout_of(host_of(8, 8), dict.fromkeys("01", "2GiB"))
    grown = layout_of(host_of(8, 16), dict.fromkeys("01", "2GiB"), previous=small)
    assert (grown.arguments, regions(grown)[1]) == (small.arguments, (1, 25.875, 27.875))
    without = dataclasses.replace(host, cmdline="quiet transparent_hugepage=never")
    assert OFF not in layout_of(without, wish, "16GiB").arguments


def changed(**more: Any) -> Host:
    return dataclasses.replace(host_of(8, 8), **more)


@pytest.mark.parametrize(
    ("host", "more", "path", "code", "words"),
    [
        (
            changed(kernel_default="6.12.107", kernel_config={"CONFIG_DEV_DAX": "m", "CONFIG_DEV_DAX_HMEM": "m"}),
            {},
            "pools.files.mechanism",
            "kernel-config",
            "built without CONFIG_DMEM and CONFIG_DMEM_FS. No stock distribution has dmemfs: name a kernel package "
            "that brings it under pools.files.kernel, or use a mechanism that works on this host: ",
        ),
        (
            changed(kernel_config={**CONFIG, "CONFIG_DMEM_FS": "n", "CONFIG_UIO_DMEM_GENIRQ": "m"}),
            {}, "pools.files.mechanism", "kernel-config", "is built without CONFIG_DMEM_FS. ",
        ),
        (changed(kernel_config={}), {}, "pools.files.mechanism", "kernel-config", "/boot has no configuration"),
        (
            changed(), {"kernel": {"release": "5.4.119-20"}}, "pools.files.kernel.release", "kernel-differs",
            "'carveout plan --kernel 5.4.119-20' plans for it",
        ),
        (
            changed(), {"policy": {}}, "policy.transparent_huge_pages", "transparent-huge-pages",
            "adds transparent_hugepage=never, at a price: no program of the whole host gets huge pages by itself",
        ),
        (
            changed(cmdline="transparent_hugepage=madvise"), {}, "pools.files", "foreign-argument",
            "transparent_hugepage=madvise is on the kernel's command line and not Carveout's",
        ),
        (changed(cmdline="dmem=1G"), {}, "", "foreign-dmem", "dmem=1G (on the kernel's command line) is not"),
        (changed(cmdline="hugetlb_cma=1G"), {}, "", "foreign-dmem", "out of memory before it; remove it"),
        (changed(), {"nodes": {"0": "12GiB"}}, "pools.files.nodes.0", "does-not-fit", "nearest that fits: 7.875GiB"),
        (changed(), {"nodes": {"0": "rest"}, "keep": "11GiB"}, "kernel.memory", "kernel-share", "less than"),
    ],
)  # fmt: skip
def test_what_this_host_cannot_do(host: Host, more: dict[str, Any], path: str, code: str, words: str) -> None:
    more = dict(more)
    nodes = more.pop("nodes", {"0": "2GiB", "1": "2GiB"})
    error = refused(host, nodes, more.pop("keep", "2GiB"), **more)
    assert isinstance(error, NotPossible)
    assert error.problems[0].path == path
    assert error.problems[0].code.startswith(code)
    assert words in error.problems[0].message


def test_pages_of_4_kib_do_with_huge_pages_on_demand() -> None:
    setting = {"CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS": "n", "CONFIG_TRANSPARENT_HUGEPAGE_MADVISE": "y"}
    host = changed(kernel_config={**CONFIG, **setting})
    assert layout_of(host, {"0": "2GiB"}, page_size="4KiB", policy={}).arguments == (GUARD, "dmem=2G@4G")
    assert refused(host, {"0": "2GiB"}, policy={}).problems[0].code == "transparent-huge-pages"


@pytest.mark.parametrize(
    ("pools", "path", "code"),
    [
        ({"a": {"nodes": {"0": "100MiB"}}}, "pools.a.nodes.0", "misaligned"),
        ({"a": {"nodes": {"0": "128MiB"}, "page_size": "1GiB"}}, "pools.a.nodes.0", "misaligned"),
        ({"a": {"nodes": {"0": 0}}}, "pools.a.nodes.0", "size-invalid"),
        ({"a": {"nodes": {"0": "1GiB"}, "page_size": "8KiB"}}, "pools.a.page_size", "align-invalid"),
        ({"a": {"nodes": {"0": "1GiB"}, "mount": "/usr/files"}}, "pools.a.mount", "mount-path"),
        ({"a": {"nodes": {"0": "1GiB"}, "mount": {"path": "files"}}}, "pools.a.mount.path", "mount-path"),
        ({"a": {"nodes": {"0": "1GiB"}, "kernel": {"release": "x y"}}}, "pools.a.kernel.release", "kernel-invalid"),
        ({"a": {"nodes": {"0": "1GiB"}, "align": "2MiB"}}, "pools.a.align", "key-of-others"),
        ({"a": {"nodes": {"0": "1GiB"}}, "b": {"nodes": {"1": "1GiB"}}}, "pools.b.mechanism", "dmemfs-twice"),
    ],
)  # fmt: skip
def test_what_a_plan_cannot_say(pools: dict[str, Any], path: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_plan("2GiB", {name: {"mechanism": "dmemfs", **pool} for name, pool in pools.items()})
    assert (caught.value.problems[0].path, caught.value.problems[0].code) == (path, code)


AMOUNTS = st.one_of(st.just("rest"), st.integers(1, 300).map(lambda n: f"{n * 128}MiB"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    wish=st.dictionaries(st.integers(0, 3), AMOUNTS, min_size=1),
    page_size=st.sampled_from(["4KiB", "2MiB", "1GiB"]),
    keep=st.integers(1, 8),
)
def test_a_layout_is_what_the_kernel_registers_and_the_plan_asks(
    sizes: list[int], wish: dict[int, str], page_size: str, keep: int
) -> None:
    host = host_of(*sizes)
    nodes = {str(node): amount for node, amount in wish.items()}
    try:
        layout = layout_of(host, nodes, f"{keep}GiB", page_size=page_size)
    except CarveoutError as error:
        assert all(problem.message for problem in error.problems)
        return
    mine = [r for r in layout.reservations if r.mechanism == "dmemfs"]
    made = predict(host, [*host.foreign_tokens, *layout.kernel_arguments])
    assert [tuple(region) for region in made.dmem_regions] == [(r.start, r.end, r.node) for r in mine]
    assert "dmem-pool-lost" not in [warning.code for warning in made.warnings]
    assert "dmem-depends-on-initrd" not in [warning.code for warning in made.warnings]
    assert {r.node for r in mine} == set(wish)
    for node, amount in wish.items():
        got = sum(r.range.size for r in mine if r.node == node)
        assert got > 0 if amount == "rest" else got == int(amount[:-3]) * MIB
        assert layout.memory_nodes[node].kernel_after >= keep * GIB
    assert {n: m.ram for n, m in made.nodes.items()} == {
        n: m.kernel_after - m.kernel_after % 4096 for n, m in layout.memory_nodes.items() if m.kernel_after
    }
    assert layout_of(host, nodes, f"{keep}GiB", layout, page_size=page_size) is layout


# --- recorded kernels as judges ------------------------------------------------------------------


def test_plans_of_what_recorded_boots_reserved(shared_data: Path) -> None:
    """A plan that asks for what a kernel registered (all of it above 4 GiB) gets an argument for just that.

    Where the planner comes to the recorded argument itself, the kernel has said what the regions are.
    """
    rows = [json.loads(line) for line in (shared_data / "dmem_oracle.jsonl").read_text().splitlines()]
    planned = same = 0
    for row in rows:
        amounts: dict[int, int] = {}
        for start, end, node in row["regions"]:
            amounts[node] = amounts.get(node, 0) + end - start
        if not amounts or min(start for start, _, _ in row["regions"]) < 4 * GIB:
            continue
        entries = [(a, b + 1, log_type(words) or 0) for a, b, words in row["firmware_map"]]
        spans = [(node, a, b + 1) for node, a, b in row["srat"]]
        tokens = [token for token in row["args"].split() if not token.startswith("dmem=")]
        host = make_host(
            entries, spans, kernel_running=RELEASE, kernel_default=RELEASE, kernel_config=CONFIG,
            cmdline=" ".join(tokens),
        )  # fmt: skip
        try:
            layout = layout_of(host, {str(n): f"{size // MIB}MiB" for n, size in amounts.items()}, "128MiB")
        except NotPossible as error:
            # a kernel that is left with next to nothing was a test of dmem=, it is no plan
            assert {problem.code for problem in error.problems} <= {
                "does-not-fit", "kernel-left-with-too-little", "dmem-no-form", "crashkernel-does-not-fit",
                "foreign-dmem",
            }, row["args"]  # fmt: skip
            continue
        planned += 1
        mine = [[r.start, r.end, r.node] for r in layout.reservations if r.mechanism == "dmemfs"]
        assert {n: sum(b - a for a, b, m in mine if m == n) for n in amounts} == amounts
        argument = next(a for a in layout.arguments if a.startswith("dmem="))
        if argument in row["args"].split():
            same += 1
            assert mine == row["regions"], row["args"]
    assert planned >= 20
    assert same >= 3
