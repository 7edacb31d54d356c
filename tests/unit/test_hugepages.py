# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Huge pages at boot by node: what every form of the arguments comes to, and what a kernel refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._model.hugepages import (
    HugepageResult,
    hugepages,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB

SMALL, GIGANTIC = 2 * MIB, GIB
RELEASES = ("5.10.0-32-amd64", "6.1.0-50-amd64", "6.12.117+deb13-amd64", "7.2.12+deb14-amd64")
#: RAM is 1 MiB to 3 GiB and 4 to 18 GiB; node 1 begins at 9 GiB.
NODES = {0: RangeSet([(MIB, 3 * GIB), (4 * GIB, 9 * GIB)]), 1: RangeSet([(9 * GIB, 18 * GIB)])}


def pages(result: HugepageResult, size: int) -> tuple[int, ...]:
    return tuple(result.pages[node][size] for node in sorted(result.pages))


def made(cmdline: str, release: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(2 MiB pages by node, 1 GiB pages by node)."""
    result = hugepages(split(cmdline), release, NODES, processors=1)
    return pages(result, SMALL), pages(result, GIGANTIC)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("cmdline", "small", "gigantic"),
    [
        ("", (0, 0), (0, 0)),
        ("hugepagesz=1G hugepages=3 hugepagesz=2M hugepages=33", (17, 16), (2, 1)),
        # a refused size takes its number along; the next number is for the default size
        ("hugepagesz=4M hugepages=8 hugepagesz=2M hugepages=40", (20, 20), (0, 0)),
        ("hugepagesz=1G hugepages=2 hugepagesz=1G hugepages=5", (0, 0), (1, 1)),
        ("hugepagesz=1G hugepages=2 hugepages=5", (0, 0), (1, 1)),
        ("hugepages=8 hugepagesz=2M hugepages=12", (4, 4), (0, 0)),
        ("hugepages=4 default_hugepagesz=1G", (0, 0), (2, 2)),
        ("hugepages=0x10", (0, 0), (0, 0)),
        ("hugepages=010", (5, 5), (0, 0)),
        ("hugepages=8pages", (4, 4), (0, 0)),
        ("hugepages", (0, 0), (0, 0)),
        ("-- hugepages=8", (0, 0), (0, 0)),
        # a default size that was there before does not become the current one
        ("hugepagesz=1G hugepages=1 hugepagesz=2M default_hugepagesz=1G hugepages=8", (4, 4), (1, 0)),
        ("default_hugepagesz=1G hugepagesz=1G hugepages=2", (0, 0), (1, 1)),
        ("default_hugepagesz=1G hugepages=2 hugepagesz=1G hugepages=4", (0, 0), (1, 1)),
        ("default_hugepagesz=1G default_hugepagesz=2M hugepages=2", (0, 0), (0, 0)),
    ],
)
def test_amounts_on_all_releases(
    cmdline: str, small: tuple[int, ...], gigantic: tuple[int, ...], release: str
) -> None:
    assert made(cmdline, release) == (small, gigantic)


@pytest.mark.parametrize(
    ("cmdline", "small", "gigantic"),
    [
        ("hugepagesz=1G hugepages=0:1,1:2 hugepagesz=2M hugepages=0:3,1:40", (3, 40), (1, 2)),
        ("hugepagesz=2M hugepages=0:4,5:2 hugepages=1:3", (0, 3), (0, 0)),
        ("hugepagesz=2M hugepages=0:4,6", (0, 0), (0, 0)),
        ("hugepagesz=2M hugepages=8,0:4", (4, 4), (0, 0)),
        ("hugepagesz=2M hugepages=1:4,", (0, 4), (0, 0)),
        ("hugepagesz=2M hugepages=1:", (0, 0), (0, 0)),
        ("hugepages=1:2 default_hugepagesz=1G", (0, 0), (0, 2)),
    ],
)
def test_amounts_by_node(cmdline: str, small: tuple[int, ...], gigantic: tuple[int, ...]) -> None:
    for release in RELEASES[1:]:
        assert made(cmdline, release) == (small, gigantic), release


def test_before_node_forms_only_the_first_number_counts() -> None:
    assert made("hugepagesz=2M hugepages=8:1,1:40", RELEASES[0]) == ((4, 4), (0, 0))


def test_threads_begin_at_the_first_node() -> None:
    """Seen on 6.12: 7 pages on node 0 of two; 6.1 and 7.2 with one processor spread them."""
    assert [made("hugepages=7", release)[0] for release in RELEASES] == [(4, 3), (4, 3), (7, 0), (4, 3)]
    assert made("hugepages=11", RELEASES[2])[0] == (6, 5)
    many = hugepages(["hugepages=7"], RELEASES[3], NODES, processors=16)
    assert pages(many, SMALL) == (7, 0)
    chosen = hugepages(["hugepages=7", "hugepage_alloc_threads=7"], RELEASES[3], NODES, processors=1)
    assert pages(chosen, SMALL) == (7, 0)
    assert [w.code for w in hugepages(["hugepages=7"], RELEASES[3], NODES).warnings] == ["hugepages-spread"]


def test_pages_are_made_at_once_until_6_14() -> None:
    """Seen: a number before and one after default_hugepagesz= add up on 6.12, the last counts on 7.2."""
    cmdline = "hugepages=3 default_hugepagesz=1G hugepages=1"
    assert [made(cmdline, release)[1] for release in RELEASES] == [(2, 2), (2, 2), (2, 2), (1, 0)]


def test_a_sixth_argument_is_not_read_from_6_15_on() -> None:
    cmdline = "hugepagesz=4M hugepages=1 hugepagesz=4M hugepages=1 hugepagesz=2M hugepages=8"
    assert made(cmdline, RELEASES[2])[0] == (4, 4)
    result = hugepages(split(cmdline), RELEASES[3], NODES, processors=1)
    assert pages(result, SMALL) == (0, 0)
    assert result.ignored[-1].argument == "hugepages=8"


def test_shortfalls() -> None:
    asked = ["hugepagesz=1G", "hugepages=1:12"]
    older, newer = (hugepages(asked, release, NODES, processors=1) for release in RELEASES[2:])
    # memblock falls back to another node until 6.14
    assert pages(older, GIGANTIC) == (3, 9)
    assert pages(newer, GIGANTIC) == (0, 9)
    assert {"hugepages-tight"} == {w.code for w in older.warnings}
    assert {"hugepages-short", "hugepages-tight"} == {w.code for w in newer.warnings}
    most = hugepages(["hugepages=100000"], RELEASES[1], NODES)
    assert sum(pages(most, SMALL)) * SMALL < 17 * GIB
    assert {"hugepages-short", "hugepages-tight"} == {w.code for w in most.warnings}


def test_a_node_without_memory() -> None:
    nodes = {0: NODES[0], 1: RangeSet()}
    assert pages(hugepages(["hugepages=8"], RELEASES[1], nodes), SMALL) == (8, 0)
    assert not hugepages(["hugepages=1:0"], RELEASES[1], nodes).ignored


@pytest.mark.parametrize(
    ("release", "argument", "cma"),
    [
        (RELEASES[0], "hugetlb_cma=3G", {0: 2 * GIB, 1: GIB}),
        (RELEASES[0], "hugetlb_cma=0:2G", {}),
        (RELEASES[2], "hugetlb_cma=3G", {0: 2 * GIB, 1: GIB}),
        (RELEASES[2], "hugetlb_cma=1536M", {0: GIB, 1: GIB}),
        (RELEASES[3], "hugetlb_cma=1536M", {}),
        (RELEASES[2], "hugetlb_cma=1:2G", {1: 2 * GIB}),
        (RELEASES[2], "hugetlb_cma=7:2G", {}),
        (RELEASES[2], "hugetlb_cma=512M", {}),
        (RELEASES[2], "hugetlb_cma=1:64G", {}),
    ],
)
def test_areas_for_later(release: str, argument: str, cma: dict[int, int]) -> None:
    config = {"CONFIG_CMA": "y"}
    result = hugepages([argument, "hugepagesz=1G", "hugepages=2"], release, NODES, config)
    assert result.cma == cma
    skipped = "hugepages-skipped" in {w.code for w in result.warnings}
    assert (pages(result, GIGANTIC) == (0, 0)) is skipped
    assert skipped is bool(cma)
    without = hugepages([argument, "hugepagesz=1G", "hugepages=2"], release, NODES, {"CONFIG_CMA": "n"})
    assert (without.cma, pages(without, GIGANTIC)) == ({}, (1, 1))
    assert [i.argument for i in without.ignored] == [argument]


def test_pages_out_of_the_areas() -> None:
    line = split("hugetlb_cma=1:3G hugetlb_cma_only=1 hugepagesz=1G hugepages=0:1,1:2")
    result = hugepages(line, RELEASES[3], NODES, {"CONFIG_CMA": "y"})
    assert pages(result, GIGANTIC) == (0, 2)


@pytest.mark.parametrize(
    ("release", "value", "optimised", "refused"),
    [
        (RELEASES[0], "=on", False, True),
        ("5.15.0", "=on", True, False),
        ("5.15.0", "=1", False, True),
        (RELEASES[1], "=1", True, False),
        (RELEASES[1], "", True, False),
        (RELEASES[1], "=off", False, False),
        (RELEASES[3], "=on", True, False),
        (RELEASES[3], "", False, True),
        (RELEASES[3], "=maybe", False, True),
    ],
)
def test_struct_pages_given_back(release: str, value: str, optimised: bool, refused: bool) -> None:
    result = hugepages([f"hugetlb_free_vmemmap{value}"], release, NODES)
    assert (result.optimised, bool(result.ignored)) == (optimised, refused)
    built_without = {"CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP": "n"}
    assert not hugepages([f"hugetlb_free_vmemmap{value}"], release, NODES, built_without).optimised


TOKENS = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from(
            ("hugepages", "hugepagesz", "default_hugepagesz", "hugetlb_cma", "hugetlb_free_vmemmap")
        ),
        st.text(alphabet="0123456789xGMK:,-", max_size=10)
        | st.sampled_from(("2M", "1G", "0:1,1:2", "8", "on")),
    ),
    max_size=8,
)


@given(TOKENS, st.sampled_from(RELEASES))
def test_any_arguments_come_to_no_more_than_there_is(tokens: list[str], release: str) -> None:
    result = hugepages(tokens, release, NODES)
    for node, sizes in result.pages.items():
        assert 0 <= sum(size * count for size, count in sizes.items()) <= NODES[node].size
    assert all(i.reason for i in result.ignored)
