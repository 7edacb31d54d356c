# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Predictions: what stock kernels did in QEMU, rules by hand, and any command line at all."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import (
    Table,
    apply_arguments,
    table_limit,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.iomem import IomemRange
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import Prediction, predict
from ansible_collections.carveout.memory.plugins.module_utils._model.windows import expanded, top_level
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB, TIB
from ansible_collections.carveout.memory.plugins.plugin_utils.prediction_text import prediction_text

SOFT = 0xEFFFFFFF
#: QEMU's "pc" with 3 GiB on node 0 and 5 GiB on node 1.
FIRMWARE = (
    MapEntry(0, 0x9FC00, 1),
    MapEntry(0x9FC00, 0xA0000, 2),
    MapEntry(0xF0000, MIB, 2),
    MapEntry(MIB, 0xBFFE0000, 1),
    MapEntry(0xBFFE0000, 3 * GIB, 2),
    MapEntry(0xFFFC0000, 4 * GIB, 2),
    MapEntry(4 * GIB, 9 * GIB, 1),
    MapEntry(0xFD00000000, TIB, 2),
)
HOST = make_host(
    FIRMWARE,
    (NodeRange(0, 0, 640 * KIB), NodeRange(0, MIB, 3 * GIB), NodeRange(1, 4 * GIB, 9 * GIB)),
    kernel_running="6.12.117+deb13-amd64",
    kernel_default="6.12.117+deb13-amd64",
    kernel_config={"CONFIG_NODES_SHIFT": "10", "CONFIG_DEV_DAX_HMEM": "m"},
    cmdline="quiet",
)
OLD, NEW = "6.12.117", "7.2.12"


def line(cmdline: str, release: str = OLD, host: Host = HOST) -> Prediction:
    return predict(host, split(cmdline), release)


def high(prediction: Prediction) -> list[tuple[float, float, str]]:
    """/proc/iomem from 4 GiB to 1012 GiB, in GiB."""
    return [(s / GIB, e / GIB, name) for s, e, name in prediction.iomem if 4 * GIB <= s < 1000 * GIB]


def codes(prediction: Prediction) -> set[str]:
    return {warning.code for warning in prediction.warnings}


# ----------------------------------------------------------------------------------- as kernels did it


def test_iomem_without_arguments() -> None:
    assert line("quiet").iomem == (
        (0, 0x1000, "Reserved"),
        (0x1000, 0x9FC00, "System RAM"),
        (0x9FC00, 0xA0000, "Reserved"),
        (0xF0000, MIB, "Reserved"),
        (MIB, 0xBFFE0000, "System RAM"),
        (0xBFFE0000, 3 * GIB, "Reserved"),
        (0xFFFC0000, 4 * GIB, "Reserved"),
        (4 * GIB, 9 * GIB, "System RAM"),
        (0xFD00000000, TIB, "Reserved"),
    )


def test_nodes_without_arguments() -> None:
    """The sums of "present" in /proc/zoneinfo."""
    assert {node: memory.ram for node, memory in line("quiet").nodes.items()} == {
        0: 3220692992,
        1: 5368709120,
    }


