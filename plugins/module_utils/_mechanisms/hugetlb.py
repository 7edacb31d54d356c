# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Huge pages made at boot: ``hugepagesz=1G hugepages=0:2,1:4``.

They come out of the kernel's own memory and take no range. Amounts by node are of 5.16 and later; an
older kernel spreads one number evenly over its nodes (mm/hugetlb.c, hugepages_setup).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._errors import Problem
from .._host.model import Host
from .._layout import HugePages
from .._model.releases import DIFFERENCES, has
from .._model.struct_pages import hugetlb_cost
from .._units import kernel_size

NAME = "hugetlb"
#: Gives back most struct pages of every huge page of the host.
OPTIMISE = "hugetlb_free_vmemmap=on"
#: What may not stand on the line beside ours: these arguments act on each other.
CONFLICTING = ("hugepages", "hugepagesz", "default_hugepagesz", "hugetlb_cma", "hugetlb_cma_only")


def problems(host: Host, path: str, optimise: bool) -> list[Problem]:
    """Why this host cannot do it; empty where it can. ``path`` is the pool's."""
    found = []
    release = host.kernel
    config = host.kernel_config
    if config and config.get("CONFIG_HUGETLBFS", "y") != "y":
        text = f"the kernel {release} is built without CONFIG_HUGETLBFS; boot one that has it"
        found.append(Problem(f"{path}.mechanism", "kernel-config", text))
    if optimise and not has(release, "hugetlb-vmemmap"):
        major, minor = DIFFERENCES["hugetlb-vmemmap"].since
        text = (
            f"the kernel that boots next, {release}, keeps the struct pages of huge pages; {major}.{minor} or newer "
            "is needed, or leave optimize_vmemmap out"
        )
        found.append(Problem(f"{path}.optimize_vmemmap", "kernel-too-old", text))
    elif optimise and config.get("CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP", "y") != "y":
        text = (
            f"the kernel {release} is built without CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP; boot one that has it, or "
            "leave optimize_vmemmap out"
        )
        found.append(Problem(f"{path}.optimize_vmemmap", "kernel-config", text))
    return found


def amounts(pages: Sequence[HugePages]) -> dict[int, dict[int, int]]:
    """Pages by size and node, those of all pools together."""
    result: dict[int, dict[int, int]] = {}
    for each in pages:
        by_node = result.setdefault(each.page_size, {})
        by_node[each.node] = by_node.get(each.node, 0) + each.count
    return result


def arguments(pages: Sequence[HugePages], host: Host, optimise: bool) -> list[str]:
    """The larger pages first: they need whole GiB, which later allocations break."""
    result = []
    for size, by_node in sorted(amounts(pages).items(), reverse=True):
        if has(host.kernel, "hugepages-by-node"):
            number = ",".join(f"{node}:{count}" for node, count in sorted(by_node.items()))
        else:
            number = str(sum(by_node.values()))
        result += [f"hugepagesz={kernel_size(size)}", f"hugepages={number}"]
    return [*result, OPTIMISE] if result and optimise else result


def is_uneven(pages: Sequence[HugePages], host: Host) -> bool:
    """Whether an older kernel, which takes one number only, would spread the pages otherwise."""
    if has(host.kernel, "hugepages-by-node"):
        return False
    return any(
        set(by_node) != set(host.nodes) or len(set(by_node.values())) > 1
        for by_node in amounts(pages).values()
    )


def optimised_pages(pages: Iterable[HugePages], release: str) -> int:
    """Bytes of struct pages that :data:`OPTIMISE` adds for these pages: negative, it gives them back."""
    counts: dict[int, int] = {}
    for each in pages:
        counts[each.page_size] = counts.get(each.page_size, 0) + each.count
    return hugetlb_cost(counts, release, optimised=True).struct_pages
