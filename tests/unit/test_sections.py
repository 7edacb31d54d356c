# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What struct pages cost, and what differs between kernel releases."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._model.releases import (
    DIFFERENCES,
    has,
    version,
)
from ansible_collections.carveout.memory.plugins.module_utils._model.sections import (
    SECTION_COST,
    boot_struct_pages,
    boot_struct_pages_by_node,
    dax_struct_pages,
    node_of,
    ram_of,
    sections_with_pages,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB, PAGE, SECTION

NONE = RangeSet()


def test_the_measured_host() -> None:
    """8 GiB: 32768 pages of struct pages; 2 GiB soft-reserved: 8192 fewer, 1 GiB of PRAM: 4096 fewer."""
    ram = RangeSet([(0, 3 * GIB), (4 * GIB, 9 * GIB)])
    assert boot_struct_pages(ram) == 32768 * PAGE
    assert boot_struct_pages(ram.subtract([(6 * GIB, 8 * GIB)])) == 24576 * PAGE
    assert boot_struct_pages(ram.subtract([(6 * GIB, 7 * GIB)])) == 28672 * PAGE
    assert boot_struct_pages(RangeSet([(0, 320 * GIB)])) == 5 * GIB


def test_only_whole_sections_count() -> None:
    """The seen cases: 128 MiB over two sections saved nothing, 192 MiB saved one section."""
    ram = RangeSet([(4 * GIB, 8 * GIB)])
    straddling = ram.subtract([(5 * GIB + 64 * MIB, 5 * GIB + 192 * MIB)])
    assert boot_struct_pages(straddling) == boot_struct_pages(ram)
    longer = ram.subtract([(5 * GIB + 64 * MIB, 5 * GIB + 256 * MIB)])
    assert boot_struct_pages(ram) - boot_struct_pages(longer) == SECTION_COST == 2 * MIB
    assert list(sections_with_pages(RangeSet([(SECTION - 1, SECTION + 1)]))) == [Range(0, 2 * SECTION)]


@pytest.mark.parametrize(
    ("align", "deduplicated", "pages"),
    [
        (4 * KIB, True, 4096),
        (2 * MIB, True, 1024),
        (GIB, True, 2),
        (4 * KIB, False, 4096),
        (2 * MIB, False, 4096),
        (GIB, False, 4096),
    ],
)
def test_the_measured_cost_of_a_device_of_1_gib(align: int, deduplicated: bool, pages: int) -> None:
    extent = Range(5 * GIB, 6 * GIB)
    assert dax_struct_pages([extent], align, NONE, deduplicated) == pages * PAGE


def test_sections_with_pages_from_boot_cost_a_device_nothing() -> None:
    half = Range(5 * GIB + 64 * MIB, 5 * GIB + 192 * MIB)
    boot = sections_with_pages(RangeSet([(4 * GIB, 8 * GIB)]).subtract([half]))
    assert dax_struct_pages([half], 2 * MIB, boot, True) == 0


RAM = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=6).map(
    lambda pairs: RangeSet((a * 16 * MIB, b * 16 * MIB) for a, b in pairs)
)


@given(RAM, st.lists(st.integers(1, 399), max_size=3, unique=True))
def test_nodes_add_up(ram: RangeSet, cuts: list[int]) -> None:
    edges = [0, *sorted(c * 16 * MIB for c in cuts), 400 * 16 * MIB]
    spans = [NodeRange(node, a, b) for node, (a, b) in enumerate(itertools.pairwise(edges))]
    by_node = boot_struct_pages_by_node(ram, spans)
    assert sum(by_node.values()) == boot_struct_pages(ram)
    for node, cost in by_node.items():
        span = RangeSet([spans[node][1:]])
        assert cost <= boot_struct_pages(ram.intersect(span))
    assert boot_struct_pages(ram) == len(
        {a // SECTION for r in ram for a in range(r.start, r.end, 16 * MIB)}
    ) * (2 * MIB)


def test_which_node_an_address_is_on() -> None:
    spans = [NodeRange(1, 0, 4), NodeRange(0, 4, 8)]
    assert [node_of(a, spans) for a in (0, 3, 4, 7, 8)] == [1, 1, 0, 0, 0]
    assert node_of(0, []) == 0
    assert list(ram_of([MapEntry(0, 4, 1), MapEntry(4, 8, 2), MapEntry(8, 9, 1)])) == [(0, 4), (8, 9)]


@pytest.mark.parametrize(
    ("release", "found"),
    [
        ("6.12.107+deb13-amd64", (6, 12)),
        ("5.4.119-19", (5, 4)),
        ("10.0", (10, 0)),
        ("6", None),
        ("", None),
        ("next-20261101", None),
    ],
)
def test_versions(release: str, found: tuple[int, int] | None) -> None:
    assert version(release) == found


def test_differences() -> None:
    assert not has("5.9.16", "memmap-soft-reserved-dax")
    assert has("5.10.0", "memmap-soft-reserved-dax")
    assert not has("5.18.19", "dax-deduplicated")
    assert has("5.19.0-rc1", "dax-deduplicated")
    assert not has("6.2.9", "dax-defaults-to-kmem")
    assert has("6.12.1", "dax-defaults-to-kmem")
    assert has("linux-next", "soft-reserved-not-in-iomem"), "an unreadable release counts as the newest"
    assert all(row.source and row.meaning for row in DIFFERENCES.values())
