# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which memory the kernel manages, and how much: on each node, and in all.

The ranges of System RAM in /proc/iomem are held to the predicted map, but for what moved in the firmware's own
(:mod:`.firmware`). That is exact but for what lies below :data:`LOW`, of which the kernel gives up what it takes for
the BIOS's (arch/x86/kernel/e820.c, trim_bios_range), and for :data:`MOVES`. Of 348 logs of real machines, where the
kernel had no memory arguments, 337 have the firmware's RAM to the byte and three within 1 MiB; the other eight miss or
add whole gibibytes, as logs do that were shortened.

For the amounts bounds, not equality, because a kernel's MemTotal is its RAM less what it took before its page allocator
started, which depends on its build and on the devices.

Above: MemTotal counts pages of RAM (mm/page_alloc.c, managed pages), so it is never more than the RAM in the
predicted map. RAM that appeared later (hot-plugged, or given back by another DAX region) lies outside of that map
and is added as /proc/iomem shows it; what the kernel took back from a reservation is not, that is the fault to be
found, unless the plan gives it to the kernel: then the whole memory blocks of that device count where they are online.

Below: of the predicted RAM the kernel spends the struct pages of its sections (exact), the crash kernel (as
/proc/iomem shows it), and what does not grow or hardly grows with the node: image and initial data (60 to
100 MiB), software I/O buffers (64 MiB, kernel/dma/swiotlb.c), per-CPU areas (under half a MiB a CPU), page tables of
the direct map and early hash tables (together well under a 256th). :data:`FIXED` and a 256th leave room for them. Real
figures of Debian's kernels: 104 MiB of 9 GiB, 130 MiB of 16 GiB, 298 MiB of 320 GiB. Memory that is missing as a
whole shows in the ranges, so that these bounds have to find only what a kernel spends without a trace in its map.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._host.model import RAM, Host
from .._layout import SYSTEM_RAM, Layout
from .._model.sections import boot_struct_pages, boot_struct_pages_by_node
from .._ranges import Range, RangeSet, whole_blocks
from .._units import MIB, PAGE, STRUCT_PAGE, approximate_size
from .firmware import firmware_moves
from .model import Expectation, judge, memory_path, section

SUBJECT = "memory"

#: Bytes that a kernel may spend before MemTotal is counted, struct pages aside, plus a 256th of its RAM.
FIXED = 256 * MIB
LOW = MIB
#: Bytes of RAM in all that may lie elsewhere than predicted from the firmware's map.
MOVES = MIB


def memory(layout: Layout, host: Host, *, given_back: bool = True) -> list[Expectation]:
    """Two for the host and one for every node; a node whose RAM is all carved out is not there.

    ``given_back``: whether the devices are made whose memory the plan gives back to the kernel.
    """
    iomem = section(host, "iomem")
    ram = layout.managed_ram
    returned = _returned(layout, host.state.get("block_size")) if given_back else RangeSet()
    later = _ram_lines(iomem).subtract(ram).subtract(r.range for r in layout.reservations)
    crash = RangeSet((line[0], line[1]) for line in iomem if line[2].startswith("Crash kernel"))
    total = section(host, "meminfo").get("MemTotal")
    result = [
        _ranges(layout, host, iomem),
        _bounded(
            "memory of the kernel",
            "kernel.memory",
            "the kernel has",
            ram.size + later.size + returned.size,
            ram.size - boot_struct_pages(ram) - crash.size + _spendable(returned),
            total,
        ),
    ]
    struct_pages = boot_struct_pages_by_node(ram, host.node_ranges)
    measured = section(host, "nodes")
    if not measured and len(layout.memory_nodes) == 1:
        # A kernel without CONFIG_NUMA lists no nodes: all is the one node's.
        measured = {str(node): {"MemTotal": total} for node in layout.memory_nodes if total is not None}
    for node in sorted(layout.memory_nodes):
        span = host.node_span(node)
        own = ram.intersect(span).size
        result.append(
            _bounded(
                f"memory of node {node}",
                memory_path(layout, node),
                f"on node {node} the kernel has",
                own + later.intersect(span).size + returned.intersect(span).size,
                own
                - struct_pages.get(node, 0)
                - crash.intersect(span).size
                + _spendable(returned.intersect(span)),
                measured.get(str(node), {}).get("MemTotal", 0),
            )
        )
    return result


def _ranges(layout: Layout, host: Host, iomem: Sequence[Any]) -> Expectation:
    """Whether System RAM lies where the map says, and nowhere that the map gives to others.

    Where the firmware itself has something else by now is told by the expectation of its map.
    """
    moved = [Range(move.start, move.end) for move in firmware_moves(layout, host)]
    usable = RangeSet((start, end) for start, end, kind in layout.predicted_map if kind == RAM)
    others = RangeSet((start, end) for start, end, kind in layout.predicted_map if kind != RAM)
    missing = usable.subtract(_ram_lines(iomem)).subtract([Range(0, LOW), *moved])
    # what the kernel has of a reservation is told there; memory given back by a driver has another name
    own = RangeSet((line[0], line[1]) for line in iomem if line[2] == "System RAM")
    surplus = (
        others.intersect(own).subtract(r.range for r in layout.reservations).subtract([Range(0, LOW), *moved])
    )
    wrong = [f"{part} is not System RAM" for part in missing] + [f"{part} is System RAM" for part in surplus]
    met = missing.size + surplus.size <= MOVES
    if not iomem:
        fact, measured = "where System RAM lies is not known, /proc/iomem was not read as root", "unknown"
    elif met:
        fact, measured = "System RAM lies where it is predicted", "as predicted"
    else:
        measured = ", ".join(wrong[:4]) + (", ..." if len(wrong) > 4 else "")
        fact = f"the memory map is not the predicted one: {measured}"
    return judge(SUBJECT, "ranges of the kernel", "kernel.memory", fact, "as predicted", measured, met, "")


def _returned(layout: Layout, block: int | None) -> RangeSet:
    """What the plan gives back to the kernel, online."""
    devices = [d for d in layout.devices if d.use == SYSTEM_RAM and d.online != "no"]
    return RangeSet(part for d in devices for part in whole_blocks(d.extents, block)) if block else RangeSet()


def _spendable(returned: RangeSet) -> int:
    """What a kernel adds to MemTotal at least: its struct pages may come out of the memory itself."""
    return returned.size - returned.size // PAGE * STRUCT_PAGE


def _ram_lines(iomem: Sequence[Any]) -> RangeSet:
    return RangeSet((line[0], line[1]) for line in iomem if line[2].startswith("System RAM"))


def _bounded(
    name: str, path: str, words: str, most: int, spendable: int, measured: int | None
) -> Expectation:
    least = max(0, spendable - FIXED - most // 256)
    expected = f"{approximate_size(least)} to {approximate_size(most)}" if most else "none"
    if measured is None:
        return judge(SUBJECT, name, path, f"{words} an unknown MemTotal", expected, "unknown", False, "")
    text = f"{approximate_size(measured)} (MemTotal)" if measured else "no memory"
    met = least <= measured <= most
    ending = f", expected is {expected}"
    return judge(SUBJECT, name, path, f"{words} {text}", expected, approximate_size(measured), met, ending)
