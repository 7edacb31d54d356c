# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the firmware says of a host's memory: its map, and which node each part belongs to.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from typing import NamedTuple

from .._errors import NotPossible
from . import proc
from .acpi import read_srat
from .e820 import MAX_ENTRIES, checked_map, sysfs_type
from .files import Reader
from .hmat import parse_hmat
from .model import MapEntry, NodeRange
from .nodes import node_ranges, one_node

_MEMMAP = "/sys/firmware/memmap"
_TABLES = "/sys/firmware/acpi/tables"


def read_map(reader: Reader, architecture: str) -> tuple[MapEntry, ...]:
    """/sys/firmware/memmap (drivers/firmware/memmap.c): ``end`` is inclusive, the order arbitrary.

    Raises :class:`NotPossible` where an x86_64 host does not show it.
    """
    entries = []
    for name in reader.names(_MEMMAP, 2 * MAX_ENTRIES):
        start = proc.parse_hex(reader.line(f"{_MEMMAP}/{name}/start"))
        last = proc.parse_hex(reader.line(f"{_MEMMAP}/{name}/end"))
        if start is None or last is None:
            raise NotPossible.of(
                "firmware.map",
                "map-unreadable",
                f"{_MEMMAP}/{name} has no start and end; is the tree complete?",
            )
        if last >= start:  # an empty range is shown with its end before its start
            entries.append(MapEntry(start, last + 1, sysfs_type(reader.line(f"{_MEMMAP}/{name}/type"))))
    if not entries and architecture == "x86_64":
        raise NotPossible.of(
            "firmware.map",
            "map-missing",
            f"{_MEMMAP} is missing or empty: the firmware's memory map cannot be read. It takes a kernel "
            "with CONFIG_FIRMWARE_MEMMAP, and /sys as the host itself sees it (not in a container); or plan "
            "from the kernel's log with `carveout host --dmesg`",
        )
    return checked_map(entries)


class Affinity(NamedTuple):
    """The nodes' ranges, and what an HMAT that counts is combined with."""

    nodes: tuple[NodeRange, ...]
    hmat_targets: tuple[NodeRange, ...] = ()


def read_affinity(reader: Reader, firmware_map: tuple[MapEntry, ...]) -> Affinity:
    """From the SRAT; one node has all where there is none."""
    table = reader.data(f"{_TABLES}/SRAT", "the nodes' memory")
    hmat = reader.data(f"{_TABLES}/HMAT", "whether DAX regions are made from it")
    if table is None:
        return Affinity(one_node(firmware_map))
    srat = read_srat(table)
    memory = tuple(NodeRange(a.node, a.start, a.end) for a in srat.memory)
    nodes = node_ranges(memory, firmware_map)
    if hmat is None:
        return Affinity(nodes)
    ignored = parse_hmat(hmat, srat).ignored
    if ignored:
        reader.problem(f"{_TABLES}/HMAT", f"kernels ignore this table: {ignored}")
        return Affinity(nodes)
    return Affinity(nodes, memory)
