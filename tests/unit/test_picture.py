# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pictures of a layout: true to scale, in 80 columns, and well-formed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, TIB
from ansible_collections.carveout.memory.plugins.plugin_utils.memory_map import (
    FIRMWARE,
    KERNEL,
    LOST,
    lines,
    lost,
    map_before,
    node_extent,
    parts,
    type_word,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_legend import legend
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_scale import (
    SEVERAL,
    node_maps,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_svg import layout_svg
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import (
    layout_text,
    pool_marks,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_yaml import load_plan


def two_nodes(top: int = 12 * GIB, border: int = 8 * GIB) -> Host:
    return make_host(
        (
            MapEntry(0, 0x9FC00, 1),
            MapEntry(0x9FC00, 0x100000, 2),
            MapEntry(MIB, 3 * GIB, 1),
            MapEntry(3 * GIB, 4 * GIB, 2),
            MapEntry(4 * GIB, top, 1),
        ),
        (NodeRange(0, 0, border), NodeRange(1, border, top)),
        kernel_running="6.12.107+deb13-amd64",
        kernel_default="6.12.107+deb13-amd64",
        cmdline="quiet",
        boot_arguments=("quiet",),
    )


#: The lab's virtual host as QEMU and its firmware make it.
LAB = dataclasses.replace(
    two_nodes(),
    firmware_map=tuple(
        MapEntry(*entry)
        for entry in (
            (0, 0x9FC00, 1),
            (0x9FC00, 0xA0000, 2),
            (0xF0000, 0x100000, 2),
            (0x100000, 0xBFFDD000, 1),
            (0xBFFDD000, 0xC0000000, 2),
            (0xFFFC0000, 4 * GIB, 2),
            (4 * GIB, 10 * GIB, 1),
            (0xFD00000000, TIB, 2),
        )
    ),
    node_ranges=(
        NodeRange(0, 0, 0xA0000),
        NodeRange(0, MIB, 3 * GIB),
        NodeRange(0, 4 * GIB, 6 * GIB),
        NodeRange(1, 6 * GIB, 10 * GIB),
    ),
    kernel_default="6.12.117+deb13-amd64",
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
HOST = two_nodes()
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
    assert "  1   vm-a       node 0        1GiB in 1 extent, align 2MiB, nobody:kvm 0660" in rows
    assert "  2   vm-b       node 1      512MiB in 2 extents, align 2MiB, root:root 0600" in rows
    (total,) = [row for row in rows if row.startswith("  total")]
    assert total.split() == ["total", "11", "GiB", "6", "GiB", "176", "MiB", "102", "MiB", "74", "MiB"]
    assert all(row == row.rstrip() and len(row) <= 80 for row in rows)
    assert text.isascii()


def bars(host: Host, layout: Layout) -> list[str]:
    rows = [row for row in layout_text(host, layout).splitlines() if row.endswith("|")]
    assert all(len(row) == 78 for row in rows)
    return [row[9:-1] for row in rows]


def test_the_lab_of_the_readme(checkout: Path) -> None:
    plan = load_plan((checkout / "plans" / "lab.yml").read_text(encoding="utf-8"), "lab.yml")
    layout = make_layout(validated_plan(plan), LAB)
    text = layout_text(LAB, layout)
    assert f"```\n{text}```" in (checkout / "README.md").read_text(encoding="utf-8"), text
    assert layout_svg(LAB, layout) == (checkout / "docs" / "lab.svg").read_text(encoding="utf-8")


def test_bars_are_to_scale() -> None:
    """A cell is 8 GiB / 68 on node 0, 4 GiB / 68 on node 1; what is below 1 MiB is not drawn."""
    assert bars(HOST, LAYOUT) == [
        "." * 25 + "x" * 9 + "." * 34,
        # 3 GiB of RAM, 1 GiB of firmware; 1 of 2 GiB of guests have a device
        "." * 25 + "x" * 9 + "A" * 8 + "a" * 9 + "." * 17,
        " " * 34 + "--vm-a--" + " " * 26,
        "." * 68,
        # 256 MiB for scratch, 2.75 GiB for guests with two extents of 256 MiB, 1 GiB for the kernel
        "B" * 4 + "A" * 5 + "a" * 12 + "A" * 5 + "a" * 25 + "." * 17,
        " " * 4 + "-vm-b" + " " * 12 + "=vm-b" + " " * 42,
    ]


def test_the_legend_counts_every_byte() -> None:
    rows = {(row.use, row.idle): (row.before, row.after) for row in legend(node_maps(HOST, LAYOUT), LAYOUT)}
    assert rows == {
        (KERNEL, False): (LAYOUT.memory.kernel_before, LAYOUT.memory.kernel_after),
        (FIRMWARE, False): (GIB + 385 * 1024, GIB + 385 * 1024),
        ("guests", False): (0, 1536 * MIB),
        ("guests", True): (0, 3328 * MIB),
        ("scratch", False): (0, 256 * MIB),
    }


def test_what_is_lost_to_holes_and_aligns() -> None:
    """A hole splits the node, and large pages leave crumbs on both sides of it."""
    host = dataclasses.replace(
        HOST,
        firmware_map=(
            *HOST.firmware_map[:-1],
            MapEntry(4 * GIB, 9 * GIB + 300 * MIB, 1),
            MapEntry(9 * GIB + 400 * MIB, 12 * GIB + 5 * MIB, 1),
        ),
        node_ranges=(NodeRange(0, 0, 8 * GIB), NodeRange(1, 8 * GIB, 13 * GIB)),
    )
    pools = {"a": {"mechanism": "dax", "align": "1GiB", "nodes": {"1": "rest"}}}
    layout = made(pools, host, "512MiB")
    crumbs = [
        (9 * GIB, 9 * GIB + 300 * MIB),
        (9 * GIB + 400 * MIB, 10 * GIB),
        (12 * GIB, 12 * GIB + 5 * MIB),
    ]
    assert [tuple(r) for r in lost(host, layout, 1)] == crumbs
    assert not lost(host, layout, 0)
    (row,) = [row for row in legend(node_maps(host, layout), layout) if row.use == LOST]
    assert (row.before, row.after) == (0, 929 * MIB)
    # a column is 59 MiB: the last crumb has one though it is smaller
    last = bars(host, layout)[-1]
    assert re.fullmatch(r"A{16,17}!{5} !{10,11}A{33,35}!", last.replace("  ", " ")), last
    assert "lost" in layout_svg(host, layout)
    # smaller pages can use most of it
    pools["b"] = {"mechanism": "reserved", "align": "4KiB", "nodes": {"1": "4KiB"}}
    assert not lost(host, made(pools, host, "512MiB"), 1)
    avoid = {"version": 1, "kernel": {"memory": "512MiB"}, "pools": {"a": pools["a"]},
             "avoid": [{"start": crumbs[0][0], "size": 300 * MIB}]}  # fmt: skip
    assert [tuple(r) for r in lost(host, make_layout(validated_plan(avoid), host), 1)] == crumbs[1:]


def test_a_pool_may_be_called_like_what_is_not_a_pool() -> None:
    pools = {
        name: {"mechanism": "reserved", "nodes": {"1": "1GiB"}} for name in ("kernel", "firmware", "hole")
    }
    layout = made(pools, HOST)
    assert set(pool_marks(layout).values()) == {"A", "B", "C"}
    assert bars(HOST, layout)[-1] == "A" * 17 + "B" * 17 + "C" * 17 + "." * 17
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
    host = two_nodes(9 * TIB, 5 * TIB)
    layout = made(pools, host)
    assert {w.code for w in layout.warnings} == {"kaslr-physical", "sections-shared"}
    text = layout_text(host, dataclasses.replace(layout, kernel="6.12-" + 123 * "x"))
    assert max(map(len, text.splitlines())) <= 80
    for word in (name, f"d{name[1:]}", "x" * 32 + ":" + "y" * 32, "0600", "0x50000000000"):
        assert word in text.split() or f"{word}," in text.split(), word


def test_a_layout_on_a_host_that_got_another_node_since() -> None:
    host = dataclasses.replace(
        HOST,
        firmware_map=(*HOST.firmware_map, MapEntry(16 * GIB, 20 * GIB, 1)),
        node_ranges=(*HOST.node_ranges, NodeRange(2, 16 * GIB, 20 * GIB)),
    )
    assert "node 2: 4 GiB of RAM from 16 GiB to 20 GiB, 60.24 MiB a column\n before |...." in layout_text(
        host, LAYOUT
    )
    ElementTree.fromstring(layout_svg(host, LAYOUT))


def test_a_node_with_large_holes_is_not_all_hole() -> None:
    """128 GiB at 6 TiB behind 64 GiB: the hole is torn out, and what is there stays to scale."""
    host = dataclasses.replace(
        HOST,
        firmware_map=(
            *HOST.firmware_map[:-1],
            MapEntry(4 * GIB, 64 * GIB, 1),
            MapEntry(6 * TIB, 6 * TIB + 128 * GIB, 1),
        ),
        node_ranges=(NodeRange(0, 0, 7 * TIB),),
    )
    layout = made({"a": {"mechanism": "dax", "nodes": {"0": "rest"}}}, host)
    before, after = bars(host, layout)
    assert re.fullmatch(r"\.x\.{20}//\.{44}", before)
    assert re.fullmatch(r"\.xA{20}//A{43,44}\.?", after)
    assert "// leaves out 5.94 TiB" in " ".join(layout_text(host, layout).split())
    assert "Where a bar is torn" in layout_svg(host, layout)


def test_interleaved_nodes() -> None:
    """Each node shows its own memory only."""
    host = dataclasses.replace(
        HOST,
        firmware_map=(*HOST.firmware_map[:-1], MapEntry(4 * GIB, 68 * GIB, 1)),
        node_ranges=(
            NodeRange(0, 0, 4 * GIB),
            *(NodeRange(n % 2, (4 + 8 * n) * GIB, (12 + 8 * n) * GIB) for n in range(8)),
        ),
    )
    layout = made({"a": {"mechanism": "reserved", "nodes": {"0": "rest", "1": "16GiB"}}}, host)
    first, _, second, after = bars(host, layout)
    assert re.fullmatch(r"\.{5}xx?(\.{13,14}//){3}\.{13,14}", first), first
    assert re.fullmatch(r"(\.{15,16}//){3}\.{15,16}", second), second
    assert re.fullmatch(r"(A{15,16}//){2}\.{15,16}//\.{15,16}", after), after


@pytest.mark.parametrize(("count", "drawn"), [(8, True), (64, False)])
def test_many_devices(count: int, drawn: bool) -> None:
    """Each has a name or number, or all are drawn as one; the picture lists what it does not name."""
    host = two_nodes(268 * GIB)
    wanted = [{"name": f"a-long-name-of-a-device-{n}", "node": 1, "size": "3GiB"} for n in range(count)]
    layout = made({"a": {"mechanism": "dax", "nodes": {"1": "rest"}, "devices": wanted}}, host)
    row = bars(host, layout)[-1]
    assert (SEVERAL in row) is not drawn
    if drawn:
        assert re.sub("[-= ]", "", row) == "12345678"[: len(re.sub("[-= ]", "", row))]
    text = layout_svg(host, layout)
    for number, device in enumerate(wanted, 1):
        assert f">{number} {device['name']}: node 1, 3GiB<" in text
    hints = {e.text for e in ElementTree.fromstring(text).iter(f"{SVG}title")}
    assert all(any(f"a, {d['name']}: 3GiB" in (hint or "") for hint in hints) for d in wanted)


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


SVG = "{http://www.w3.org/2000/svg}"


def test_the_svg() -> None:
    text = layout_svg(HOST, LAYOUT)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert titles[0] == f"Memory layout {LAYOUT.id}, before and after"
    assert "guests, vm-a: 1GiB from 0x100000000" in titles
    assert "kernel: 11 GiB before, 6 GiB after" in next(root.iter(f"{SVG}desc")).text  # type: ignore[operator]
    labelled = root.get("aria-labelledby", "").split()
    assert [e.get("id") for e in root if e.get("id")] == labelled == ["title", "desc"]
    identities = {e.get("id") for e in root.iter(f"{SVG}pattern")}
    fills = {e.get("fill", "") for e in root.iter(f"{SVG}rect")}
    assert {fill[5:-1] for fill in fills if fill.startswith("url(#")} <= identities
    width = float(root.get("width", "0"))
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width
    # the address of the SVG language is the only one in it
    assert re.findall(r"[a-z]+://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


def test_words_stay_inside_of_the_svg() -> None:
    name = "a" * 63
    pools = {name: {**POOLS["guests"], "devices": [{"name": "b" * 63, "node": 1, "size": "256MiB"}]}}
    root = ElementTree.fromstring(layout_svg(HOST, made(pools, HOST)))
    for text in root.iter(f"{SVG}text"):
        size = 0.6 * float(text.get("font-size", "0")) * len(text.text or "")
        left = {"start": 0.0, "middle": size / 2, "end": size}[text.get("text-anchor", "")]
        x = float(text.get("x", "0")) - left
        assert x >= 0 and x + size <= 900, text.text


def test_patterns_tell_pools_apart_without_colours() -> None:
    patterns = {
        p.get("id"): p for p in ElementTree.fromstring(layout_svg(HOST, LAYOUT)).iter(f"{SVG}pattern")
    }
    strokes = {
        name: ElementTree.tostring(next(iter(pattern.iter(f"{SVG}g"))))
        for name, pattern in patterns.items()
        if not (name or "").endswith("i") and name != "kernel"
    }
    assert len(strokes) == 8 and len(set(strokes.values())) == 8


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
    host = two_nodes(top)
    nodes = {"1": "rest"} if count == 1 else {"1": size}
    pools = {f"p{n}": {"mechanism": "reserved", "nodes": nodes} for n in range(count)}
    try:
        layout = made(pools, host, kernel)
    except NotPossible:
        return
    text = layout_text(host, layout)
    assert max(map(len, text.splitlines())) <= 80
    ElementTree.fromstring(layout_svg(host, layout))
