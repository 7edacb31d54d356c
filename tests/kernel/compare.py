# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A prediction beside what a kernel did: the differences, and both maps side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    RAM,
    Host,
    MapEntry,
    NodeRange,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.nodes import node_ranges, one_node
from ansible_collections.carveout.memory.plugins.module_utils._model.iomem import is_ram, type_name
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import Prediction

from .hugepage_cases import amounts
from .observation import Observation

#: The names under which the kernel shows entries of its table in /proc/iomem; all others are devices.
_TABLE_NAMES = frozenset(
    {
        "System RAM",
        "Reserved",
        "ACPI Tables",
        "ACPI Non-volatile Storage",
        "Unusable memory",
        "Persistent Memory",
        "Persistent Memory (legacy)",
        "Soft Reserved",
        "Unknown E820 type",
    }
)

Row = tuple[int, int, str]


@dataclass(frozen=True)
class Difference:
    """What differs, and the two sides of it as rows of text."""

    subject: str
    predicted: tuple[str, ...]
    real: tuple[str, ...]

    def __str__(self) -> str:
        return side_by_side(self.subject, self.predicted, self.real)


def host_of(seen: Observation) -> Host:
    """The host as the project's reader would see it on this machine."""
    ranges = seen.node_ranges
    nodes: tuple[NodeRange, ...] = (
        node_ranges(ranges, seen.firmware_map) if ranges else one_node(seen.firmware_map)
    )
    return Host(
        architecture="x86_64",
        firmware_map=seen.firmware_map,
        node_ranges=nodes,
        hmat="HMAT" in seen.tables,
        firmware_boot="efi" if seen.machine.firmware else "bios",
        kernel_running=seen.release,
        kernel_default=seen.release,
        kernel_config={},
        cmdline=seen.cmdline,
        boot_arguments=None,
        foreign=(),
        committed=None,
        layouts={},
        # where the machine's devices are: a running host's reader knows it too
        state={"iomem": [list(line) for line in seen.iomem]},
    )


def differences(predicted: Prediction, seen: Observation) -> list[Difference]:
    """All that a boot shows and the model tells otherwise."""
    ram = {node: memory.ram for node, memory in predicted.nodes.items()}
    release = predicted.kernel
    found = [
        _compare("kernel_map", _map_rows(predicted.kernel_map, release), _map_rows(seen.kernel_map, release)),
        _compare("iomem", [(r.start, r.end, r.name) for r in predicted.iomem], _iomem_rows(seen)),
        _compare_words("present", _node_words(ram), _node_words(seen.present)),
        _compare("dax_regions", _region_rows(predicted.dax_regions), _region_rows(_real_regions(seen))),
    ]
    amounts_differ = [Difference(*row) for row in amounts(predicted, seen)]
    return [difference for difference in found if difference is not None] + amounts_differ


def _map_rows(entries: Sequence[MapEntry], release: str) -> list[Row]:
    """Rows as the kernel prints them: type 128 is "usable" to those for which it is RAM (e820_print_type)."""
    return [(e.start, e.end, type_name(RAM if is_ram(e.type, release) else e.type)) for e in entries]


def _iomem_rows(seen: Observation) -> list[Row]:
    """The lines that stem from the kernel's table, but for those inside of a PCI bus's window."""
    rows = []
    window = None
    for line in seen.iomem:
        if window is not None and line.depth > window:
            continue
        window = line.depth if line.name.startswith("PCI Bus") else None
        if line.name in _TABLE_NAMES:
            rows.append((line.start, line.end, line.name))
    return rows


def _region_rows(regions: Iterable[tuple[int, int, int]]) -> list[Row]:
    return [(start, end, f"node {node}") for start, end, node in regions]


def _real_regions(seen: Observation) -> list[tuple[int, int, int]]:
    """Each region has one device over all of it, where dax_hmem is loaded as it is."""
    return [(device.start, device.end, device.node) for device in seen.dax_devices]


def kernel_place(seen: Observation) -> tuple[int, int] | None:
    """Bytes ``[start, end)`` of the kernel's code, data and bss."""
    parts = [r for r in seen.iomem if r.name in ("Kernel code", "Kernel rodata", "Kernel data", "Kernel bss")]
    return (min(r.start for r in parts), max(r.end for r in parts)) if parts else None


def _compare(subject: str, predicted: Sequence[Row], real: Sequence[Row]) -> Difference | None:
    if sorted(predicted) == sorted(real):
        return None
    left, right = [], []
    for _start, rows in groupby(sorted({*predicted, *real}), key=lambda row: row[0]):
        here = list(rows)
        mine = [_row(row) for row in here if row in predicted]
        theirs = [_row(row) for row in here if row in real]
        height = max(len(mine), len(theirs))
        left += mine + [""] * (height - len(mine))
        right += theirs + [""] * (height - len(theirs))
    return Difference(subject, tuple(left), tuple(right))


def _compare_words(subject: str, predicted: Sequence[str], real: Sequence[str]) -> Difference | None:
    return None if list(predicted) == list(real) else Difference(subject, tuple(predicted), tuple(real))


def _row(row: Row) -> str:
    return f"{row[0]:#014x}-{row[1]:#014x} {row[2]}"


def _node_words(nodes: dict[int, int]) -> list[str]:
    return [f"node {node}: {size:,} bytes" for node, size in sorted(nodes.items())]


def side_by_side(subject: str, left: Sequence[str], right: Sequence[str]) -> str:
    """Two columns, predicted and real; rows that differ are marked."""
    height = max(len(left), len(right))
    left = [*left, *[""] * (height - len(left))]
    right = [*right, *[""] * (height - len(right))]
    width = max([len("predicted"), *map(len, left)])
    lines = [f"    {subject}", f"    {'predicted':{width}} | real"]
    lines += [f"{'  ' if a == b else '->'}  {a:{width}} | {b}" for a, b in zip(left, right, strict=True)]
    return "\n".join(line.rstrip() for line in lines)
