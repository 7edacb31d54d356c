# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each mechanism costs in kernel memory once its memory is in use, and what it gives back.

What is saved by a reservation itself follows from the sections that RAM no longer touches
(:mod:`.sections`), counted over the whole host, whichever mechanisms share them. A :class:`Cost` is
what comes on top of that.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._host.model import NodeRange
from .._ranges import Range, RangeSet
from .._units import KIB, MIB, PAGE, SECTION, STRUCT_PAGE, align_down, align_up
from .releases import has
from .sections import (
    boot_struct_pages,
    boot_struct_pages_by_node,
    dax_struct_pages,
    sections_with_pages,
)

#: The info block of a pmem namespace (drivers/nvdimm/pfn_devs.c, nd_pfn_init).
_INFO_BLOCK = 8 * KIB


class Cost(NamedTuple):
    """Bytes of RAM that a mechanism takes; negative where it gives back.

    ``page_tables`` map struct pages by 4 KiB where the kernel would map them by 2 MiB: one page a
    section. ``bitmaps`` are what dmemfs keeps about its pages.
    """

    struct_pages: int = 0
    page_tables: int = 0
    bitmaps: int = 0

    @property
    def total(self) -> int:
        return self.struct_pages + self.page_tables + self.bitmaps


NOTHING = Cost()


