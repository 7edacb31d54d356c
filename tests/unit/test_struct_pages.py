# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Struct pages by mechanism, against what kernels were seen to do.

Measured on 6.12.117 and 7.2.13 under QEMU with 8 GiB (nr_memmap_pages, nr_memmap_boot_pages), unless
a test says otherwise.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._host.model import NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._model.sections import (
    SECTION_COST,
    boot_struct_pages,
    boot_struct_pages_by_node,
    sections_with_pages,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.struct_pages import (
    NOTHING,
    Cost,
    Use,
    account,
    devices_cost,
    dmemfs_cost,
    hugetlb_cost,
    hugetlb_vmemmap,
    kmem_cost,
    pmem_cost,
    pmem_space,
    saved_sections,
    shared_sections,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB, PAGE, SECTION

NEW, OLD = "6.12.107+deb13-amd64", "5.18.19"
NO_BOOT = RangeSet()
HOST = RangeSet([(0, 3 * GIB), (4 * GIB, 9 * GIB)])


@pytest.mark.parametrize(
    ("release", "align", "pages", "tables"),
    [
        (NEW, 4 * KIB, 4096, 0),
        (NEW, 2 * MIB, 1024, 8),
        (NEW, GIB, 2, 8),
        (OLD, 4 * KIB, 4096, 0),
        (OLD, 2 * MIB, 4096, 0),
        (OLD, GIB, 4096, 0),
    ],
)
def test_a_device_of_1_gib(release: str, align: int, pages: int, tables: int) -> None:
    cost = devices_cost([([Range(5 * GIB, 6 * GIB)], align)], NO_BOOT, release)
    assert cost == Cost(pages * PAGE, tables * PAGE)


def test_320_gib_by_the_documented_arithmetic() -> None:
    whole = Range(0, 320 * GIB)
    assert devices_cost([([whole], 2 * MIB)], NO_BOOT, NEW) == Cost(1280 * MIB, 10 * MIB)
    assert devices_cost([([whole], GIB)], NO_BOOT, NEW).struct_pages == 2560 * KIB
    assert devices_cost([([whole], 4 * KIB)], NO_BOOT, NEW) == Cost(5 * GIB)
    assert boot_struct_pages(RangeSet([whole])) == 5 * GIB
    assert hugetlb_cost({2 * MIB: 320 * 512}, NEW, True) == Cost(640 * MIB - 5 * GIB, 10 * MIB)
    assert hugetlb_cost({GIB: 320}, NEW, True).struct_pages == 1280 * KIB - 5 * GIB
    assert hugetlb_cost({GIB: 320}, NEW, False) == NOTHING
    assert kmem_cost([whole], 2 * GIB, NO_BOOT) == Cost(5 * GIB)


def test_devices_that_share_a_section_share_its_page_table() -> None:
    halves = [
        ([Range(5 * GIB, 5 * GIB + 64 * MIB)], 2 * MIB),
        ([Range(5 * GIB + 64 * MIB, 5 * GIB + SECTION)], 4 * KIB),
    ]
    cost = devices_cost(halves, NO_BOOT, NEW)
    assert cost == Cost(32 * 2 * PAGE + 64 * MIB // 64, PAGE)
    assert sum(devices_cost([half], NO_BOOT, NEW).page_tables for half in halves) == 2 * PAGE


def test_several_extents_of_a_device() -> None:
    extents = [Range(GIB, 2 * GIB), Range(5 * GIB, 6 * GIB), Range(8 * GIB, 9 * GIB)]
    assert devices_cost([(extents, GIB)], NO_BOOT, NEW).struct_pages == 3 * 2 * PAGE


def test_a_region_over_two_half_sections_saves_nothing_and_costs_nothing() -> None:
    half = Range(5 * GIB + 64 * MIB, 5 * GIB + 192 * MIB)
    after = HOST.subtract([half])
    assert saved_sections(HOST, after) == 0
    assert shared_sections(after, RangeSet([half])) == 128 * MIB
    assert devices_cost([([half], 2 * MIB)], sections_with_pages(after), NEW) == NOTHING


def test_two_halves_of_a_section_by_different_mechanisms_save_all_of_it() -> None:
    """Seen: 64 MiB with $ and 64 MiB with % beside it: 512 pages less."""
    first = HOST.subtract([(5 * GIB, 5 * GIB + 64 * MIB)])
    second = first.subtract([(5 * GIB + 64 * MIB, 5 * GIB + SECTION)])
    assert saved_sections(HOST, first) == 0
    assert saved_sections(HOST, second) == 512 * PAGE == SECTION_COST


def test_what_a_reservation_alone_saves() -> None:
    """Seen: 32768 pages at boot; 2 GiB soft-reserved 24576, 1 GiB of PRAM 28672."""
    assert boot_struct_pages(HOST) == 32768 * PAGE
    assert saved_sections(HOST, HOST.subtract([(6 * GIB, 8 * GIB)])) == 8192 * PAGE
    assert saved_sections(HOST, HOST.subtract([(6 * GIB, 7 * GIB)])) == 4096 * PAGE


def test_huge_pages_with_hvo() -> None:
    """Seen on 6.12: 3 of 1 GiB and 192 of 2 MiB: 13824 pages freed, 195 new ones, 13629 saved."""
    counts = {GIB: 3, 2 * MIB: 192}
    assert hugetlb_vmemmap(counts, NEW) == (13824, 195)
    # 3 GiB are 24 sections, 384 MiB are 3.
    assert hugetlb_cost(counts, NEW, True) == Cost(-13629 * PAGE, 27 * PAGE)


@pytest.mark.parametrize(("release", "kept"), [("5.13.19", 8), ("5.14", 2), ("5.17.15", 2), ("5.18", 1)])
def test_huge_pages_by_release(release: str, kept: int) -> None:
    assert hugetlb_vmemmap({2 * MIB: 1}, release) == (8, kept)
    assert hugetlb_cost({2 * MIB: 64}, release, True).struct_pages == -64 * (8 - kept) * PAGE


def test_pmem_as_seen() -> None:
    """memmap=2G!6G: map=mem with 2M 2 GiB - 2 MiB and 2048 pages, with 1G 1 GiB and 4 pages; map=dev 2 GiB - 34 MiB."""
    namespace = Range(6 * GIB, 8 * GIB)
    assert pmem_space(namespace, 2 * MIB, False) == (6 * GIB + 2 * MIB, 8 * GIB)
    assert pmem_space(namespace, GIB, False) == (7 * GIB, 8 * GIB)
    assert pmem_space(namespace, 4 * KIB, True) == (6 * GIB + 34 * MIB, 8 * GIB)
    assert pmem_space(namespace, 2 * MIB, True) == (6 * GIB + 34 * MIB, 8 * GIB)
    assert pmem_cost([(namespace, 2 * MIB, False)], NO_BOOT, NEW).struct_pages == 2048 * PAGE
    assert pmem_cost([(namespace, GIB, False)], NO_BOOT, NEW).struct_pages == 4 * PAGE
    assert pmem_cost([(namespace, 4 * KIB, False)], NO_BOOT, NEW) == Cost(8192 * PAGE)
    assert pmem_cost([(namespace, 2 * MIB, True)], NO_BOOT, NEW) == NOTHING
    small = pmem_space(Range(6 * GIB, 7 * GIB), GIB, False)
    assert small.start == small.end, "nothing is left of 1 GiB with an align of 1 GiB"


def test_dmemfs_bitmaps() -> None:
    regions = [Range(n * 64 * GIB, (n + 1) * 64 * GIB) for n in range(5)]
    assert dmemfs_cost(regions, 4 * KIB, "5.4.119") == Cost(bitmaps=20 * MIB)
    assert dmemfs_cost(regions, 2 * MIB, "5.4.119") == Cost(bitmaps=10 * MIB + 20 * KIB)
    assert dmemfs_cost(regions, GIB, "5.4.119") == Cost(bitmaps=10 * MIB), "64 bits a region are in place"
    assert dmemfs_cost(regions, 4 * KIB, "5.10") == Cost(bitmaps=20 * MIB + 320 * MIB)
    # kmalloc has only powers of two: 3 GiB need 96 KiB of bits and take 128.
    assert dmemfs_cost([Range(0, 3 * GIB)], GIB, "5.4.119") == Cost(bitmaps=128 * KIB)
    assert dmemfs_cost([Range(0, 3 * GIB)], GIB, "5.10") == Cost(bitmaps=96 * KIB + PAGE)


def test_memory_given_back_to_the_kernel_is_whole_blocks() -> None:
    odd = Range(5 * GIB + 64 * MIB, 6 * GIB + 64 * MIB)
    assert kmem_cost([odd], SECTION, NO_BOOT) == Cost(7 * SECTION_COST)
    assert kmem_cost([odd], 2 * GIB, NO_BOOT) == NOTHING


def test_an_account() -> None:
    spans = [NodeRange(0, 0, 5 * GIB), NodeRange(1, 5 * GIB, 9 * GIB)]
    after = HOST.subtract([(4 * GIB, 5 * GIB), (6 * GIB, 8 * GIB)])
    boot = sections_with_pages(after)
    uses = [
        Use("dax", 1, devices_cost([([Range(6 * GIB, 7 * GIB)], 2 * MIB)], boot, NEW)),
        Use("dax", 0, devices_cost([([Range(4 * GIB, 5 * GIB)], GIB)], boot, NEW)),
        Use("hugetlb", 1, hugetlb_cost({2 * MIB: 64}, NEW, True)),
    ]
    before, now = account(HOST, spans), account(after, spans, uses)
    assert before.by_node == {0: 64 * MIB, 1: 64 * MIB}
    assert before.by_mechanism == {}
    assert now.boot == {0: 48 * MIB, 1: 32 * MIB}
    assert now.by_node == {0: 48 * MIB + 10 * PAGE, 1: 32 * MIB + (1024 + 8 - 448 + 1) * PAGE}
    assert now.by_mechanism == {"dax": Cost(1026 * PAGE, 16 * PAGE), "hugetlb": Cost(-448 * PAGE, PAGE)}
    assert now.total == sum(now.by_node.values())


def test_a_shared_section_moves_to_the_node_whose_ram_is_left() -> None:
    """As the kernel does it: the node of the section's lowest RAM has its struct pages."""
    spans = [NodeRange(0, 0, GIB + 64 * MIB), NodeRange(1, GIB + 64 * MIB, 2 * GIB)]
    ram = RangeSet([(0, 2 * GIB)])
    assert boot_struct_pages_by_node(ram, spans) == {0: 9 * SECTION_COST, 1: 7 * SECTION_COST}
    carved = ram.subtract([(GIB, GIB + 64 * MIB)])
    assert boot_struct_pages_by_node(carved, spans) == {0: 8 * SECTION_COST, 1: 8 * SECTION_COST}


UNIT = 16 * MIB
PIECES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=6).map(
    lambda pairs: RangeSet((a * UNIT, b * UNIT) for a, b in pairs)
)


@given(PIECES, st.lists(PIECES, max_size=4), st.integers(0, 200))
def test_sections_against_a_bitmap(ram: RangeSet, carved: list[RangeSet], edge: int) -> None:
    """Carve after carve, the kernel's own walk (memory_present) over a map of 16 MiB units."""
    spans = [NodeRange(1, 0, edge * UNIT), NodeRange(0, edge * UNIT, 200 * UNIT)]
    before, left = ram, ram
    for carve in [NO_BOOT, *carved]:
        left = left.subtract(carve)
        units = [unit for unit in range(200) if left.contains(Range(unit * UNIT, (unit + 1) * UNIT))]
        owner: dict[int, int] = {}
        for unit in units:
            owner.setdefault(unit * UNIT // SECTION, 1 if unit < edge else 0)
        assert boot_struct_pages(left) == len(owner) * SECTION_COST
        by_node = boot_struct_pages_by_node(left, spans)
        for node in (0, 1):
            assert by_node.get(node, 0) == list(owner.values()).count(node) * SECTION_COST
        taken = before.subtract(left)
        assert saved_sections(before, left) == boot_struct_pages(before) - len(owner) * SECTION_COST
        in_shared = [
            u
            for u in range(200)
            if taken.contains(Range(u * UNIT, (u + 1) * UNIT)) and u * UNIT // SECTION in owner
        ]
        assert shared_sections(left, taken) == len(in_shared) * UNIT
        new = sum(
            1
            for u in range(200)
            if taken.contains(Range(u * UNIT, (u + 1) * UNIT)) and u * UNIT // SECTION not in owner
        )
        cost = devices_cost([(list(taken), 2 * MIB)], sections_with_pages(left), NEW)
        assert cost.struct_pages == new * (UNIT // (2 * MIB)) * 2 * PAGE
