# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pools of huge pages: how many on which node, and whether the kernel is predicted to make just these.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import NotPossible, Problem
from .._host.model import Host, MapEntry
from .._layout import HugePages, LayoutWarning
from .._mechanisms import hugetlb
from .._model.hugepages import HugepageResult, hugepages
from .._model.iomem import late_table, ram_pages
from .._model.node_memory import ram_of_nodes, spans_of
from .._model.releases import DIFFERENCES
from .._mounts import HUGETLBFS, Mount
from .._units import GIB, MIB, format_size
from .plan import Percent, Plan, PoolPlan

#: What the model says where fewer pages may come out than asked for.
_DOUBTS = ("hugepages-tight", "hugepages-short", "hugepages-skipped")


def wanted_pages(plan: Plan, host: Host) -> tuple[HugePages, ...]:
    """The pages of each pool and node, in the order of names. Raises :class:`NotPossible` where a share is no page."""
    result = []
    problems = []
    for pool in sorted((p for p in plan.pools if p.mechanism == hugetlb.NAME), key=lambda p: p.name):
        for node, amount in sorted(pool.nodes.items()):
            size = amount.of(host.node_usable(node).size) if isinstance(amount, Percent) else amount
            assert isinstance(size, int)
            page_size = pool.aligns[node]
            if size < page_size:
                text = f"the share is smaller than one page of {format_size(page_size)}"
                problems.append(Problem(f"{pool.path}.nodes.{node}", "size-invalid", text))
            result.append(HugePages(pool.name, node, page_size, size // page_size))
    if problems:
        raise NotPossible(problems)
    return tuple(result)


def wanted_mounts(plan: Plan, pages: Sequence[HugePages]) -> tuple[Mount, ...]:
    """The mounts of each pool. Raises :class:`NotPossible` where they are larger than the pool, all together."""
    result = []
    problems = []
    for pool in sorted((p for p in plan.pools if p.mechanism == hugetlb.NAME), key=lambda p: p.name):
        total = sum(each.size for each in pages if each.pool == pool.name)
        mounts = [_mount(pool, index, total) for index in range(len(pool.mounts))]
        asked = sum(mount.size for mount in mounts)
        if asked > total:
            text = (
                f"the mounts of the pool are to hold {format_size(asked)}, but it has {format_size(total)}: give each "
                "a size so that all fit"
            )
            problems.append(Problem(f"{pool.path}.mounts", "mounts-too-large", text))
        result += mounts
    if problems:
        raise NotPossible(problems)
    return tuple(result)


def _mount(pool: PoolPlan, index: int, total: int) -> Mount:
    wish = pool.mounts[index]
    page_size = next(iter(pool.aligns.values()))
    size = total if wish.size is None else wish.size
    return Mount(pool.name, HUGETLBFS, wish.place, page_size, size, wish.owner, wish.group, wish.mode)


def page_arguments(
    plan: Plan, host: Host, pages: Sequence[HugePages], warnings: list[LayoutWarning]
) -> list[str]:
    """What asks for the pages. Raises :class:`NotPossible` where the kernel cannot be told which node gets how many."""
    if hugetlb.is_uneven(pages, host):
        major, minor = DIFFERENCES["hugepages-by-node"].since
        raise NotPossible.of(
            _path(pages[0]),
            "kernel-too-old",
            f"the kernel {host.kernel} spreads huge pages evenly over all nodes with memory; amounts by node need "
            f"{major}.{minor} or newer. The same amount on each of the nodes {', '.join(map(str, host.nodes))} works",
        )
    optimise = any(pool.optimize_vmemmap for pool in plan.pools)
    if optimise:
        text = (
            f"{hugetlb.OPTIMISE} holds for every huge page of the host, also for those made later by others: making "
            "and giving back pages while it runs takes longer"
        )
        warnings.append(LayoutWarning("hugetlb-vmemmap", text))
    return hugetlb.arguments(pages, host, optimise)


def check_pages(
    plan: Plan, host: Host, pages: Sequence[HugePages], tokens: Sequence[str], after: Sequence[MapEntry]
) -> bool:
    """Whether the pages' struct pages are given back.

    ``tokens`` is the whole command line, ``after`` the kernel's map under it. Raises :class:`NotPossible`
    unless the kernel is predicted to make just the plan's pages.
    """
    found = _predicted(host, tokens, after)
    problems = _page_problems(plan, host, pages, found)
    if problems:
        raise NotPossible(problems)
    return found.optimised


def _predicted(host: Host, tokens: Sequence[str], after: Sequence[MapEntry]) -> HugepageResult:
    """What the kernel makes of the whole command line; ``after`` is its map under it."""
    ram = ram_pages(late_table(after), host.kernel)
    spans = spans_of(host.node_ranges, ram, tokens, host.kernel)
    return hugepages(tokens, host.kernel, ram_of_nodes(ram, spans), host.kernel_config or None)


def _page_problems(
    plan: Plan, host: Host, pages: Sequence[HugePages], found: HugepageResult
) -> list[Problem]:
    """What of the plan's pages the kernel is predicted not to make, or not for sure."""
    problems = []
    for size, by_node in hugetlb.amounts(pages).items():
        for node, count in sorted(by_node.items()):
            got = found.pages.get(node, {}).get(size, 0)
            if got == count:
                continue
            pool = next(p for p in pages if (p.node, p.page_size) == (node, size))
            less = f"; nearest that fits: {format_size(got * size)}" if 0 < got < count else ""
            problems.append(
                Problem(
                    _path(pool),
                    "hugepages-differ",
                    f"node {node} is predicted to get {got} pages of {format_size(size)} instead of {count}"
                    f"{_why(found, size)}{less}",
                )
            )
    if not problems:
        problems = [
            Problem(_path(pages[0]), "hugepages-unsure", f"{note.message}; {_remedy(pages)}")
            for note in found.warnings
            if note.code in _DOUBTS
        ]
    for wish in plan.pools:
        if wish.optimize_vmemmap and not found.optimised:
            text = f"the kernel {host.kernel} is predicted not to take {hugetlb.OPTIMISE}; leave optimize_vmemmap out"
            problems.append(Problem(f"{wish.path}.optimize_vmemmap", "prediction-differs", text))
    return problems


def size_on(pages: Sequence[HugePages], node: int) -> int:
    return sum(each.size for each in pages if each.node == node)


def _path(pages: HugePages) -> str:
    return f"pools.{pages.pool}.nodes.{pages.node}"


def _why(found: HugepageResult, size: int) -> str:
    notes = [
        note.message for note in found.warnings if note.code in _DOUBTS and format_size(size) in note.message
    ]
    return f" ({notes[0]})" if notes else ""


def _remedy(pages: Sequence[HugePages]) -> str:
    largest = max(each.page_size for each in pages)
    if largest == GIB:
        return "keep some whole GiB more for the kernel beside them, or make fewer pages"
    return f"keep more than {format_size(512 * MIB)} for the kernel beside them, or make fewer pages"