@pytest.mark.parametrize(
    ("cmdline", "release", "wanted"),
    [
        (
            "memmap=1G!5G",
            OLD,
            [(4, 5, "System RAM"), (5, 6, "Persistent Memory (legacy)"), (6, 9, "System RAM")],
        ),
        ("memmap=1G#5G", OLD, [(4, 5, "System RAM"), (5, 6, "ACPI Tables"), (6, 9, "System RAM")]),
        ("memmap=5G%4G-1+4", OLD, [(4, 9, "ACPI Non-volatile Storage")]),
        ("memmap=5G%4G-1+5", OLD, [(4, 9, "Unusable memory")]),
        ("memmap=5G%4G-1+7", OLD, [(4, 9, "Persistent Memory")]),
        ("memmap=5G%4G-1+77", OLD, [(4, 9, "Unknown E820 type")]),
        ("memmap=5G%4G-1+0xefffffff", OLD, [(4, 9, "Soft Reserved")]),
        ("memmap=5G%4G-1+0xefffffff", NEW, []),
        # what a boot loader handed over is RAM, but a line of its own, until 7.x
        ("memmap=1G%5G-1+128", OLD, [(4, 5, "System RAM"), (5, 6, "System RAM"), (6, 9, "System RAM")]),
        (
            "memmap=1G%5G-1+128",
            NEW,
            [(4, 5, "System RAM"), (5, 6, "Unknown E820 type"), (6, 9, "System RAM")],
        ),
        ("mem=6G", OLD, [(4, 6, "System RAM")]),
        ("memmap=1G$16G", OLD, [(4, 9, "System RAM"), (16, 17, "Reserved")]),
    ],
)
def test_names_of_types(cmdline: str, release: str, wanted: list[tuple[float, float, str]]) -> None:
    assert high(line(cmdline, release)) == wanted


def test_soft_reserved_below_one_mib_is_always_shown() -> None:
    for release in (OLD, NEW):
        lines = line("memmap=64K%0x10000-1+0xefffffff", release).iomem
        assert (0x10000, 0x20000, "Soft Reserved") in lines


def test_odd_borders_stay_in_iomem_and_cost_nodes_whole_pages() -> None:
    prediction = line("memmap=0x12345%0x150000123-1+2")
    assert (0x150000123, 0x150012468, "Reserved") in prediction.iomem
    assert prediction.nodes[1].ram == 5 * GIB - 0x13000


def test_the_first_page_and_the_bios_are_never_ram() -> None:
    lines = line("memmap=exactmap memmap=2G@0,5G@4G").iomem
    assert lines[:3] == (
        (0, 0x1000, "Reserved"),
        (0x1000, 0xA0000, "System RAM"),
        (MIB, 2 * GIB, "System RAM"),
    )


def test_what_the_processor_cannot_address_is_not_shown() -> None:
    for cmdline in ("memmap=1G%1T+5", "memmap=1G!2T"):
        prediction = line(cmdline)
        assert all(part.end <= TIB for part in prediction.iomem)
        assert prediction.kernel_map[-1].end > TIB
        assert "address-width" in codes(prediction)


def test_numbers_past_64_bits() -> None:
    """A number that wraps to 1 before 7.x, and a suffix that stands alone."""
    wraps, alone = "memmap=18446744073709551617G%5G-1+2", "memmap=K$5G"
    assert high(line(wraps, OLD))[1] == (5, 6, "Reserved")
    assert high(line(wraps, NEW)) == [(4, 5, "System RAM"), (5, 9, "Reserved")]
    assert line(alone, OLD).ignored_arguments == ()
    assert [i.argument for i in line(alone, NEW).ignored_arguments] == [alone]
    for release in (OLD, NEW):
        assert line(alone, release).kernel_map == FIRMWARE


# ------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize("argument", ["numa=off", "numa=noacpi"])
def test_one_node(argument: str) -> None:
    assert set(line(argument).nodes) == {0}


def test_acpi_tables_above_all_ram_count_as_its_end() -> None:
    """What lies below them is in reach then, as in the boots of seed 20261127, case 434; 6.1 dies of it."""
    below, tables = "memmap=512M%7G-1+0x80", "memmap=1536M%7680M-1+3"
    assert line(f"{below} {tables}", "6.12.117").nodes[1].ram == 3584 * MIB
    assert line(f"{below} memmap=1536M%7680M-1+2", "6.12.117").nodes[1].ram == 3 * GIB
    assert line(f"{below} {tables}", "7.2.12").nodes[1].ram == 3 * GIB
    with pytest.raises(NotPossible, match="no node's"):
        line(f"{below} {tables}", "6.1.0-50-amd64")


def test_a_carved_node_is_gone() -> None:
    assert set(line("memmap=5G%4G-1+0xefffffff").nodes) == {0}