def devices_cost(devices: Iterable[tuple[Sequence[Range], int]], boot: RangeSet, release: str) -> Cost:
    """Bound DAX devices, each its extents and align; ``boot``: sections with struct pages already.

    Page tables are counted by section over all devices, as they may share one.
    """
    deduplicated = has(release, "dax-deduplicated")
    struct_pages = 0
    small: list[tuple[int, int]] = []
    for extents, align in devices:
        struct_pages += dax_struct_pages(extents, align, boot, deduplicated)
        new = RangeSet(extents).subtract(boot)
        if not deduplicated or align < 2 * MIB:
            # Whole sections are mapped by 2 MiB (vmemmap_populate of arch/x86/mm/init_64.c).
            new = new.subtract(new.align_inward(SECTION))
        small += new
    return Cost(struct_pages, RangeSet(small).align_outward(SECTION).size // SECTION * PAGE)


class PmemSpace(NamedTuple):
    """Where the data of a pmem namespace in mode devdax begin and end."""

    start: int
    end: int


def pmem_space(namespace: Range, align: int, on_device: bool) -> PmemSpace:
    """What is left of a namespace after its info block, its struct pages there, and alignment.

    Follows nd_pfn_init of drivers/nvdimm/pfn_devs.c (5.10 to 7.2). Empty where nothing is left:
    the kernel then refuses ("unable to satisfy requested alignment").
    """
    align = max(align, 2 * MIB)
    memmap = (namespace.size - _INFO_BLOCK) // PAGE * STRUCT_PAGE if on_device else 0
    start = align_up(namespace.start + _INFO_BLOCK + memmap, align)
    return PmemSpace(start, max(start, align_down(namespace.end, align)))


def pmem_cost(namespaces: Iterable[tuple[Range, int, bool]], boot: RangeSet, release: str) -> Cost:
    """Namespaces in mode devdax, each with its align and whether its struct pages are on the device.

    The kernel maps the whole namespace, info block included. On the device they cost no RAM.
    """
    return devices_cost(
        (((namespace,), align) for namespace, align, on_device in namespaces if not on_device), boot, release
    )


def kmem_cost(ranges: Iterable[Range], memory_block: int, boot: RangeSet) -> Cost:
    """Device memory given back to the kernel: whole memory blocks, with all their struct pages."""
    new = RangeSet(ranges).align_inward(memory_block).subtract(boot)
    return Cost(new.size // PAGE * STRUCT_PAGE)


def dmemfs_cost(regions: Iterable[Range], page_size: int, release: str) -> Cost:
    """Bitmaps of dmemfs when mounted: a bit for each 4 KiB, and one for each page of the mount.

    A region of up to 64 pages has them in place (dmem_region_init, dmem_alloc_region_init of
    mm/dmem.c). The second posting keeps 4 bytes more for each page of the mount.
    """
    second = has(release, "dmem-second-posting")
    total = 0
    for region in regions:
        pages = (align_down(region.end, page_size) - align_up(region.start, page_size)) // page_size
        total += _allocated(region.size // PAGE, second) + _allocated(max(0, pages), second)
        if second:
            total += align_up(max(0, pages) * 4, PAGE)
    return Cost(bitmaps=total)


def _allocated(bits: int, whole_pages: bool) -> int:
    """Bytes that a bitmap of so many bits takes: kmalloc rounds up to a power of two."""
    size = align_up(bits, 64) // 8
    if size <= 8:
        return 0
    return align_up(size, PAGE) if whole_pages else 1 << (size - 1).bit_length()


class HugetlbPages(NamedTuple):
    """vmemmap pages of huge pages: all of them, and how many stay with hugetlb_free_vmemmap=on."""

    whole: int
    kept: int


def hugetlb_vmemmap(counts: Mapping[int, int], release: str) -> HugetlbPages:
    """For huge pages by their size in bytes."""
    whole = sum(size // PAGE * STRUCT_PAGE // PAGE * count for size, count in counts.items())
    if not has(release, "hugetlb-vmemmap"):
        return HugetlbPages(whole, whole)
    each = 1 if has(release, "hugetlb-vmemmap-one-page") else 2
    return HugetlbPages(whole, each * sum(counts.values()))


def hugetlb_cost(counts: Mapping[int, int], release: str, optimised: bool) -> Cost:
    """What huge pages give back (negative), and the page tables that it takes.

    Huge pages are taken to lie one beside the other, as they do when allocated at boot.
    """
    whole, kept = hugetlb_vmemmap(counts, release)
    if not optimised or whole == kept:
        return NOTHING
    sections = -(-sum(size * count for size, count in counts.items()) // SECTION)
    return Cost((kept - whole) * PAGE, sections * PAGE)


class Use(NamedTuple):
    """A cost, and whose it is."""

    mechanism: str
    node: int
    cost: Cost


@dataclass(frozen=True)
class Account:
    """Bytes of RAM for struct pages and what goes with them, by node and by mechanism.

    ``boot`` is what the kernel allocates at boot for the RAM it has, by node.
    """

    boot: Mapping[int, int]
    uses: tuple[Use, ...]

    @property
    def by_node(self) -> dict[int, int]:
        result = dict(self.boot)
        for use in self.uses:
            result[use.node] = result.get(use.node, 0) + use.cost.total
        return result

    @property
    def by_mechanism(self) -> dict[str, Cost]:
        """Sums over the nodes; struct pages at boot are the kernel's and not among them."""
        result: dict[str, Cost] = {}
        for use in self.uses:
            old = result.get(use.mechanism, NOTHING)
            result[use.mechanism] = Cost(*(a + b for a, b in zip(old, use.cost)))
        return result

    @property
    def total(self) -> int:
        return sum(self.by_node.values())


def account(ram: RangeSet, spans: Sequence[NodeRange], uses: Iterable[Use] = ()) -> Account:
    """The account of a host whose kernel has this RAM; with no uses, that of a host as it boots."""
    return Account(boot_struct_pages_by_node(ram, spans), tuple(uses))


def saved_sections(before: RangeSet, after: RangeSet) -> int:
    """Bytes of struct pages that a change of the kernel's RAM gives back, over the whole host.

    A section of which any RAM stays gives nothing back; one that several mechanisms empty
    together gives back all of it.
    """
    return boot_struct_pages(before) - boot_struct_pages(after)


def shared_sections(ram: RangeSet, reserved: RangeSet) -> int:
    """Bytes reserved in sections that the kernel's RAM touches too: they give nothing back."""
    return sections_with_pages(ram).intersect(reserved).size
