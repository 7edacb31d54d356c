# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host from the text of its kernel log."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

#: What the data's words, of either wording, mean.
NUMBERS = {
    "usable": 1,
    "System RAM": 1,
    "reserved": 2,
    "device reserved": 2,
    "ACPI data": 3,
    "ACPI": 3,
    "ACPI NVS": 4,
    "unusable": 5,
    "persistent (type 7)": 7,
    "persistent (type 12)": 12,
    "type 20": 20,
    "soft reserved": 0xEFFFFFFF,
}
OLD = {
    1: "usable", 2: "reserved", 3: "ACPI data", 4: "ACPI NVS", 5: "unusable", 7: "persistent (type 7)",
    12: "persistent (type 12)", 0xEFFFFFFF: "soft reserved",
}  # fmt: skip
NEW = {
    **OLD, 1: "System RAM", 2: "device reserved", 7: "persistent RAM (type 7)", 12: "persistent RAM (type 12)"
}  # fmt: skip


def map_lines(entries: list[list[Any]], new: bool) -> list[str]:
    """The lines of a map of ``[first, last, type number]`` as kernels up to 6.x or from 7.0 on print it."""
    lines = ["BIOS-provided physical RAM map:"]
    previous = 0
    for first, last, kind in entries:
        if new and first > previous:
            lines.append(f"BIOS-e820: [gap {previous:#018x}-{first - 1:#018x}]")
        words = (NEW if new else OLD).get(kind, f"type {kind}")
        lines.append(f"BIOS-e820: [mem {first:#018x}-{last:#018x}] {' ' * new}{words}")
        previous = last + 1
    return lines


def as_dmesg(row: dict[str, Any], new: bool, cmdline: str) -> str:
    """A row of the data as the log of its boot."""
    lines = []
    if row["kernel"]:
        lines.append(f"Linux version {row['kernel']} (builder@host) (gcc 12) #1 SMP PREEMPT_DYNAMIC")
    lines.append(f"Command line: {cmdline}")
    lines += map_lines([[a, b, NUMBERS[t]] for a, b, t in row["firmware_map"]], new)
    if row.get("efi"):
        lines.append("efi: EFI v2.7 by American Megatrends")
    lines += row.get("srat", [])
    lines.append("Early memory node ranges")
    lines += [f"  node {node:3}: [mem {a:#018x}-{b:#018x}]" for node, a, b in row.get("nodes", [])]
    return "".join(f"[    0.{i:06}] {line}\n" for i, line in enumerate(lines))


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("new", [False, True], ids=["up to 6.x", "7.x"])
@pytest.mark.parametrize(("name", "count"), [("firmware_maps.jsonl", 419), ("kernel_maps.jsonl", 6)])
def test_every_row_of_the_data(shared_data: Path, name: str, count: int, new: bool) -> None:
    rows = read_rows(shared_data / name)
    assert len(rows) == count
    several_nodes = one_node = 0
    for row in rows:
        cmdline = f"BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro {row['memory_args']}".strip()
        host = host_from_dmesg(as_dmesg(row, new, cmdline))
        assert host.firmware_map == tuple(
            MapEntry(a, b + 1, NUMBERS[t]) for a, b, t in row["firmware_map"]
        ), row["id"]
        assert host.kernel_running == row["kernel"]
        assert host.cmdline == cmdline
        assert host.firmware_boot == ("efi" if row.get("efi") else "bios")
        assert host.boot_arguments is None
        matches = [re.search(r"Node (\d+) PXM \d+ \[mem (\w+)-(\w+)\]", s) for s in row.get("srat", [])]
        srat = [NodeRange(int(m[1]), int(m[2], 16), int(m[3], 16) + 1) for m in matches if m]
        if srat:
            assert sorted(host.node_ranges, key=lambda r: r.start) == sorted(srat, key=lambda r: r.start), (
                row["id"]
            )
        several_nodes += len(host.nodes) > 1
        numbers = {node for node, _, _ in row.get("nodes", [])}
        if not srat and len(numbers) > 1:
            assert set(host.nodes) == numbers
            for node, first, last in row["nodes"]:
                assert host.node_span(node).contains(Range(first, last + 1)), row["id"]
        if not srat and len(numbers) < 2:
            assert host.node_ranges == (NodeRange(0, 0, host.firmware_map[-1].end),)
            one_node += 1
        assert host_from_json(json.loads(json.dumps(host_to_json(host)))) == host
    if name == "firmware_maps.jsonl":
        assert (several_nodes, one_node) == (37, 371)


