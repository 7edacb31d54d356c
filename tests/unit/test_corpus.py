# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans on the firmware maps of hundreds of real machines."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._host.nodes import (
    from_early_ranges,
    node_ranges,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, align_down, align_up
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

LOW = 4 * GIB
SRAT = re.compile(r"Node (\d+) PXM \d+ \[mem (\w+)-(\w+)\]")


def host_of(row: dict[str, Any]) -> Host:
    firmware = tuple(MapEntry(a, b + 1, log_type(words) or 0) for a, b, words in row["firmware_map"])
    matches = [match for line in row["srat"] if (match := SRAT.search(line))]
    affinity = [NodeRange(int(m[1]), int(m[2], 16), int(m[3], 16) + 1) for m in matches]
    early = [NodeRange(node, a, b + 1) for node, a, b in row["nodes"]]
    return Host(
        architecture="x86_64",
        firmware_map=firmware,
        node_ranges=node_ranges(affinity, firmware) if affinity else from_early_ranges(early, firmware),
        hmat=False,
        firmware_boot="efi" if row["efi"] else "bios",
        kernel_running=row["kernel"],
        kernel_default="6.12.107",
        kernel_config={},
        cmdline="quiet",
        boot_arguments=None,
        foreign=(),
        committed=None,
        layouts={},
    )


@pytest.fixture(scope="module")
def corpus(shared_data: Path) -> list[tuple[str, Host]]:
    lines = (shared_data / "firmware_maps.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 419
    return [(row["id"], host_of(row)) for row in rows]


def pools_for(host: Host, what: str) -> dict[str, Any]:
    nodes = [str(node) for node in host.nodes]
    return {
        "everything": {"a": {"mechanism": "dax", "nodes": dict.fromkeys(nodes, "rest")}},
        "large pages": {"a": {"mechanism": "dax", "align": "1GiB", "nodes": dict.fromkeys(nodes, "rest")}},
        "shares": {
            "a": {"mechanism": "dax", "nodes": dict.fromkeys(nodes, "20%")},
            "b": {"mechanism": "reserved", "align": "4KiB", "nodes": dict.fromkeys(nodes, "5%")},
            "c": {"mechanism": "dax", "align": "1GiB", "nodes": {nodes[-1]: "rest"}},
        },
    }[what]


@pytest.mark.parametrize(
    ("what", "kernel", "least"),
    [("everything", "10%", 250), ("large pages", "2GiB", 200), ("shares", "25%", 150)],
)
def test_layouts(corpus: list[tuple[str, Host]], what: str, kernel: str, least: int) -> None:
    """Inside usable RAM of the node, aligned, above 4 GiB, the most, and predicted as wanted."""
    made = 0
    for row, host in corpus:
        if not host.nodes:
            continue
        plan = validated_plan(
            {
                "version": 1,
                "kernel": {"memory": kernel},
                "pools": pools_for(host, what),
                "policy": {"idle_foreign_dax": True},
            }
        )
        try:
            layout = make_layout(plan, host)
        except NotPossible as error:
            assert all(p.path and p.message for p in error.problems), row
            continue
        made += 1
        check(row, host, layout)
        if what != "shares":
            check_most(row, host, layout, {"everything": 2 * MIB, "large pages": GIB}[what], kernel)
        after = dataclasses.replace(
            host,
            boot_arguments=(*layout.kernel_arguments, "quiet"),
            layouts={layout.id: json.loads(json.dumps(layout.to_json()))},
        )
        assert make_layout(plan, after) == layout, row
        assert make_layout(plan, after, layout) is layout, row
    assert made >= least


def check(row: str, host: Host, layout: Layout) -> None:
    taken = [r.range for r in layout.reservations]
    assert RangeSet(taken).size == sum(r.size for r in taken), row
    for r in layout.reservations:
        align = max(r.align, 2 * MIB) if r.mechanism == "dax" else r.align
        assert r.start >= LOW and r.start % align == r.end % align == 0, row
        assert host.node_usable(r.node).contains(r.range), row
    before = apply_arguments(host.firmware_map, ["quiet"]).entries
    for kind, mechanism in ((1, ""), (2, "reserved"), (0xEFFFFFFF, "dax")):
        was = RangeSet((e.start, e.end) for e in before if e.type == kind)
        now = RangeSet((a, b) for a, b, t in layout.predicted_map if t == kind)
        mine = [r.range for r in layout.reservations if r.mechanism == mechanism]
        assert now == was.subtract(taken).union(mine), row
    assert 0 <= layout.memory.saved <= sum(r.size for r in taken) // 64 + 4 * MIB * len(taken), row


def check_most(row: str, host: Host, layout: Layout, align: int, kernel: str) -> None:
    """An independent bound: what the kernel does not keep, or the aligned blocks there are."""
    for node in host.nodes:
        usable = host.node_usable(node)
        keep = align_up(usable.size // 10, 128 * MIB) if kernel == "10%" else 2 * GIB
        blocks = 0
        for part in usable:
            first, last = align_up(max(part.start, LOW), align), align_down(part.end, align)
            blocks += max(0, last - first)
        got = sum(r.range.size for r in layout.reservations if r.node == node)
        assert got == min(blocks, align_down(usable.size - min(keep, usable.size), align)), row
