# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the model says of each machine of the memory benchmark before it boots: pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._host.model import PRAM, SOFT_RESERVED, Host
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import Prediction, predict
from ansible_collections.carveout.memory.plugins.module_utils._model.sections import (
    ram_of,
    sections_with_pages,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.struct_pages import (
    NOTHING,
    Cost,
    devices_cost,
    hugetlb_cost,
    hugetlb_vmemmap,
    kmem_cost,
    pmem_cost,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import PAGE

from .memory_rows import CARVE, MACHINE, Row, layout_of, tokens_of


@dataclass(frozen=True)
class Expected:
    """Bytes. ``struct_pages`` are in RAM, ``on_device`` are struct pages in the carved memory itself.

    ``page_tables`` go with them, and no counter of struct pages tells them. ``mem_total_change``: from the machine
    where nothing is carved out.
    """

    struct_pages: int
    on_device: int
    page_tables: int
    mem_total_change: int


def expected(row: Row, host: Host, memory_block: int) -> Expected:
    """The prediction for a row. ``host``: as seen without memory arguments; ``memory_block``: bytes, for kmem."""
    foreign = split(host.cmdline)
    before, after = predict(host, foreign), predict(host, [*foreign, *tokens_of(row, host)])
    boot = sections_with_pages(ram_of(after.kernel_map))
    cost = _cost(row, host, after, boot, memory_block)
    struct_pages = _boot_pages(after) + cost.struct_pages
    layout = layout_of(row, host)
    if layout is not None and layout.devices and layout.memory.struct_pages_after != struct_pages:
        raise AssertionError(f"{row.key}: the planner's account is another than the model's")
    grown = _ram(after) - _ram(before) + _boot_pages(before) - _boot_pages(after)
    return Expected(
        struct_pages=struct_pages,
        on_device=_on_device(row, after, boot, host.kernel),
        page_tables=cost.page_tables,
        mem_total_change=grown + _given_later(row, host, after, memory_block),
    )


def carved(prediction: Prediction) -> list[Range]:
    """What the kernel's map has as soft-reserved or persistent memory."""
    return [Range(e.start, e.end) for e in prediction.kernel_map if e.type in (SOFT_RESERVED, PRAM)]


def _ram(prediction: Prediction) -> int:
    return sum(node.ram for node in prediction.nodes.values())


def _boot_pages(prediction: Prediction) -> int:
    return sum(node.struct_pages for node in prediction.nodes.values())


def _counts(row: Row) -> dict[int, int]:
    return {row.page: len(MACHINE.nodes) * CARVE // row.page}


def _cost(row: Row, host: Host, after: Prediction, boot: RangeSet, memory_block: int) -> Cost:
    """What comes on top of the struct pages at boot."""
    ranges = carved(after)
    if row.key == "kmem":
        return kmem_cost(ranges, memory_block, boot)
    if row.key.startswith("hugetlb"):
        return hugetlb_cost(_counts(row), host.kernel, row.optimised)
    if row.key == "pmem-fsdax":
        # pmem_attach_disk of drivers/nvdimm/pmem.c maps all of it, page by page
        return devices_cost([([r], PAGE) for r in ranges], boot, host.kernel)
    if row.carve == "pmem":
        return pmem_cost([(r, row.page, row.on_device) for r in ranges], boot, host.kernel)
    if row.carve == "dax" and row.page:
        return devices_cost([([r], row.page) for r in ranges], boot, host.kernel)
    return NOTHING


def _on_device(row: Row, after: Prediction, boot: RangeSet, release: str) -> int:
    if not row.on_device:
        return 0
    # none is shared there (vmemmap_can_optimize of include/linux/mm.h: no altmap)
    return devices_cost([([r], PAGE) for r in carved(after)], boot, release).struct_pages


def _given_later(row: Row, host: Host, after: Prediction, memory_block: int) -> int:
    """Bytes that join MemTotal after boot: memory blocks of kmem, struct pages that HugeTLB frees.

    What stays of those is allocated anew (hugetlb_vmemmap.c), as are the struct pages of devices: that is memory in
    use, and MemTotal does not tell it.
    """
    if row.key == "kmem":
        return RangeSet(carved(after)).align_inward(memory_block).size
    if row.optimised:
        return hugetlb_vmemmap(_counts(row), host.kernel).whole * PAGE
    return 0