def test_the_captured_hosts(shared_data: Path) -> None:
    for captured in json.loads((shared_data / "dmemfs_hosts.json").read_text()):
        host = host_from_dmesg(captured["files"]["dmesg"])
        assert host.kernel_running == "5.4.119-19"
        assert host.cmdline == captured["files"]["/proc/cmdline"].strip()
        assert host.nodes == [0, 1]
        assert [host.node_span(n).size for n in host.nodes] == [(8 << 30) - 0x60000, 4 << 30]


SMALL = [[0, 0x9FBFF, 1], [0x9FC00, 0x9FFFF, 2], [0x100000, 0x7FFFFFFF, 1], [0x100000000, 0x1FFFFFFFF, 1]]
SMALL_MAP = tuple(MapEntry(a, b + 1, t) for a, b, t in SMALL)
SMALL_LINES = [
    "Linux version 6.12.107+deb13-amd64 (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-14) #1",
    "Command line: BOOT_IMAGE=/vmlinuz root=UUID=1 memmap=1G%5G-1+0xefffffff quiet",
    *map_lines(SMALL, False),
    "efi: EFI v2.7 by EDK II",
    "ACPI: SRAT 0x000000007FFE22E4 0000F0 (v01 BOCHS  BXPC     00000001 BXPC 00000001)",
    "ACPI: HMAT 0x000000007FFE23E4 000118 (v02 BOCHS  BXPC     00000001 BXPC 00000001)",
    "ACPI: Reserving SRAT table memory at [mem 0x7ffe22e4-0x7ffe23d3]",
    "SRAT: PXM 0 -> APIC 0x00 -> Node 0",
    "ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x0009ffff]",
    "ACPI: SRAT: Node 0 PXM 0 [mem 0x00100000-0x7fffffff]",
    "ACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x1ffffffff] hotplug",
    "ACPI: SRAT: Node 2 PXM 3 [mem 0x200000000-0x2ffffffff] non-volatile",
    "Kernel command line: something=else",
]


def small(mark: str = "") -> str:
    return "".join(f"{mark}{line}\n" for line in SMALL_LINES)


@pytest.mark.parametrize(
    "mark",
    [
        "",
        "[    0.000000] ",
        "<6>[    0.000000] ",
        "[    0.000000][    T0] ",
        "[Mon Nov 23 20:49:35 2026] ",
        "Nov 23 20:49:35 host-1 kernel: ",
        "2026-11-23T20:49:35.123456+01:00 host kernel: [    0.000000] ",
        "kern  :info  : [    0.000000] ",
        "\x1b[32m[    0.000000] \x1b[0m\x1b[33m",
    ],
)
def test_prefixes(mark: str) -> None:
    host = host_from_dmesg(small(mark))
    assert host.firmware_map == SMALL_MAP
    assert host.node_ranges == (
        NodeRange(0, 0, 0xA0000),
        NodeRange(0, 0x100000, 0x80000000),
        NodeRange(1, 0x100000000, 0x200000000),
        NodeRange(2, 0x200000000, 0x300000000),
    )
    assert host.nodes == [0, 1]
    assert host.kernel == "6.12.107+deb13-amd64"
    assert host.cmdline == "BOOT_IMAGE=/vmlinuz root=UUID=1 memmap=1G%5G-1+0xefffffff quiet"
    assert host.foreign_tokens == host.cmdline.split()
    assert host.firmware_boot == "efi"
    assert host.hmat and host.hmat_targets == host.node_ranges
    assert host.state == {}


def test_carriage_returns_and_blanks_at_the_end() -> None:
    assert host_from_dmesg(small().replace("\n", "  \r\n")).firmware_map == SMALL_MAP


def test_the_last_boot_counts() -> None:
    other = "Linux version 5.10.0 (x)\n" + "\n".join(map_lines([[0, 0x7FFFFFFF, 1]], False)) + "\n"
    assert host_from_dmesg(other + small()).firmware_map == SMALL_MAP
    assert host_from_dmesg(small() + other).hmat is False
    assert host_from_dmesg(small() + other).kernel == "5.10.0"


