# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pictures of a layout: true to scale, in 80 columns, and well-formed."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, TIB
from ansible_collections.carveout.memory.plugins.plugin_utils.memory_map import (
    lines,
    map_before,
    node_extent,
    on_node,
    parts,
    type_word,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_svg import layout_svg
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import (
    bar,
    layout_text,
    pool_marks,
    wrap,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan


def make_host(top: int = 12 * GIB, border: int = 8 * GIB) -> Host:
    return Host(
        architecture="x86_64",
        firmware_map=(
            MapEntry(0, 0x9FC00, 1),
            MapEntry(0x9FC00, 0x100000, 2),
            MapEntry(MIB, 3 * GIB, 1),
            MapEntry(3 * GIB, 4 * GIB, 2),
            MapEntry(4 * GIB, top, 1),
        ),
        node_ranges=(NodeRange(0, 0, border), NodeRange(1, border, top)),
        hmat=False,
        firmware_boot="bios",
        kernel_running="6.12.107+deb13-amd64",
        kernel_default="6.12.107+deb13-amd64",
        kernel_config={},
        cmdline="quiet",
        boot_arguments=("quiet",),
        foreign=(),
        committed=None,
        layouts={},
    )


def made(pools: dict[str, Any], host: Host, kernel: str = "1GiB") -> Layout:
    return make_layout(validated_plan({"version": 1, "kernel": {"memory": kernel}, "pools": pools}), host)


POOLS: dict[str, Any] = {
    "guests": {
        "mechanism": "dax",
        "nodes": {"0": "2GiB", "1": "rest"},
        "devices": [
            {"name": "vm-a", "node": 0, "size": "1GiB", "owner": "nobody", "group": "kvm", "mode": "0660"},
            {
                "name": "vm-b",
                "node": 1,
                "extents": [{"offset": "0", "size": "256MiB"}, {"offset": "1GiB", "size": "256MiB"}],
            },
        ],
    },
    "scratch": {"mechanism": "reserved", "nodes": {"1": "256MiB"}},
}
HOST = make_host()
LAYOUT = made(POOLS, HOST)


def test_the_text() -> None:
    text = layout_text(HOST, LAYOUT)
    rows = text.splitlines()
    assert rows[0] == f"layout {LAYOUT.id} for kernel 6.12.107+deb13-amd64"
    assert [f"  {argument}" for argument in LAYOUT.kernel_arguments] == rows[
        3 : 3 + len(LAYOUT.kernel_arguments)
    ]
    assert "  guests         dax       node 0        2GiB  0x100000000 - 0x180000000" in rows
    assert "  scratch        reserved  node 1      256MiB  0x200000000 - 0x210000000" in rows
    assert "  vm-a           node 0        1GiB in 1 extent, align 2MiB, nobody:kvm 0660" in rows
    assert "  vm-b           node 1      512MiB in 2 extents, align 2MiB, root:root 0600" in rows
    (total,) = [row for row in rows if row.startswith("  total")]
    assert total.split() == ["total", "11", "GiB", "6", "GiB", "176", "MiB", "102", "MiB", "74", "MiB"]
    assert all(row == row.rstrip() and len(row) <= 80 for row in rows)
    assert text.isascii()


def test_bars_are_to_scale() -> None:
    rows = [row for row in layout_text(HOST, LAYOUT).splitlines() if "|" in row]
    bars = [row[10:-1] for row in rows]
    assert [len(b) for b in bars] == [64] * 4
    # 8 GiB in 64 cells: 3 GiB of RAM, 1 GiB of firmware, 4 GiB of RAM
    assert bars[0] == "." * 24 + "x" * 8 + "." * 32
    assert bars[1] == "." * 24 + "x" * 8 + "A" * 16 + "." * 16
    assert bars[2] == "." * 64
    # 256 MiB for scratch, 2.75 GiB for guests, 1 GiB for the kernel
    assert bars[3] == "B" * 4 + "A" * 44 + "." * 16


def test_a_pool_may_be_called_like_what_is_not_a_pool() -> None:
    pools = {
        name: {"mechanism": "reserved", "nodes": {"1": "1GiB"}} for name in ("kernel", "firmware", "hole")
    }
    layout = made(pools, HOST)
    assert set(pool_marks(layout).values()) == {"A", "B", "C"}
    last = [row for row in layout_text(HOST, layout).splitlines() if "|" in row][-1]
    assert re.fullmatch(r" +after \|(A{16}|B{16}|C{16}){3}\.{16}\|", last)
    ElementTree.fromstring(layout_svg(HOST, layout))


def test_long_names_and_texts_stay_in_80_columns() -> None:
    name = "a-name-of-a-pool-that-is-as-long-as-names-may-be-which-is-63-xx"
    assert len(name) == 63
    pools = {
        name: {
            "mechanism": "dax",
            "nodes": {"0": "64MiB", "1": "1026MiB"},
            "devices": [
                {"name": f"d{name[1:]}", "node": 1, "size": "1026MiB", "owner": "x" * 32, "group": "y" * 32}
            ],
        }
    }
    host = make_host(9 * TIB, 5 * TIB)
    layout = made(pools, host)
    assert {w.code for w in layout.warnings} == {"kaslr-physical", "sections-shared"}
    text = layout_text(host, layout)
    assert max(map(len, text.splitlines())) <= 80
    for word in (name, f"d{name[1:]}", "x" * 32 + ":" + "y" * 32, "0600", "0x50000000000"):
        assert word in text.split() or f"{word}," in text.split(), word


def test_a_kept_layout_on_a_host_that_got_another_node() -> None:
    host = dataclasses.replace(
        HOST,
        firmware_map=(*HOST.firmware_map, MapEntry(16 * GIB, 20 * GIB, 1)),
        node_ranges=(*HOST.node_ranges, NodeRange(2, 16 * GIB, 20 * GIB)),
    )
    kept = make_layout(validated_plan(LAYOUT.plan), host, LAYOUT)
    assert kept is LAYOUT
    assert "node 2: 4 GiB of RAM between 16 GiB and 20 GiB" in layout_text(host, kept)
    ElementTree.fromstring(layout_svg(host, kept))


@given(
    st.lists(st.integers(0, 2000), min_size=2, max_size=12, unique=True).map(sorted),
    st.integers(0, 2000),
)
def test_every_byte_of_the_map_is_in_one_part(edges: list[int], border: int) -> None:
    entries = [MapEntry(a, b, 1 + n % 4) for n, (a, b) in enumerate(itertools.pairwise(edges)) if n % 5]
    found = parts(entries, None)
    assert [(p.start, p.end) for p in found] == [(e.start, e.end) for e in entries]
    low = on_node(found, RangeSet([(0, border)]))
    high = on_node(found, RangeSet([(border, 4000)]))
    assert sum(p.size for p in low + high) == sum(p.size for p in found)
    if edges:
        cells = bar(found, edges[0], edges[-1] + 1, {})
        assert len(cells) == 64
        assert set(cells) <= {".", "x", " "}


def test_the_parts_of_a_layout() -> None:
    after = parts((MapEntry(*entry) for entry in LAYOUT.predicted_map), LAYOUT)
    assert sum(p.size for p in after) == sum(p.size for p in parts(map_before(HOST), None))
    assert [(p.use, p.device) for p in after if p.start >= 8 * GIB] == [
        ("scratch", ""), ("guests", "vm-b"), ("guests", ""), ("guests", "vm-b"), ("guests", ""), ("(kernel)", ""),
    ]  # fmt: skip
    assert node_extent(HOST, 1) == (8 * GIB, 12 * GIB)
    shown = lines(after)
    assert len(shown) == len(after)
    assert any(line.endswith("256MiB  guests: vm-b") for line in shown)
    assert [type_word(kind) for kind in (1, 2, 12, 0xEFFFFFFF, 77)] == [
        "RAM", "reserved", "persistent (legacy)", "soft reserved", "type 77",
    ]  # fmt: skip


def test_wrapping() -> None:
    assert wrap("a bb ccc", "  ", 6) == ["  a bb", "  ccc"]
    assert wrap("toolongaword a", " ", 5) == [" toolongaword", " a"]
    assert wrap("", "  ") == []


SVG = "{http://www.w3.org/2000/svg}"


def test_the_svg() -> None:
    root = ElementTree.fromstring(layout_svg(HOST, LAYOUT))
    assert root.tag == f"{SVG}svg"
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert titles[0] == f"Memory layout {LAYOUT.id}"
    assert any(title.startswith("vm-a: 1GiB at 0x100000000") for title in titles)
    identities = {e.get("id") for e in root.iter(f"{SVG}pattern")}
    fills = {e.get("fill", "") for e in root.iter(f"{SVG}rect")}
    assert {fill[5:-1] for fill in fills if fill.startswith("url(#")} <= identities
    width = float(root.get("width", "0"))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("height") == "34":
            assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width


def test_the_svg_escapes_what_it_is_given() -> None:
    """Names cannot hold such characters; should they once, the picture is still a picture."""
    evil = "<script>&\"'"
    forged = dataclasses.replace(
        LAYOUT,
        reservations=tuple(dataclasses.replace(r, pool=evil) for r in LAYOUT.reservations),
        devices=tuple(dataclasses.replace(d, name=evil, pool=evil) for d in LAYOUT.devices),
    )
    root = ElementTree.fromstring(layout_svg(HOST, forged))
    assert not list(root.iter(f"{SVG}script"))
    assert any(evil in (e.text or "") for e in root.iter())


@pytest.mark.parametrize("kernel", ["0", "10%", "3GiB"])
@settings(max_examples=30)
@given(
    size=st.integers(1, 4096).map(lambda n: f"{2 * n}MiB"),
    count=st.integers(1, 40),
    top=st.integers(12, 4000).map(lambda n: n * GIB + n * MIB),
)
def test_any_layout_can_be_drawn(kernel: str, size: str, count: int, top: int) -> None:
    host = make_host(top)
    nodes = {"1": "rest"} if count == 1 else {"1": size}
    pools = {f"p{n}": {"mechanism": "reserved", "nodes": nodes} for n in range(count)}
    try:
        layout = made(pools, host, kernel)
    except NotPossible:
        return
    text = layout_text(host, layout)
    assert max(map(len, text.splitlines())) <= 80
    ElementTree.fromstring(layout_svg(host, layout))
