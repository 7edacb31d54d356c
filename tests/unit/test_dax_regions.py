# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DAX regions: the model against what real kernels were seen to make, and plans on hosts with an HMAT."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.acpi import read_srat
from ansible_collections.carveout.memory.plugins.module_utils._host.hmat import Proximity, parse_hmat
from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    RAM,
    SOFT_RESERVED,
    Host,
    MapEntry,
    NodeRange,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.dax_regions import (
    DaxRegions,
    dax_regions,
    ram_buffers,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import read_plan
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.tests.kernel.dax_cases import cases, host_of, predicted

#: Recorded by ``python -m tests.kernel dax --record``.
ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "dax_regions.json").read_text(encoding="utf-8")
)
SRAT = bytes.fromhex(ROWS[0]["srat"])
HMAT = bytes.fromhex(next(row["hmat"] for row in ROWS if row["hmat"]))
NODES = (NodeRange(0, 0, 6 * GIB), NodeRange(1, 6 * GIB, 10 * GIB))
HOST = make_host(
    (MapEntry(0, 640 << 10, RAM), MapEntry(MIB, 3 * GIB, RAM), MapEntry(4 * GIB, 10 * GIB, RAM)),
    NODES,
    hmat=True,
    kernel_running="6.12.117+deb13-amd64",
    kernel_default="",
    cmdline="quiet",
    boot_arguments=("quiet",),
    hmat_targets=(NodeRange(0, 4 * GIB, 6 * GIB), NodeRange(1, 6 * GIB, 10 * GIB)),
)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['kernel'].split('-')[0]}: {row['case']}" for row in ROWS])
def test_what_kernels_were_seen_to_make(row: dict[str, Any]) -> None:
    assert predicted(row) == row["regions"]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['kernel'].split('-')[0]}: {row['case']}" for row in ROWS])
def test_the_map_behind_it(row: dict[str, Any]) -> None:
    host = host_of(row)
    found = apply_arguments(host.firmware_map, split(row["arguments"]), row["kernel"]).entries
    assert [list(entry) for entry in found] == row["kernel_map"]


def test_the_record_is_of_cases_that_can_be_run_again() -> None:
    names = {case.name: case.cmdline for case in cases()}
    assert len(ROWS) > 100
    assert {row["kernel"] for row in ROWS} == {
        "5.10.0-32-amd64", "6.1.0-50-amd64", "6.12.117+deb13-amd64", "7.2.12+deb14-amd64"
    }  # fmt: skip
    assert all(names[row["case"]] == row["arguments"] for row in ROWS)


def regions(cmdline: str, release: str, host: Host = HOST) -> DaxRegions:
    tokens = split(cmdline)
    return dax_regions(apply_arguments(host.firmware_map, tokens, release).entries, host, tokens, release)


def codes(found: DaxRegions) -> list[tuple[str, bool]]:
    return [(warning.code, warning.severe) for warning in found.warnings]


ITEM = "memmap=1G%7G-1+0xefffffff"


@pytest.mark.parametrize(
    ("release", "cmdline", "expected"),
    [
        ("6.12.117", ITEM, [("dax-region-missing", False)]),
        ("7.2.12", ITEM, [("dax-region-over-ram", True)]),
        ("6.1.0", ITEM, []),
        ("6.12.117", f"{ITEM} numa=nohmat", []),
        ("6.12.117", "memmap=2G%6G-1+0xefffffff memmap=2G%8G-1+0xefffffff", [("dax-regions-merged", False)]),
        ("5.10.0", "memmap=4G%6G-1+0xefffffff", [("dax-regions-overlap", True)]),
        ("6.12.117", "memmap=2G%5G-1+0xefffffff numa=nohmat", [("dax-region-spans-nodes", False)]),
        ("6.12.117", "memmap=1023M%7G-1+0xefffffff numa=nohmat", [("dax-region-misaligned", False)]),
        ("7.2.12", "memmap=1022M%7170M-1+0xefffffff numa=nohmat", [("dax-ram-buffer", False)]),
        ("6.12.117", "memmap=1022M%7170M-1+0xefffffff numa=nohmat", []),
        ("6.12.117", f"{ITEM} device_hmem.disable=1", [("dax-no-regions", False)]),
        ("5.4.0", ITEM, [("dax-no-regions", False)]),
    ],
)  # fmt: skip
def test_what_is_said_about_regions(release: str, cmdline: str, expected: list[tuple[str, bool]]) -> None:
    assert codes(regions(cmdline, release)) == expected


