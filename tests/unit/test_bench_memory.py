# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memory benchmark: the model still says what the record holds, the README shows the record, targets are held."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.bench.memory_predict import expected
from ansible_collections.carveout.memory.bench.memory_rows import BASELINE, ROWS, tokens_of
from ansible_collections.carveout.memory.bench.memory_table import (
    RECORD,
    RECORDED,
    RECORDED_BASELINE,
    lines,
    misses,
    table,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, PAGE

ROOT = Path(__file__).resolve().parents[2]
#: The machine's map, as 6.12 printed it on q35 with 320 GiB.
FIRMWARE = (
    MapEntry(0, 0x9FC00, 1),
    MapEntry(0x9FC00, 0xA0000, 2),
    MapEntry(0xF0000, 0x100000, 2),
    MapEntry(0x100000, 0x7FFDF000, 1),
    MapEntry(0x7FFDF000, 0x80000000, 2),
    MapEntry(4 * GIB, 322 * GIB, 1),
)
NODES = (
    NodeRange(0, 0, 0xA0000),
    NodeRange(0, 0x100000, 2 * GIB),
    NodeRange(0, 4 * GIB, 162 * GIB),
    NodeRange(1, 162 * GIB, 322 * GIB),
)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def host(record: dict[str, Any]) -> Host:
    return make_host(
        FIRMWARE,
        NODES,
        kernel_running=record["kernel"],
        kernel_default=record["kernel"],
        cmdline="",
    )


def test_the_readme_has_the_table_of_the_record(record: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{table(record)}\n" in readme, "put there what `python -m bench.memory --table` prints"
    assert record["kernel"] in readme and f"QEMU {record['qemu']}" in readme


def test_every_row_is_in_the_record_and_every_target_is_reached(record: dict[str, Any]) -> None:
    assert [row["key"] for row in record["rows"]] == [row.key for row in ROWS]
    assert misses(record) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_the_model_says_today_what_the_record_was_held_against(
    record: dict[str, Any], host: Host, row: Any
) -> None:
    kept = next(found for found in record["rows"] if found["key"] == row.key)
    assert vars(expected(row, host, kept["seen"]["memory_block"])) == kept["predicted"]
    if row is not BASELINE:
        # a layout's ID tells its planner's version too
        words = [[w for w in text if not w.startswith("carveout.layout=")]
                 for text in (tokens_of(row, host), kept["arguments"].split())]  # fmt: skip
        assert words[0] == words[1]


def _changed(record: dict[str, Any], key: str, **seen: int) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    row = next(row for row in changed["rows"] if row["key"] == key)
    row["seen"].update({name: row["seen"][name] + more for name, more in seen.items()})
    return changed


def test_a_target_that_is_missed_is_told(record: dict[str, Any]) -> None:
    carved_pages = 304 * GIB // PAGE // 64
    few, many = carved_pages // 2000, carved_pages // 500
    assert misses(_changed(record, "dax-2m", memmap_pages=few)) == []
    assert [m.partition(":")[0] for m in misses(_changed(record, "dax-2m", memmap_pages=many))] == ["dax-2m"]
    idle = misses(_changed(record, "dax-idle", memmap_boot_pages=many))
    assert [m.split()[0] for m in idle] == ["dax-idle:"] * 2
    assert "MemTotal" in misses(_changed(record, "kmem", mem_total=GIB // 10))[0]


def test_what_a_line_works_out(record: dict[str, Any]) -> None:
    found = {line.key: line for line in lines(record)}
    line = replace(found["dax-2m"], given=3 * GIB, given_predicted=3 * GIB + 3, theory=4 * GIB)
    assert (line.share, line.given_off) == (0.75, 3 / (3 * GIB))
    nothing = replace(line, given=0, given_predicted=GIB)
    assert nothing.given_off == 0.25, "of what is carved, where nothing is given back"
    on_device = found["pmem-2m-dev"]
    assert on_device.on_device == 304 * GIB // 64 and on_device.given == on_device.theory


def test_what_was_recorded_with_dmemfs() -> None:
    """One region: MemTotal told the struct pages to 44 KiB. All but 16 GiB: smaller hash tables come on top."""
    one, split = (row.mem_total + row.taken - RECORDED_BASELINE for row in RECORDED)
    assert one - RECORDED[0].taken // 64 == 44 << 10
    assert split / (RECORDED[1].taken / 64) == pytest.approx(1.0346, abs=1e-4)