def test_ram_in_a_hole_of_a_node_is_the_nodes() -> None:
    """numa_cleanup_meminfo joins the ranges of a node over the hole between them."""
    host = dataclasses.replace(HOST, node_ranges=(NodeRange(0, 0, MIB), NodeRange(0, 3 * GIB, 9 * GIB)))
    prediction = line("quiet", host=host)
    assert set(prediction.nodes) == {0}
    assert codes(prediction) == set()
    assert prediction.nodes[0].ram == 3220692992 + 5 * GIB


def test_ram_without_a_node() -> None:
    """With 1 GiB more the kernel takes the host as one node (seen on 6.12); with a little it dies."""
    prediction = line("memmap=1G@3G")
    assert set(prediction.nodes) == {0}
    assert {"nodes", "may-not-boot"} <= codes(prediction)
    assert set(line("memmap=1M@3G", "5.10.0-32-amd64").nodes) == {0}
    with pytest.raises(NotPossible, match="free_area_init"):
        line("memmap=1M@3G", OLD)


# ------------------------------------------------------------------------------- what does not boot


@pytest.mark.parametrize(
    ("cmdline", "word"),
    [
        ("memmap=1G%5G-1+1", "BUG_ON"),
        ("memmap=exactmap memmap=2G@1M", "Invalid user supplied memory map"),
        ("memmap=1M$0", "Real mode trampoline"),
        ("memmap=3G%0-1+2", "Real mode trampoline"),
        ("memmap=624K%0-1+2", "Real mode trampoline"),
        ("memmap=616K%0-1+2", "Real mode trampoline"),
        ("mem=64M", "do not fit"),
        ("memmap=1G@16G", "where the firmware says there is nothing"),
        ("memmap=256M@0x280000000", "where the firmware says there is nothing"),
        ("memmap=4K@0x250000000", "no node's"),
        ("memmap=1G@2T", "where the firmware says there is nothing"),
        ("memmap=64K@3G", "no node's"),
    ],
)
def test_lines_that_kernels_died_of(cmdline: str, word: str) -> None:
    with pytest.raises(NotPossible, match=word) as caught:
        line(cmdline)
    assert [problem.code for problem in caught.value.problems] == ["does-not-boot"]
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("cmdline", "warned"),
    [
        ("memmap=608K%0-1+2", set()),
        ("memmap=64K%0-1+2", set()),
        ("memmap=3071M%1M-1+2 nokaslr", {"kernel-place"}),
        ("memmap=64M$16M nokaslr", {"kernel-place"}),
        ("memmap=64M$80M nokaslr", set()),
        ("mem=96M", {"may-not-boot"}),
        ("memmap=16M@0xfec00000", {"may-not-boot", "nodes"}),
    ],
)
def test_lines_that_kernels_survived(cmdline: str, warned: set[str]) -> None:
    assert codes(line(cmdline)) == warned


def test_what_the_firmware_lacks_is_not_held_against_the_line() -> None:
    """A log without its first lines, a kernel for crashes: such hosts are seen, and they run."""
    host = dataclasses.replace(
        HOST, firmware_map=(MapEntry(MIB, 33 * MIB, 1), MapEntry(40 * MIB, 41 * MIB, 2))
    )
    assert line("quiet", host=host).kernel_map == host.firmware_map
    with pytest.raises(NotPossible):
        line("memmap=exactmap", host=host)


# ------------------------------------------------------------------------------------ limits of the kernel


