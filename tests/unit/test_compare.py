# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan --compare``: the figures, what is lost, what this host cannot do, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._planner.compare import (
    Comparison,
    PoolTable,
    Row,
    compare,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.ways import WAYS
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main
from ansible_collections.carveout.memory.plugins.plugin_utils.compare_text import comparison_text

#: 320 GiB on two nodes; 152 GiB of each are for tenants, and describing those takes 4.75 GiB.
HOST = make_host(
    [(0, 3 * GIB, 1), (4 * GIB, 321 * GIB, 1)],
    [(0, 0, 3 * GIB), (0, 4 * GIB, 161 * GIB), (1, 161 * GIB, 321 * GIB)],
)
GUESTS: dict[str, Any] = {"mechanism": "dax", "nodes": {"0": "152GiB", "1": "152GiB"}, "align": "1GiB"}
FULL = 304 * GIB // 64
#: 1 GiB pages keep 2 of 4096 pages of struct pages with device-DAX, 1 with HugeTLB.
DAX_1G = FULL - 304 * 2 * 4 * KIB
HVO_1G = FULL - 304 * 4 * KIB


def compared(pools: dict[str, Any], guest: int = 4 * GIB, **more: Any) -> Comparison:
    return compare(make_plan("8GiB", pools), dataclasses.replace(HOST, **more), guest)


def table_of(found: Comparison, pool: str) -> PoolTable:
    (table,) = [table for table in found.tables if table.pool == pool]
    return table


def row_of(table: PoolTable, label: str) -> Row:
    (row,) = [row for row in table.rows if row.way.label == label]
    return row


def possible(table: PoolTable) -> list[Row]:
    return [row for row in table.rows if not row.problems]


