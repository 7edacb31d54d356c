# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a record of the memory benchmark to the README's table, and to what was not reached: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB, PAGE, STRUCT_PAGE

#: What `make bench-memory` writes, and the README's table is made from.
RECORD = Path(__file__).with_name("records") / "memory.json"

#: Rows that are to give back nearly all struct pages of what they carve, and how much that is.
_NEARLY_ALL = ("reserved", "dax-idle", "dax-1g")
_SHARE = 0.999
#: How far predictions may be off: struct pages given back, of themselves; MemTotal, of the struct pages carved.
_STRUCT_PAGES_OFF = 0.001
_MEM_TOTAL_OFF = 0.02


@dataclass(frozen=True)
class Recorded:
    """A boot that nothing here can repeat, as no public package has such a kernel: bytes.

    ``taken``: RAM that the arguments took from the kernel, what splits the regions included.
    """

    title: str
    arguments: str
    page: str
    tenants: int
    taken: int
    mem_total: int


#: 320 GiB on one node, Linux 5.4.119 with dmemfs, KASLR off. That kernel does not count struct pages.
RECORDED_BASELINE = 330_018_076 << 10
RECORDED = (
    Recorded("dmemfs, one region", "dmem=120G@16G", "2 MiB", 61_376 * 2 * MIB, 61_376 * 2 * MIB, 206_284_104 << 10),
    Recorded(
        "dmemfs, regions split by two holes",
        "dmem=!16G memmap=128M$120G,128M$240G",
        "2 MiB",
        155_520 * 2 * MIB,
        155_520 * 2 * MIB + 256 * MIB,
        16_403_876 << 10,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One row beside the baseline, in bytes."""

    key: str
    title: str
    page: str
    tenants: int
    mem_total: int
    mem_total_predicted: int
    left: int
    on_device: int
    given: int
    given_predicted: int
    theory: int
    """struct pages of what is carved"""

    @property
    def share(self) -> float:
        return self.given / self.theory

    @property
    def mem_total_off(self) -> float:
        """Of the struct pages of what is carved."""
        return (self.mem_total_predicted - self.mem_total) / self.theory

    @property
    def given_off(self) -> float:
        """Of the struct pages given back; where those are none, of what is carved."""
        return (self.given_predicted - self.given) / (self.given or self.theory)


def _left(row: Mapping[str, Any]) -> tuple[int, int]:
    """Struct pages in RAM and on the device. The kernel counts those on a device as if it had allocated them."""
    boot, later = row["seen"]["memmap_boot_pages"] * PAGE, row["seen"]["memmap_pages"] * PAGE
    return (boot, later) if row["predicted"]["on_device"] else (boot + later, 0)


def lines(record: Mapping[str, Any]) -> Iterator[Line]:
    """The rows of a record that carve something, in its order."""
    baseline, *others = record["rows"]
    before, _ = _left(baseline)
    for row in others:
        left, on_device = _left(row)
        yield Line(
            key=row["key"],
            title=row["title"],
            page=row["page"],
            tenants=row["seen"]["tenants"],
            mem_total=row["seen"]["mem_total"],
            mem_total_predicted=baseline["seen"]["mem_total"] + row["predicted"]["mem_total_change"],
            left=left,
            on_device=on_device,
            given=before - left,
            given_predicted=baseline["predicted"]["struct_pages"] - row["predicted"]["struct_pages"],
            theory=row["carved"] // PAGE * STRUCT_PAGE,
        )


def misses(record: Mapping[str, Any]) -> list[str]:
    """What was to be reached and is not."""
    found = []
    for line in lines(record):
        if line.key in _NEARLY_ALL and line.share < _SHARE:
            found.append(f"{line.key}: gives back {line.share:.3%} of the struct pages of what it carves")
        if abs(line.given_off) > _STRUCT_PAGES_OFF:
            found.append(f"{line.key}: the struct pages given back are predicted {line.given_off:+.3%} off")
        if abs(line.mem_total_off) > _MEM_TOTAL_OFF:
            found.append(f"{line.key}: MemTotal is predicted {line.mem_total_off:+.2%} of the savings off")
    return found


def table(record: Mapping[str, Any]) -> str:
    """Markdown."""
    baseline = record["rows"][0]
    left, _ = _left(baseline)
    rows: list[Sequence[str]] = [
        (
            "mechanism",
            "page",
            "for tenants",
            "MemTotal",
            "struct pages left",
            "given back",
            "of what is carved",
            "prediction off: given back",
            "MemTotal",
        ),
        ("---", "---", *["---:"] * 7),
        (baseline["title"], "", "", _gib(baseline["seen"]["mem_total"]), _small(left), "", "", "", ""),
    ]
    rows += [_row(line) for line in lines(record)]
    rows += [_recorded(recorded) for recorded in RECORDED]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _row(line: Line) -> Sequence[str]:
    left = _small(line.left)
    if line.on_device:
        left += f", {_small(line.on_device)} on the device"
    return (
        line.title,
        line.page,
        _gib(line.tenants) if line.tenants else "",
        _gib(line.mem_total),
        left,
        _small(line.given),
        f"{line.share:.2%}",
        _off(line.given_off),
        _off(line.mem_total_off),
    )


def _recorded(row: Recorded) -> Sequence[str]:
    back = row.mem_total + row.taken - RECORDED_BASELINE
    theory = row.taken // PAGE * STRUCT_PAGE
    return (
        f"{row.title} ¹",
        row.page,
        _gib(row.tenants),
        _gib(row.mem_total),
        "not counted",
        f"{_small(back)} ²",
        f"{back / theory:.1%} ²",
        "",
        "",
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"


def _small(size: int) -> str:
    if size >= GIB:
        return f"{size / GIB:.3f} GiB"
    return f"{size / MIB:.1f} MiB" if size else "0"


def _off(part: float) -> str:
    return f"{part:+.3%}" if part else "0"