def test_a_full_table_takes_nothing_more() -> None:
    assert table_limit({"CONFIG_NODES_SHIFT": "6"}) == 320
    assert table_limit({}) == table_limit({"CONFIG_NODES_SHIFT": "?"}) == 3200
    table = Table(FIRMWARE, 9)
    table.add(0, 1, 2)
    table.add(0, 1, 2)
    assert table.overflowed
    narrow = apply_arguments(FIRMWARE, ["memmap=1G$5G"], OLD, 9)
    assert narrow.overflowed
    # a list of 300 items does not fit one of 320 ranges: each splits RAM in two
    many = "memmap=" + ",".join(f"4K${0x140000 + 8 * i}K" for i in range(160))
    host = dataclasses.replace(HOST, kernel_config={"CONFIG_NODES_SHIFT": "6"})
    assert "table-full" in codes(line(many, host=host))
    assert "table-full" not in codes(line(many))


def test_a_line_too_long_is_cut() -> None:
    padding = "x" * 2040
    prediction = line(f"{padding} memmap=1G$512M memmap=1G$7G")
    assert "command-line-too-long" in codes(prediction)
    # of an argument that is cut what is left counts as it stands
    assert prediction.command_line == f"{padding} memmap"
    ignored = [i.argument for i in prediction.ignored_arguments]
    assert ignored == ["memmap", "memmap=1G$512M", "memmap=1G$7G"]
    assert prediction.kernel_map == FIRMWARE
    with pytest.raises(NotPossible, match="trampoline"):
        line(f"{padding[6:]} memmap=1G$512M")
    prediction = line(f"{padding[6:]} memmap=1G$5G")
    assert prediction.command_line.endswith(" memmap=1G$5G")
    assert codes(prediction) == set()


# ------------------------------------------------------------------------------------------- PCI windows


def test_reserved_ranges_grow_over_windows() -> None:
    window = Range(3 * GIB, 0xFEC00000)
    lines = [IomemRange(MIB, 3 * GIB, "System RAM"), IomemRange(0xF0000000, 0xFFFC0000, "Reserved")]
    assert expanded(lines, [window])[1] == (3 * GIB, 0xFFFC0000, "Reserved")
    inside = IomemRange(0xD0000000, 0xD1000000, "Reserved")
    assert top_level(expanded([inside], [window]), [window]) == ()
    same = IomemRange(*window, "Reserved")
    assert top_level(expanded([same], [window]), [window]) == (same,)


def test_windows_of_the_running_host_count() -> None:
    state = {"iomem": [[3 * GIB, 0xFEC00000, "PCI Bus 0000:00", 0]]}
    host = dataclasses.replace(HOST, state=state)
    assert (3 * GIB, 0xFFFC0000, "Persistent Memory (legacy)") in line(
        "memmap=1G!0xf0000000", host=host
    ).iomem


def test_tables_of_uefi_firmware_are_reserved_again() -> None:
    """What the running kernel shows reserved in its RAM; the page is still one of the node."""
    page = [5 * GIB, 5 * GIB + 0x1000, "Reserved", 0]
    state = {"iomem": [page, [6 * GIB, 7 * GIB, "Reserved", 0], [4 * GIB, 4 * GIB + 0x1000, "Reserved", 1]]}
    host = dataclasses.replace(HOST, state=state, firmware_boot="efi", cmdline="memmap=1G$6G")
    prediction = line("quiet", host=host)
    assert high(prediction) == [
        (4, 5, "System RAM"),
        (5, 5 + 0x1000 / GIB, "Reserved"),
        (5 + 0x1000 / GIB, 9, "System RAM"),
    ]
    assert prediction.nodes[1].ram == 5 * GIB
    assert high(line("memmap=1G%5G-1+12", host=host))[1] == (5, 6, "Persistent Memory (legacy)")
    for other in ({"firmware_boot": "bios"}, {"cmdline": "memmap=exactmap"}):
        assert high(line("quiet", host=dataclasses.replace(host, **other))) == [(4, 9, "System RAM")]


# ------------------------------------------------------------------------------------------ what is printed