def test_320_gib() -> None:
    """As booted for the table of the README."""
    found = compared({"guests": GUESTS})
    assert found.without == 5 * GIB
    (table,) = found.tables
    assert (table.pool, table.pages, table.way) == ("guests", (GIB,), "dax")
    assert [row.way for row in table.rows] == list(WAYS)
    saved = {row.way.label: row.saved for row in table.rows}
    assert saved["dax"] == DAX_1G
    assert saved["hugetlb"] == 0
    assert saved["hugetlb optimised"] == HVO_1G
    assert saved["reserved"] == FULL
    assert [row.way.label for row in table.rows if row.problems] == ["dmemfs"]
    # as the README's table of real boots has it: the first GiB of each namespace, or a 64th for struct pages
    sizes = {"pmem": 302 * GIB, "pmem map: dev": 2 * (152 * GIB - 3 * GIB)}
    assert saved["pmem"] == DAX_1G and saved["pmem map: dev"] == FULL
    for row in possible(table):
        assert (row.size, row.left) == (sizes.get(row.way.label, 304 * GIB), 5 * GIB - row.saved)
        assert row.guests == 2 * (row.size // GIB // 2 // 4)
        assert row.more == row.saved // (4 * GIB)
    assert "no struct pages are given back" in row_of(table, "hugetlb").lost
    assert "only whole blocks of 2GiB can go back" in " ".join(row_of(table, "dax").lost)


@pytest.mark.parametrize(("align", "saved"), [("4KiB", 0), ("2MiB", FULL * 3 // 4), ("1GiB", DAX_1G)])
def test_page_sizes(align: str, saved: int) -> None:
    table = compared({"guests": {**GUESTS, "align": align}}).tables[0]
    assert row_of(table, "dax").saved == saved
    huge = row_of(table, "hugetlb optimised")
    if align == "4KiB":
        assert "not a size of huge pages" in huge.problems[0].message
    else:
        assert huge.saved == {"2MiB": FULL * 7 // 8, "1GiB": HVO_1G}[align]


def test_rest_is_what_another_mechanism_would_get() -> None:
    table = compared({"guests": {"mechanism": "dax", "nodes": {"0": "rest", "1": "rest"}}}).tables[0]
    assert {row.size for row in possible(table) if not row.way.whole} == {304 * GIB}
    assert row_of(table, "pmem").size == 304 * GIB - 2 * 2 * MIB, "two info blocks"


def test_devices_and_mounts_that_a_mechanism_lacks() -> None:
    device = {"name": "vm-a", "node": 0, "size": "rest"}
    mount = {"path": "/mnt/a"}
    found = compared(
        {
            "a": {"mechanism": "dax", "nodes": {"0": "8GiB"}, "devices": [device]},
            "b": {"mechanism": "hugetlb", "nodes": {"1": "8GiB"}, "mounts": [mount]},
        }
    )
    lost = {
        (t.pool, r.way.label): "the plan's" in " ".join(r.lost) for t in found.tables for r in possible(t)
    }
    assert lost == {
        ("a", "dax"): False, ("a", "hugetlb"): True, ("a", "hugetlb optimised"): True, ("a", "reserved"): True,
        ("a", "pmem"): False, ("a", "pmem map: dev"): False, ("b", "pmem"): True, ("b", "pmem map: dev"): True,
        ("b", "dax"): True, ("b", "hugetlb"): False, ("b", "hugetlb optimised"): False, ("b", "reserved"): True,
    }  # fmt: skip
    assert [table.way for table in found.tables] == ["dax", "hugetlb"]


def test_other_pools_stay_as_planned() -> None:
    """What an optimised pool makes the host do counts for the others too, and is not theirs."""
    found = compared(
        {
            "a": {"mechanism": "hugetlb", "nodes": {"0": "8GiB"}, "optimize_vmemmap": True},
            "b": {"mechanism": "auto", "nodes": {"1": "8GiB"}},
        }
    )
    assert [table.way for table in found.tables] == ["hugetlb optimised", "hugetlb"], "auto sees it too"
    other = table_of(found, "b")
    assert row_of(other, "hugetlb").saved == row_of(other, "hugetlb optimised").saved == 112 * MIB
    assert row_of(other, "dax").saved == 96 * MIB
    assert row_of(other, "dax").left == found.without - (112 + 96) * MIB


def test_what_this_host_cannot_do() -> None:
    found = compared({"guests": GUESTS}, kernel_config={"CONFIG_DEV_DAX": "n", "CONFIG_HUGETLBFS": "y"})
    (table,) = found.tables
    assert table.way == ""
    assert "CONFIG_DEV_DAX" in found.problems[0].message
    assert "CONFIG_DEV_DAX" in row_of(table, "dax").problems[0].message
    assert row_of(table, "reserved").saved == FULL
    with pytest.raises(NotPossible, match="x86_64 only"):
        compared({"guests": GUESTS}, architecture="aarch64")


def test_text() -> None:
    for found in (
        compared({"guests": GUESTS, "more": {"mechanism": "auto", "nodes": {"0": "1GiB"}, "align": "4KiB"}}),
        compared({"guests": GUESTS}, kernel_config={"CONFIG_DEV_DAX": "n"}),
    ):
        lines = comparison_text(found).splitlines()
        assert max(map(len, lines)) < 80
        assert not [line for line in lines if line != line.rstrip()]
    text = comparison_text(compared({"guests": GUESTS}))
    assert "\n* dax                      304 GiB    258.38 MiB      4.75 GiB      76      1\n" in text
    assert "\n  hugetlb                  304 GiB" in text


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "host.json").write_text(json.dumps(host_to_json(HOST)))
    (tmp_path / "plan.yml").write_text(
        json.dumps({"version": 1, "kernel": {"memory": "8GiB"}, "pools": {"guests": GUESTS}})
    )
    return ["plan", str(tmp_path / "plan.yml"), "--host", str(tmp_path / "host.json")]


def test_the_command(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files, "--compare"]) == 0
    assert "of 4GiB, in what tenants get" in capsys.readouterr().out
    assert main([*files, "--compare", "--guest", "256MiB", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["guest"] == 256 * MIB
    assert answer["problems"] == []
    (table,) = answer["pools"]
    assert [row["way"] for row in table["rows"]] == [way.label for way in WAYS]
    assert table["rows"][0]["more_guests"] == DAX_1G // (256 * MIB)
    assert main([*files, "--compare", "--kernel", "5.4.0"]) == 3
    assert "the plan as it is cannot be carried out here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--guest", "4GiB"], "--guest is for --compare"),
        (["--compare", "--guest", "4"], "less than 1MiB"),
        (["--compare", "--guest", "much"], "much"),
        (["--compare", "--format", "svg"], "with --format text or json"),
    ],
)
def test_wrong_usage(
    files: list[str], more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*files, *more])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_dmemfs() -> None:
    """Its bitmaps are what is left: of 120 GiB 3.75 MiB for 4 KiB and 7.5 KiB for 2 MiB, in powers of two."""
    guests = {"mechanism": "dax", "nodes": {"0": "120GiB", "1": "120GiB"}}
    plan = make_plan("8GiB", {"guests": guests}, policy={"transparent_huge_pages": "never"})
    config = {"CONFIG_DMEM": "y", "CONFIG_DMEM_FS": "y", "CONFIG_HUGETLBFS": "y"}
    host = dataclasses.replace(HOST, kernel_default="5.4.119", kernel_running="5.4.119", kernel_config=config)
    (table,) = compare(plan, host, 4 * GIB).tables
    row = row_of(table, "dmemfs")
    assert (row.size, row.guests) == (240 * GIB, 60)
    assert row.saved == 240 * GIB // 64 - 2 * (4 * MIB + 8 * KIB)
    assert row.left == 5 * GIB - row.saved
