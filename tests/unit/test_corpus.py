# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hundreds of real machines: their logs read, their memory predicted, plans made for them and drawn."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import predict
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import (
    GIB,
    MIB,
    PAGE,
    align_down,
    align_up,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_svg import layout_svg
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

LOW = 4 * GIB
ROWS = 419
#: Debian's, and one of every kind: plans are for the kernel that boots next, not for the logged one.
KERNEL = "6.12.107"


def log_of(row: dict[str, Any]) -> str:
    """The lines of the kernel's log that the row was taken from."""
    lines = [f"Linux version {row['kernel'] or KERNEL} (gcc)", f"Command line: {row['memory_args']}"]
    lines += [f"BIOS-e820: [mem {a:#018x}-{b:#018x}] {kind}" for a, b, kind in row["firmware_map"]]
    lines += ["efi: EFI v2.7 by firmware"] if row.get("efi") else []
    lines += row.get("srat", [])
    lines += [f"  node {node:3}: [mem {a:#018x}-{b:#018x}]" for node, a, b in row.get("nodes", [])]
    return "".join(f"[    0.000000] {line}\n" for line in lines)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def corpus(shared_data: Path) -> list[tuple[dict[str, Any], Host]]:
    rows = rows_of(shared_data / "firmware_maps.jsonl")
    assert len(rows) == ROWS
    return [(row, host_from_dmesg(log_of(row))) for row in rows]


def test_every_log_is_read(corpus: list[tuple[dict[str, Any], Host]]) -> None:
    for row, host in corpus:
        wanted = sorted((a, b + 1, log_type(words)) for a, b, words in row["firmware_map"])
        assert [tuple(entry) for entry in host.firmware_map] == wanted, row["id"]
        assert host.usable.subtract((r.start, r.end) for r in host.node_ranges).size == 0, row["id"]
        assert host.cmdline == row["memory_args"] and host.kernel == (row["kernel"] or KERNEL)


@pytest.mark.parametrize("name", ["kernel_maps.jsonl"])
def test_maps_that_kernels_printed(shared_data: Path, name: str) -> None:
    """The map after memmap= and mem= as real kernels printed it, entry for entry."""
    rows = rows_of(shared_data / name)
    assert len(rows) == 6
    for row in rows:
        host = host_from_dmesg(log_of(row))
        found = [tuple(entry) for entry in predict(host, host.foreign_tokens).kernel_map]
        assert found == [(a, b + 1, log_type(words)) for a, b, words in row["kernel_map"]], row["id"]


#: Logs whose early node ranges do not follow from what the row has, each with the reason.
LOG_TELLS_LESS = {
    "024b7674f307": "numa=fake=2 is built into that kernel",
    "2f70a1f35858": "the row lacks memmap=48G!4G (its twin in kernel_maps.jsonl has it)",
    "3b68b22dc3ab": "the log lacks the map's last lines",
    "4afd61ec7cab": "an Android kernel that takes 1 MiB at 5 MiB for itself",
    "704060314c40": "the row lacks two memmap=!, as the holes of whole GiB tell",
    "76b6326e7e56": "the row lacks memmap=2G!4G, as the hole tells",
    "8cb6cd9c6b51": "the log lacks most of the map",
    "a66dacf6d8eb": "the row lacks memmap=1G!4G, as the hole tells",
    "a8668733a9ab": "the row lacks three memmap=!, as the holes of whole GiB tell",
    "b0bac366d68e": "a page of ACPI data became RAM, which no argument and no map tells",
    "b0fbf187a4f4": "5.10.13 has page 0 as RAM: x86/setup of 5.10.11 to 5.10.14, reverted then",
    "bd5ba0553be3": "the log lacks the map's second line",
    "d5805b45edb1": "the log lacks the map's first lines",
    "eefca865e005": "the row lacks mem=4G",
}


def test_ram_that_kernels_found(corpus: list[tuple[dict[str, Any], Host]]) -> None:
    """The "Early memory node ranges" of real kernels are the RAM that is predicted, page for page."""
    compared, different = 0, set()
    for row, host in corpus:
        if not row["nodes"]:
            continue
        compared += 1
        real = {
            node: RangeSet((a, b + 1) for n, a, b in row["nodes"] if n == node)
            for node in {n for n, _, _ in row["nodes"]}
        }
        try:
            found = predict(host, host.foreign_tokens)
        except NotPossible as error:
            assert error.problems[0].code == "does-not-boot" and row["id"] in NOT_BOOTING, row["id"]
            different.add(row["id"])
            continue
        ram = RangeSet((start, end) for start, end, kind in found.iomem if kind == "System RAM")
        nodes = {node: memory.ram for node, memory in found.nodes.items() if memory.ram}
        same = ram.align_inward(PAGE) == RangeSet(r for spans in real.values() for r in spans)
        if not same or nodes != {node: spans.size for node, spans in real.items()}:
            different.add(row["id"])
    assert compared == 398
    assert different == set(LOG_TELLS_LESS)


#: Logs of machines that did boot, but lack so much of the map that the prediction is that they cannot.
NOT_BOOTING = {"8cb6cd9c6b51", "d5805b45edb1"}

#: What a plan may be refused for on a host of the corpus; each says what would work.
CODES = {
    "does-not-fit",
    "nothing-left",
    "size-invalid",
    "kernel-share-too-large",
    "crashkernel-does-not-fit",
    "foreign-argument",
    "foreign-numa-argument",
}


def plan_for(host: Host, what: str) -> tuple[str | dict[str, str], dict[str, Any], list[dict[str, int]]]:
    """What the kernel keeps, the pools, and what to avoid."""
    nodes = [str(node) for node in host.nodes]
    last = nodes[-1]
    largest = max(host.node_usable(int(last)), key=lambda part: part.size)
    bad = align_down(largest.start + largest.size // 2, PAGE)
    devices = [
        {"name": "d1", "node": int(last), "size": "256MiB"},
        {"name": "d2", "node": int(last), "size": "64MiB"},
    ]
    plans: dict[str, tuple[str | dict[str, str], dict[str, Any], list[dict[str, int]]]] = {
        "everything": ("10%", {"a": {"mechanism": "dax", "nodes": dict.fromkeys(nodes, "rest")}}, []),
        "large pages": (
            "2GiB",
            {"a": {"mechanism": "dax", "align": "1GiB", "nodes": dict.fromkeys(nodes, "rest")}},
            [],
        ),
        "shares": (
            "25%",
            {
                "a": {"mechanism": "dax", "nodes": dict.fromkeys(nodes, "20%")},
                "b": {"mechanism": "reserved", "align": "4KiB", "nodes": dict.fromkeys(nodes, "5%")},
                "c": {"mechanism": "dax", "align": "1GiB", "nodes": {last: "rest"}},
            },
            [],
        ),
        "fixed": (
            {last: "1GiB"},
            {
                "a": {"mechanism": "dax", "nodes": {last: "512MiB"}, "devices": devices},
                "b": {"mechanism": "reserved", "align": "4KiB", "nodes": {last: "68KiB"}},
            },
            [],
        ),
        "reserved": (
            "12.5%",
            {"a": {"mechanism": "reserved", "align": "4KiB", "nodes": dict.fromkeys(nodes, "rest")}},
            [{"start": bad, "size": 3 * PAGE}],
        ),
    }
    return plans[what]


def keep_of(kernel: str | dict[str, str], node: int, usable: int) -> int:
    """``kernel.memory`` in bytes, computed once more."""
    text = kernel.get(str(node), "0GiB") if isinstance(kernel, dict) else kernel
    if text.endswith("%"):
        return min(usable, align_up(int(usable * float(text[:-1]) / 100), 128 * MIB))
    return int(text[:-3]) * GIB


@pytest.mark.parametrize(
    ("what", "least", "align"),
    [
        ("everything", 370, 2 * MIB),
        ("large pages", 360, GIB),
        ("shares", 350, 0),
        ("fixed", 370, 0),
        ("reserved", 370, 0),
    ],
)
def test_layouts(corpus: list[tuple[dict[str, Any], Host]], what: str, least: int, align: int) -> None:
    """Inside usable RAM of the node, aligned, above 4 GiB, the most, predicted, kept, and drawn."""
    made, refused = 0, collections.Counter[str]()
    for row, logged in corpus:
        host = dataclasses.replace(logged, kernel_default=KERNEL)
        # some logs lack the first lines of the map: such machines cannot be
        if not host.usable.intersect([(0, LOW)]) or row["id"] in NOT_BOOTING:
            continue
        kernel, pools, avoid = plan_for(host, what)
        plan = validated_plan(
            {
                "version": 1,
                "kernel": {"memory": kernel},
                "pools": pools,
                "avoid": avoid,
                "policy": {"idle_foreign_dax": True},
            }
        )
        try:
            layout = make_layout(plan, host)
        except NotPossible as error:
            assert all(p.message for p in error.problems), row["id"]
            refused.update({p.code for p in error.problems})
            continue
        made += 1
        check(row["id"], host, layout, kernel)
        if align and not row["memory_args"]:
            check_most(row["id"], host, layout, kernel, align)
        check_kept(row["id"], plan, host, layout)
        check_drawn(row["id"], host, layout)
    assert set(refused) <= CODES, refused
    assert made >= least, (made, refused)


def check(row: str, host: Host, layout: Layout, kernel: str | dict[str, str]) -> None:
    taken = RangeSet(r.range for r in layout.reservations)
    assert taken.size == sum(r.range.size for r in layout.reservations), row
    for r in layout.reservations:
        align = max(r.align, 2 * MIB) if r.mechanism == "dax" else r.align
        assert r.start >= LOW and r.start % align == r.end % align == 0, row
        assert host.node_usable(r.node).contains(r.range), row
    for node in {r.node for r in layout.reservations}:
        usable = host.node_usable(node)
        assert usable.subtract(taken).size >= keep_of(kernel, node, usable.size), row
    ram = RangeSet((a, b) for a, b, kind in layout.predicted_map if kind == 1)
    before = predict(host, host.foreign_tokens).kernel_map
    for kind, mechanism in ((1, ""), (2, "reserved"), (0xEFFFFFFF, "dax")):
        was = RangeSet((e.start, e.end) for e in before if e.type == kind)
        now = RangeSet((a, b) for a, b, t in layout.predicted_map if t == kind)
        mine = [r.range for r in layout.reservations if r.mechanism == mechanism]
        assert now == was.subtract(taken).union(mine), row
    assert ram.intersect([(0, LOW)]) == RangeSet((e.start, min(e.end, LOW)) for e in before if e.type == 1), (
        row
    )
    after = predict(host, [*host.foreign_tokens, *layout.kernel_arguments])
    assert tuple(tuple(entry) for entry in after.kernel_map) == layout.predicted_map, row
    assert 0 <= layout.memory.saved <= taken.size // 64 + 4 * MIB * len(layout.reservations), row


def check_most(row: str, host: Host, layout: Layout, kernel: str | dict[str, str], align: int) -> None:
    """An independent bound: what the kernel does not keep, or the aligned blocks there are."""
    for node in host.nodes:
        usable = host.node_usable(node)
        keep = keep_of(kernel, node, usable.size)
        blocks = 0
        for part in usable:
            first, last = align_up(max(part.start, LOW), align), align_down(part.end, align)
            blocks += max(0, last - first)
        got = sum(r.range.size for r in layout.reservations if r.node == node)
        assert got == min(blocks, align_down(usable.size - min(keep, usable.size), align)), row


def check_kept(row: str, plan: Plan, host: Host, layout: Layout) -> None:
    """Through JSON and back, planned again on the host that has it, and kept."""
    data = json.loads(json.dumps(layout.to_json()))
    assert Layout.from_json(data) == layout, row
    after = dataclasses.replace(
        host,
        boot_arguments=(*layout.kernel_arguments, *host.foreign_tokens),
        layouts={layout.id: data},
    )
    assert make_layout(plan, after) == layout, row
    assert make_layout(plan, after, layout) is layout, row


def check_drawn(row: str, host: Host, layout: Layout) -> None:
    text = layout_text(host, layout)
    assert max(map(len, text.splitlines())) <= 80 and text.isascii(), row
    assert ElementTree.fromstring(layout_svg(host, layout)).tag.endswith("svg"), row


@functools.lru_cache(maxsize=1)
def readme() -> str:
    return (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_large_host_of_the_readme(
    checkout: Path,
    corpus: list[tuple[dict[str, Any], Host]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its picture and its text are what the commands print."""
    (row,) = [row for row, _ in corpus if row["id"] == "2c290fa5262d"]
    (tmp_path / "log").write_text(log_of(row), encoding="utf-8")
    assert main(["host", "--dmesg", str(tmp_path / "log")]) == 0
    (tmp_path / "host.json").write_text(capsys.readouterr().out, encoding="utf-8")
    call = ["plan", str(checkout / "plans" / "large.yml"), "--host", str(tmp_path / "host.json"), "--format"]
    assert main([*call, "text"]) == 0
    text = capsys.readouterr().out
    assert f"```\n{text}```" in readme(), text
    assert main([*call, "svg"]) == 0
    assert capsys.readouterr().out == (checkout / "docs" / "large-host.svg").read_text(encoding="utf-8")