def test_json() -> None:
    tokens = "memmap=1G%5G-1+0xefffffff hugepagesz=1G hugepages=1:2 crashkernel=256M memmap=what nokaslr"
    data: dict[str, Any] = json.loads(json.dumps(line(tokens).to_json()))
    assert data["kernel"] == OLD
    assert data["command_line"] == tokens
    assert [5 * GIB, 6 * GIB, SOFT] in data["kernel_map"]
    assert [5 * GIB, 6 * GIB, "Soft Reserved"] in data["iomem"]
    assert data["dax_regions"] == [[5 * GIB, 6 * GIB, 1]]
    assert data["dmem_regions"] == []
    assert data["hugepages"]["1"]["1073741824"] == 2
    assert data["crashkernel"] == {"low": 256 * MIB, "high": 0}
    assert data["kaslr"]["verdict"] == "not_randomised"
    assert data["nodes"]["1"] == {"ram": 4 * GIB, "struct_pages": 64 * MIB}
    assert data["ignored_arguments"] == [{"argument": "memmap=what", "reason": "no size stands at its start"}]
    assert {warning["code"] for warning in data["warnings"]} <= {"hugepages-tight", "crashkernel-tight"}


def test_text() -> None:
    text = list(
        prediction_text(line("memmap=1G%5G-1+0xefffffff hugepages=8 crashkernel=512M mem=what memmap=1G!2T"))
    )
    assert max(map(len, text)) <= 80
    assert "  000140000000-00017fffffff        1 GiB  Soft Reserved" in text
    assert "  mem=what: it gives no size" in text
    for title in ("nodes", "DAX regions", "crashkernel", "KASLR", "ignored arguments", "warnings"):
        assert title in text


# ------------------------------------------------------------------------------------- any line at all

NUMBERS = st.one_of(
    st.sampled_from(
        ["", "0", "1", "0x", "K", "4K", "1M", "64M", "1G", "3G", "5G", "16G", "1T", "07777", "20E"]
    ),
    st.integers(0, 10 * GIB).map(hex),
    st.integers(0, 1 << 66).map(str),
)
TYPES = st.sampled_from(["0", "1", "2", "3", "7", "12", "77", "128", "0xefffffff", "0x100000001", "x", ""])
ITEMS = st.one_of(
    st.builds("{}{}{}".format, NUMBERS, st.sampled_from("@#$!"), NUMBERS),
    st.builds("{}%{}-{}+{}".format, NUMBERS, NUMBERS, TYPES, TYPES),
    st.builds("{}%{}{}{}".format, NUMBERS, NUMBERS, st.sampled_from(["+", "-", ""]), TYPES),
    st.sampled_from(["exactmap", "exact", "", "1G@"]),
    NUMBERS,
)
NAMES = ["mem", "dmem", "hugepages", "hugepagesz", "crashkernel", "numa", "hugetlb_cma", "default_hugepagesz"]
ARGUMENTS = st.one_of(
    st.lists(ITEMS, min_size=1, max_size=5).map(lambda items: "memmap=" + ",".join(items)),
    st.builds("{}={}".format, st.sampled_from(NAMES), st.one_of(NUMBERS, ITEMS, st.text(max_size=8))),
    st.sampled_from(["--", "nokaslr", "quiet", "numa=off", "numa=fake=4", "mem", "memmap", "dmem=!1G:1G"]),
    st.text(max_size=20),
)
RELEASES = st.sampled_from(["5.10.0-32-amd64", "5.4.119", "6.1.0-50-amd64", OLD, NEW, "", "what"])


@given(st.lists(ARGUMENTS, max_size=8).map(" ".join), RELEASES)
def test_any_line_is_predicted_or_refused(cmdline: str, release: str) -> None:
    try:
        prediction = predict(HOST, split(cmdline), release)
    except CarveoutError as error:
        assert {problem.code for problem in error.problems} == {"does-not-boot"}
        return
    json.dumps(prediction.to_json())
    assert list(prediction_text(prediction))
    for ranges in (prediction.kernel_map, prediction.iomem):
        assert list(ranges) == sorted(ranges)
        assert all(part.start < part.end for part in ranges)
        assert all(one.end <= two.start for one, two in itertools.pairwise(ranges))