def test_lines_printed_twice_count_once() -> None:
    lines = "".join(f"{line}\n{line}\n" for line in SMALL_LINES[1:])
    assert host_from_dmesg(SMALL_LINES[0] + "\n" + lines).firmware_map == SMALL_MAP


def test_a_map_inside_the_command_line_is_none() -> None:
    text = small().replace("quiet", "x=BIOS-e820: [mem 0x0-0xfff] usable ACPI: HMAT 0x1 ")
    assert host_from_dmesg(text).firmware_map == SMALL_MAP


def test_the_kernels_command_line_where_the_first_is_lost() -> None:
    text = small().replace("Command line: BOOT_IMAGE", "garbled BOOT_IMAGE", 1)
    assert host_from_dmesg(text).cmdline == "something=else"


def test_old_wording_of_srat_lines() -> None:
    assert host_from_dmesg(small().replace("ACPI: SRAT: Node", "SRAT: Node")).nodes == [0, 1]


@pytest.mark.parametrize(
    ("found", "becomes"),
    [
        ("0x100000000-0x1ffffffff] hotplug", "0x0-0x1ffffffff]"),  # node 1 claims what node 0 has
        ("0x100000000-0x1ffffffff] hotplug", "0x140000000-0x1ffffffff]"),  # 1 GiB belongs to no node
    ],
)
def test_a_srat_that_the_kernel_drops(found: str, becomes: str) -> None:
    text = small().replace(found, becomes)
    assert text != small()
    assert host_from_dmesg(text).node_ranges == (NodeRange(0, 0, 0x200000000),)


def test_three_pages_may_belong_to_no_node() -> None:
    text = small().replace("0x100000000-0x1ffffffff] hotplug", "0x100003000-0x1ffffffff]")
    assert host_from_dmesg(text).nodes == [0, 1]


def test_early_ranges_keep_gaps_with_their_node() -> None:
    """A carved range is missing from "Early memory node ranges"; it still belongs to its node."""
    early = [
        "  node   0: [mem 0x0000000000001000-0x000000000009efff]",
        "  node   0: [mem 0x0000000000100000-0x000000007fffffff]",
        "  node   1: [mem 0x0000000100000000-0x000000011fffffff]",
        "  node   1: [mem 0x0000000160000000-0x000000017fffffff]",
    ]
    lines = [line for line in SMALL_LINES if "SRAT: Node" not in line]
    host = host_from_dmesg("\n".join(lines + early))
    assert host.node_ranges == (NodeRange(0, 0, 0x80000000), NodeRange(1, 0x100000000, 0x200000000))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "dmesg-no-map"),
        ("Linux version 6.12.1 (x)\nCommand line: quiet\n", "dmesg-no-map"),
        ("BIOS-e820: [mem 0x0-0xfff] marvellous", "dmesg-line"),
        ("BIOS-e820: [mem 0x0-0xfffffffffffffffff] usable", "dmesg-line"),
        ("BIOS-e820: nonsense", "dmesg-line"),
        ("BIOS-e820: [mem 0x0-0xfff] type 0", "dmesg-line"),
        ("BIOS-e820: [mem 0x0-0xfff] type 4294967296", "dmesg-line"),
        ("BIOS-e820: [mem 0x2000-0xfff] usable", "map-invalid"),
        ("BIOS-e820: [mem 0x0-0x1fff] usable\nBIOS-e820: [mem 0x1000-0x2fff] reserved", "map-overlap"),
        ("BIOS-e820: [mem 0x0-0xfff] usable\n" * 6401, "map-too-long"),
        ("\n".join(f"BIOS-e820: [mem {i:#x}-{i:#x}] usable" for i in range(3201)), "map-too-long"),
        (small() + "ACPI: SRAT: Node 1 PXM 1 [mem 0x2000-0xfff]", "dmesg-line"),
        (small() + "ACPI: SRAT: Node 1 PXM 1 [mem 0x2000-0x2fff]\n" * 4096, "dmesg-line"),
    ],
)
def test_bad_logs(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        host_from_dmesg(text)
    assert [problem.code for problem in caught.value.problems] == [code]
    assert len(str(caught.value)) < 400


def test_control_characters_do_not_get_through() -> None:
    host = host_from_dmesg("Command line: a=\x1b]0;x\x07 \udcff\n" + "\n".join(SMALL_LINES[2:]))
    assert host.cmdline == "a=\\x1b]0;x\\x07 \\xff"