@pytest.mark.parametrize(
    ("release", "window", "expected"),
    [
        # inside of a window: 5.10 takes it for claimed
        ("5.10.0", (4, 36), []),
        ("6.1.0", (4, 36), [(7, 8)]),
        ("6.12.117", (4, 36), [(7, 8)]),
        ("7.2.12", (4, 36), [(7, 8)]),
        # half in a window: the line in /proc/iomem, and with it the region, grows over all of it
        ("5.10.0", (7.5, 36), [(7, 36)]),
        ("6.1.0", (7.5, 36), [(7, 36)]),
        ("6.12.117", (7.5, 36), [(7, 36)]),
        ("7.2.12", (7.5, 36), [(7, 8)]),
        # as large as the window: the line that comes last holds the other
        ("5.10.0", (7, 8), [(7, 8)]),
    ],
)
def test_soft_reserved_memory_at_a_bus_s_window(
    release: str, window: tuple[float, float], expected: list[tuple[int, int]]
) -> None:
    """As seen in boots of seeds 1795488579 (case 12) and 20261125 (case 344)."""
    start, end = (int(gib * GIB) for gib in window)
    low = HOST.firmware_map[:2]
    state = {"iomem": [[start, end, "PCI Bus 0000:00", 0]]}
    host = dataclasses.replace(HOST, firmware_map=low, hmat=False, state=state)
    entries = (*low, MapEntry(7 * GIB, 8 * GIB, SOFT_RESERVED))
    found = dax_regions(entries, host, [], release).regions
    assert [(r.start // GIB, r.end // GIB) for r in found] == expected


def test_a_kernel_without_the_driver() -> None:
    host = dataclasses.replace(HOST, kernel_config={"CONFIG_DEV_DAX_HMEM": "n"}, kernel_running="6.12.117")
    assert codes(regions(ITEM, "6.12.117", host)) == [("dax-no-regions", False)]


def test_where_the_kernel_keeps_what_follows_ram() -> None:
    entries = [MapEntry(MIB, 3 * GIB + 2 * MIB, RAM), MapEntry(4 * GIB, 8 * GIB, RAM)]
    assert ram_buffers(entries) == RangeSet([(3 * GIB + 2 * MIB, 3 * GIB + 64 * MIB)])


def planned(pools: dict[str, dict[str, str]], release: str, allow: bool, host: Host = HOST) -> Layout:
    plan = {
        "kernel": {"memory": {"0": "1GiB"}},
        "pools": {name: {"mechanism": "dax", "nodes": nodes} for name, nodes in pools.items()},
        "policy": {"ignore_hmat": allow},
    }
    return make_layout(read_plan(plan), dataclasses.replace(host, kernel_running=release))


PARTS = {"a": {"1": "1GiB"}, "b": {"0": "1GiB", "1": "512MiB"}}


def check_regions(layout: Layout, release: str, host: Host = HOST) -> None:
    """Each reservation is a region of its own, and lies on one node."""
    found = regions(" ".join([*host.foreign_tokens, *layout.kernel_arguments]), release, host)
    assert list(found.regions) == [(r.start, r.end, r.node) for r in layout.reservations]
    for r in layout.reservations:
        assert host.node_span(r.node).contains(r.range)
    soft = [(start, end) for start, end, kind in layout.predicted_map if kind == SOFT_RESERVED]
    assert soft == [(r.start, r.end) for r in layout.reservations]


@pytest.mark.parametrize("release", ["5.10.0", "6.1.0", "6.12.117", "6.18.15", "7.2.12", "7.3.4"])
@pytest.mark.parametrize("hmat", [False, True])
@pytest.mark.parametrize("pools", [PARTS, {"a": {"1": "rest"}}, {"a": {"0": "rest", "1": "rest"}}])
def test_every_reservation_is_a_region_of_one_node(
    release: str, hmat: bool, pools: dict[str, dict[str, str]]
) -> None:
    host = dataclasses.replace(HOST, hmat=hmat)
    check_regions(planned(pools, release, True, host), release, host)


@pytest.mark.parametrize("release", ["6.12.117", "7.2.12"])
def test_parts_of_a_node_take_the_word_of_the_plan(release: str) -> None:
    with pytest.raises(NotPossible) as refused:
        planned(PARTS, release, False)
    assert [(p.path, p.code) for p in refused.value.problems] == [
        ("pools.b.nodes.0", "hmat-regions"), ("pools.a.nodes.1", "hmat-regions"), ("pools.b.nodes.1", "hmat-regions"),
    ]  # fmt: skip
    assert "policy.ignore_hmat: true adds numa=nohmat, at a price" in refused.value.problems[0].message
    layout = planned(PARTS, release, True)
    assert layout.arguments[-1] == "numa=nohmat"
    assert [w.code for w in layout.warnings] == ["hmat-ignored"]


@pytest.mark.parametrize("release", ["6.1.0", "6.12.117", "7.2.12"])
def test_a_whole_node_needs_no_word(release: str) -> None:
    layout = planned({"a": {"1": "rest"}}, release, False)
    assert "numa=nohmat" not in layout.arguments and layout.warnings == ()
    check_regions(layout, release)


def test_two_regions_over_the_same_memory_are_refused() -> None:
    with pytest.raises(NotPossible, match="leave a part of each of the node's ranges to the kernel"):
        planned({"a": {"1": "rest"}}, "5.10.0", False)


def test_numa_nohmat_of_others_counts() -> None:
    host = dataclasses.replace(HOST, boot_arguments=("numa=nohmat",))
    layout = planned(PARTS, "6.12.117", False, host)
    assert "numa=nohmat" not in layout.arguments
    check_regions(layout, "6.12.117", host)


def test_a_layout_is_left_where_another_kernel_makes_other_regions() -> None:
    first = planned(PARTS, "6.1.0", True)
    assert "numa=nohmat" not in first.arguments
    plan = read_plan(dict(first.plan))
    kept = make_layout(plan, dataclasses.replace(HOST, kernel_running="6.1.0"), first)
    assert kept is first
    second = make_layout(plan, dataclasses.replace(HOST, kernel_running="6.12.117"), first)
    assert [r.range for r in second.reservations] == [r.range for r in first.reservations]
    assert "numa=nohmat" in second.arguments
    assert make_layout(plan, dataclasses.replace(HOST, kernel_running="6.12.117"), second) is second


def test_device_hmem_disabled_by_others_is_named() -> None:
    host = dataclasses.replace(HOST, boot_arguments=("device_hmem.disable=1",))
    with pytest.raises(NotPossible, match=r"device_hmem\.disable= is on the command line"):
        planned(PARTS, "6.12.117", True, host)


def test_an_hmat_is_read() -> None:
    found = parse_hmat(HMAT, read_srat(SRAT))
    assert (found.revision, found.proximity, found.ignored) == (2, (Proximity(0, 0), Proximity(1, 0)), "")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"", "this is not an ACPI HMAT table"),
        (SRAT, "this is not an ACPI HMAT table"),
        (HMAT[:60], "it states a length of 120 bytes; 60 are there"),
        (HMAT[:8] + b"\x03" + HMAT[9:], "kernels know revisions 1 and 2, not 3"),
        (HMAT[:44] + bytes(4) + HMAT[48:], "a structure has no length"),
        (HMAT[:44] + b"\x30" + HMAT[45:], "a proximity structure has 48 bytes instead of 40"),
        (HMAT[:40] + b"\x02" + HMAT[41:44] + b"\x10" + HMAT[45:], "a cache structure has only 16 bytes"),
        (HMAT[:40] + b"\x01" + HMAT[41:44] + b"\x10" + HMAT[45:], "a locality structure has only 16 bytes"),
        (HMAT[:40] + b"\x01" + HMAT[41:52] + b"\xff" * 4 + HMAT[56:], "a locality structure has 40 bytes of the"),
    ],
)  # fmt: skip
def test_an_hmat_that_counts_for_nothing(table: bytes, reason: str) -> None:
    assert parse_hmat(table, read_srat(SRAT)).ignored.startswith(reason)
