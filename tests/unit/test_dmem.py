# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`dmem=`: what a dmemfs kernel refuses, and which regions it registers."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._model.dmem import (
    SMALL,
    Region,
    dmem_prediction,
    dmem_regions,
    free_memory,
    has_dmem,
    memory_by_node,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.dmem_argument import (
    MALFORMED,
    DmemRefusal,
    DmemRequest,
    parse_dmem,
    read_dmem,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._model.sections import (
    boot_struct_pages_by_node,
    ram_of,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB

RELEASE = "5.4.119"
RAM = 1


def host_with(
    firmware: list[MapEntry],
    nodes: list[NodeRange],
    release: str = RELEASE,
    config: dict[str, str] | None = None,
) -> Host:
    return make_host(
        tuple(firmware),
        tuple(nodes),
        kernel_running=release,
        kernel_default="",
        kernel_config=config or {},
        cmdline="",
    )


def predicted(host: Host, line: str) -> Any:
    tokens = line.split()
    return dmem_prediction(host, tokens, apply_arguments(host.firmware_map, tokens, host.kernel).entries)


def big_host(gib: int, release: str = RELEASE) -> Host:
    """One node, as QEMU's pc has it: 3 GiB below 4 GiB, the rest above."""
    low, top = 3 * GIB - 128 * KIB, (gib + 1) * GIB
    ram = [MapEntry(0, 0x9FC00, RAM), MapEntry(MIB, low, RAM), MapEntry(4 * GIB, top, RAM)]
    return host_with(ram, [NodeRange(0, 0, top)], release)


# Every argument of the grammar's corners: (text, what the kernel prints before "Malformed ...").
REFUSED = [
    (None, ""),
    ("", ""),
    ("!", ""),
    ("-1G", ""),
    ("x", ""),
    ("!!1G", ""),
    ("G", "dmem: 'size' of 0 defined in dmem=, or {invalid} param"),
    ("0", "dmem: 'size' of 0 defined in dmem=, or {invalid} param"),
    ("!0x0", "dmem: 'size' of 0 defined in dmem=, or {invalid} param"),
    ("0@x", "dmem: 'size' of 0 defined in dmem=, or {invalid} param"),
    ("1G,2G", "dmem: unknown indicator: , in dmem="),
    ("1G+5G", "dmem: unknown indicator: + in dmem="),
    ("1G@5G@6G", ""),
    ("1G:1G:1G", ""),
    ("1G@", ""),
    ("1G:", ""),
    ("1G@x", ""),
    ("1G@0", "dmem: 'addr' or 'align' should not be set to 0"),
    ("1G:0", "dmem: 'addr' or 'align' should not be set to 0"),
    ("1G@K", "dmem: 'addr' or 'align' should not be set to 0"),
    ("1G@5GB", "dmem: unknown indicator: B in dmem="),
    ("1G:64M", "dmem: 'align' should be 0x8000000 at least to be aligned to memory section."),
    ("1G:3M", "dmem: 'align' should be 0x8000000 at least to be aligned to memory section."),
    ("1G:384M", "dmem: 'align' should be power of 2."),
    ("100M@100M:384M", "dmem: 'align' should be power of 2."),
    ("100M@100M", "dmem: 'addr' is unaligned to 'align' in dmem="),
    ("100M", "dmem: 'size' is unaligned to 'align' in dmem="),
    ("1408M:512M", "dmem: 'size' is unaligned to 'align' in dmem="),
    ("8E@0x8000000000000000", "dmem: 'addr + size' overflow in dmem="),
    ("!8E@0x8000000000000000", "dmem: 'addr + size' overflow in dmem="),
    ("!1G@4G", "dmem: take a certain base address for kernel is illegal"),
    ("!100M@4G", "dmem: 'size' is unaligned to 'align' in dmem="),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_refused(value: str | None, message: str) -> None:
    refusal = parse_dmem(value)
    assert isinstance(refusal, DmemRefusal)
    assert refusal.message == message
    assert refusal.reason
    token = "dmem" if value is None else f"dmem={value}"
    arguments = read_dmem([token])
    assert arguments.request is None
    assert arguments.messages == ((message, MALFORMED) if message else (MALFORMED,))
    assert arguments.refused == ((token, refusal.reason),)


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        ("1G", DmemRequest(0, GIB, 128 * MIB, False)),
        ("!1g", DmemRequest(0, GIB, 128 * MIB, True)),
        ("0x40000000", DmemRequest(0, GIB, 128 * MIB, False)),
        ("010000000000", DmemRequest(0, GIB, 128 * MIB, False)),
        ("1G:1G@5G", DmemRequest(5 * GIB, GIB, GIB, False)),
        ("1G@5G:1G", DmemRequest(5 * GIB, GIB, GIB, False)),
        ("1048576K@0x100000000", DmemRequest(4 * GIB, GIB, 128 * MIB, False)),
        # In hexadecimal a trailing E is a digit, not exa.
        ("0x8000000@0xE0000000", DmemRequest(0xE0000000, 128 * MIB, 128 * MIB, False)),
    ],
)
def test_accepted(value: str, request_: DmemRequest) -> None:
    assert parse_dmem(value) == request_


def test_the_last_valid_one_holds() -> None:
    tokens = ["dmem=1G", "quiet", "dmem=2G:1G", "dmem=0", "dmem=!1G@4G", "--", "dmem=3G"]
    arguments = read_dmem(tokens)
    assert arguments.request == DmemRequest(0, 2 * GIB, GIB, False)
    assert arguments.refused == (
        ("dmem=1G", "a later dmem= replaces it"),
        ("dmem=0", "'size' of 0 defined in dmem=, or {invalid} param"),
        ("dmem=!1G@4G", "take a certain base address for kernel is illegal"),
    )
    assert arguments.messages == (
        "dmem: parameter: base address 0x0 size 0x40000000 align 0x8000000 resv_kernel 0",
        "dmem: parameter: base address 0x0 size 0x80000000 align 0x40000000 resv_kernel 0",
        "dmem: 'size' of 0 defined in dmem=, or {invalid} param",
        MALFORMED,
        "dmem: take a certain base address for kernel is illegal",
        MALFORMED,
    )
    assert read_dmem(["dmem_x=1G", "xdmem=1G", "quiet"]) == (None, (), ())


# --- what real kernels did ---------------------------------------------------------------------


def oracle(shared_data: Path) -> list[dict[str, Any]]:
    file = shared_data / "dmem_oracle.jsonl"
    if not file.is_file():
        pytest.skip(f"no recorded boots of a dmemfs kernel: {file} is missing")
    return [json.loads(line) for line in file.read_text().splitlines()]


def host_of(row: dict[str, Any]) -> Host:
    entries = [MapEntry(a, b + 1, log_type(words) or 0) for a, b, words in row["firmware_map"]]
    return host_with(entries, [NodeRange(node, a, b + 1) for node, a, b in row["srat"]])


#: Rows that may differ from the prediction, and why. There are none: the recorded hosts have a small
#: kernel and initrd, which leave the same 128 MiB sections whole as the prediction assumes.
DIFFERENT: dict[int, str] = {}


def test_every_recorded_boot(shared_data: Path) -> None:
    """Refusals, messages, amounts per node and regions, in all rows."""
    rows = oracle(shared_data)
    assert len(rows) == 120
    different = set()
    for number, row in enumerate(rows):
        assert row["booted"]
        result = predicted(host_of(row), row["args"])
        assert list(result.messages) == row["kernel_says"], (number, row["args"])
        refusals = sum(message == MALFORMED for message in row["kernel_says"])
        replaced = sum(reason == "a later dmem= replaces it" for _, reason in result.refused)
        assert len(result.refused) - replaced == refusals
        amounts: dict[int, int] = {}
        for start, end, node in row["regions"]:
            amounts[node] = amounts.get(node, 0) + end - start
        assert result.by_node == amounts, (number, row["args"])
        if [list(region) for region in result.regions] != row["regions"]:
            different.add(number)
    assert different == set(DIFFERENT), "a row differs without a reason, or has a reason and does not differ"


def test_what_the_recorded_boots_had_left(shared_data: Path) -> None:
    """MemTotal of each node: its RAM less its dmem regions, less its struct pages, and little more.

    On every node but the first only the kernel's first allocations are missing besides: under
    3 MiB, 64 MiB for swiotlb on one node below 4 GiB, and the crash kernel on one node.
    """
    checked = shared = 0
    for row in oracle(shared_data):
        host, tokens = host_of(row), row["args"].split()
        before = ram_of(apply_arguments(host.firmware_map, tokens, host.kernel).entries)
        left = before.subtract(region[:2] for region in predicted(host, row["args"]).regions)
        struct_pages = boot_struct_pages_by_node(left, host.node_ranges)
        for name, kib in row["node_mem_total_kb"].items():
            node = int(name)
            own = left.intersect(host.node_span(node))
            missing = own.size - struct_pages.get(node, 0) - kib * KIB
            if node == 0:
                assert 17 * MIB < missing < 360 * MIB, row["args"]
                continue
            while missing >= 64 * MIB:
                missing -= 256 * MIB if missing >= 256 * MIB else 64 * MIB
            assert 0 <= missing < 3 * MIB, (row["args"], node)
            checked += 1
            lowest = min((r.start for r in host.node_ranges if r.node == node), default=0)
            shared += lowest % (128 * MIB) != 0
    assert checked > 100
    assert shared > 10, "nodes that begin inside a section are among them"


def test_the_captured_hosts(shared_data: Path) -> None:
    """The log of each says what its kernel registered; two of them were booted with KASLR."""
    captured = json.loads((shared_data / "dmemfs_hosts.json").read_text())
    for one in captured:
        log = one["files"]["dmesg"]
        seen = re.findall(r"dmem: register region \[0x([0-9a-f]+) - 0x([0-9a-f]+)\] on node (\d+)", log)
        regions = sorted((int(a, 16), int(b, 16), int(node)) for a, b, node in seen)
        result = predicted(host_from_dmesg(log), one["args"])
        assert list(result.regions) == regions
        pages = int(one["files"]["/sys/kernel/debug/dmem/registered_pages"])
        assert sum(result.by_node.values()) == pages * 4 * KIB


# --- rules ------------------------------------------------------------------------------------


def test_one_region_over_128_gib_is_lost_at_the_end_of_the_boot() -> None:
    """Seen at 320 GiB: 304G@16G and !16G lose the pool; split by two holes they are 303.75 GiB."""
    host = big_host(320)
    for line in ("nokaslr dmem=304G@16G", "nokaslr dmem=!16G"):
        lost = predicted(host, line)
        assert len(lost.regions) >= 1
        assert lost.pool_lost
        assert "dmem-pool-lost" in [w.code for w in lost.warnings]
    for form in ("304G@16G", "!16G"):
        split = predicted(host, f"nokaslr dmem={form} memmap=128M$120G,128M$240G")
        assert not split.pool_lost
        assert "dmem-pool-lost" not in [w.code for w in split.warnings]
    assert not predicted(host, "nokaslr dmem=128G@16G").pool_lost, "exactly 128 GiB is still served"
    assert predicted(host, "nokaslr dmem=131200M@16G").pool_lost
    assert not predicted(big_host(320, "5.10.0"), "nokaslr dmem=!16G").pool_lost


def test_splitting_by_holes_gives_the_measured_pool() -> None:
    """Seen with q35, which has 2 GiB below 4 GiB: three regions, 155,520 pages of 2 MiB."""
    top = 322 * GIB
    host = host_with(
        [MapEntry(0, 0x9FC00, RAM), MapEntry(MIB, 2 * GIB - 128 * KIB, RAM), MapEntry(4 * GIB, top, RAM)],
        [NodeRange(0, 0, top)],
    )
    result = predicted(host, "nokaslr dmem=!16G memmap=128M$120G,128M$240G")
    assert len(result.regions) == 3
    assert sum(result.by_node.values()) == 155520 * 2 * MIB


@pytest.mark.parametrize(("release", "limit"), [(RELEASE, 93), ("5.10.0", 85)])
def test_the_table_of_regions_has_an_end(release: str, limit: int) -> None:
    pieces = [MapEntry(4 * GIB + n * GIB, 4 * GIB + n * GIB + 512 * MIB, RAM) for n in range(100)]
    host = host_with([MapEntry(0, GIB, RAM), *pieces], [NodeRange(0, 0, 200 * GIB)], release)
    result = predicted(host, "nokaslr dmem=100G@4G")
    assert result.table_full
    assert len(result.regions) == limit
    # From the highest address down: what is left out is at the bottom.
    assert result.regions[0].start == 4 * GIB + (100 - limit) * GIB
    assert "dmem: region is not sufficient." in result.messages
    assert result.missing == {-1: 100 * GIB - sum(result.by_node.values())}
    assert [w.code for w in result.warnings][:2] == ["dmem-short", "dmem-table-full"]
    assert not predicted(host, f"nokaslr dmem={limit}G@{104 - limit}G").table_full


def test_a_kernel_without_dmemfs() -> None:
    host = host_with(
        [MapEntry(0, 8 * GIB, RAM)], [NodeRange(0, 0, 8 * GIB)], "6.12.107", {"CONFIG_NUMA": "y"}
    )
    assert has_dmem(host) is False
    result = predicted(host, "quiet dmem=1G dmem=0")
    assert result.by_node == {0: GIB}, "what a kernel with dmemfs would register"
    assert [argument for argument, _ in result.refused] == ["dmem=1G", "dmem=0"]
    assert all("reserves nothing" in reason for _, reason in result.refused)
    assert result.warnings[0].code == "dmem-not-in-kernel"
    assert predicted(host, "quiet").warnings == ()
    assert has_dmem(host_with([], [], RELEASE, {"CONFIG_DMEM": "y"})) is True
    assert has_dmem(big_host(8)) is None


def test_what_is_not_certain_is_said() -> None:
    host = big_host(8)
    assert [w.code for w in predicted(host, "dmem=1G@6G").warnings] == ["dmem-kaslr"]
    assert predicted(host, "nokaslr dmem=1G@6G").warnings == ()
    assert [w.code for w in predicted(host, "nokaslr dmem=!1G").warnings] == ["dmem-depends-on-initrd"]
    assert [w.code for w in predicted(host, "nokaslr cma=64M dmem=1G@6G").warnings] == ["dmem-after-cma"]


def test_numa_off_is_one_node() -> None:
    host = host_with([MapEntry(0, 8 * GIB, RAM)], [NodeRange(0, 0, 4 * GIB), NodeRange(1, 4 * GIB, 8 * GIB)])
    assert predicted(host, "nokaslr dmem=1G").by_node == {0: GIB, 1: GIB}
    assert predicted(host, "nokaslr numa=off dmem=1G").by_node == {0: GIB}


UNIT = 64 * MIB
PLACES = st.lists(st.tuples(st.integers(0, 160), st.integers(0, 160)), max_size=5)


@given(
    PLACES,
    st.lists(st.integers(1, 159), max_size=3, unique=True),
    st.sampled_from(["", "!"]),
    st.integers(1, 60),
    st.sampled_from([128, 256, 512, 1024]),
    st.integers(0, 40),
)
def test_invariants(
    places: list[tuple[int, int]], cuts: list[int], mark: str, count: int, align: int, base: int
) -> None:
    """Whatever the memory: regions are free, aligned, disjoint, on their node, and never too much."""
    edges = [0, *(c * UNIT for c in sorted(cuts)), 160 * UNIT]
    spans = [NodeRange(n, a, b) for n, (a, b) in enumerate(itertools.pairwise(edges))]
    memory = memory_by_node(RangeSet((a * UNIT, b * UNIT) for a, b in places), spans)
    free = free_memory(memory, SMALL)
    address = f"@{base * align}M" if base and not mark else ""
    arguments = read_dmem([f"dmem={mark}{count * align}M{address}:{align}M"])
    assert arguments.request is not None
    result = dmem_regions(arguments, free, RELEASE)
    size, step = count * align * MIB, align * MIB
    assert list(result.regions) == sorted(result.regions)
    assert RangeSet(r[:2] for r in result.regions).size == sum(r.end - r.start for r in result.regions)
    for region in result.regions:
        assert region.start % step == region.end % step == 0
        assert any(f.node == region.node and f.start <= region.start and region.end <= f.end for f in free)
    for node in {f.node for f in free}:
        whole = RangeSet(f[:2] for f in free if f.node == node)
        got = result.by_node.get(node, 0)
        possible = sum(part.align_inward(step).size for part in whole)
        if address:
            wanted = whole.intersect([(base * step, base * step + size)])
            assert got == sum(part.align_inward(step).size for part in wanted)
        else:
            rounded = -(-whole.size // step) * step
            asked = max(0, rounded - size) if mark else min(size, rounded)
            assert got == min(asked, possible)
            assert result.missing.get(node, 0) == asked - got


def test_regions_are_named_tuples_of_start_end_node() -> None:
    assert predicted(big_host(8), "nokaslr dmem=1G@6G").regions == (Region(6 * GIB, 7 * GIB, 0),)
