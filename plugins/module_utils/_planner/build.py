# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a plan and a host to a layout that is known to fit and predicted to boot.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._arguments import iterate
from .._errors import NotPossible, Problem
from .._host.model import Host, MapEntry
from .._layout import Device, HugePages, Layout, LayoutWarning, Reservation
from .._mechanisms import MECHANISMS, dax, dmemfs, hugetlb
from .._model.e820 import apply_arguments
from .._model.kaslr import GUARD, placement
from .._model.releases import has
from .._model.sections import (
    ram_of,
    sections_with_pages,
)
from .._ranges import RangeSet
from .._units import approximate_size, format_size
from .accounts import accounts
from .auto import choose
from .dmemfs import carve, host_wide, pool_problems, the_pool, wanted_mount, without_regions
from .existing import all_adopted, place_existing, warn_existing
from .foreign import check_foreign, dmem_problems, hugepage_problems, numa_problems
from .hugepages import check_pages, page_arguments, wanted_mounts, wanted_pages
from .limits import check_kernels_share, check_length
from .moves import NodeResult, moved_devices, place_node
from .namespaces import check_namespaces, warn_namespaces
from .nodes import NodePlan, memory_block, node_plans
from .plan import AUTO, Plan
from .regions import check_regions, settle_hmat, unusable_starts
from .sticky import still_satisfies
from .system_ram import check_system_ram


def make_layout(plan: Plan, host: Host, previous: Layout | None = None, replan: bool = False) -> Layout:
    """The layout for this host.

    A ``previous`` (committed) layout that still satisfies plan and host is returned as it is unless
    ``replan``. Raises :class:`NotPossible` with the plan's paths where this host cannot do it.
    """
    if any(pool.mechanism == AUTO for pool in plan.pools):
        return choose(plan, host, previous, replan, make_layout)
    before = check_host(plan, host)
    nodes = node_plans(plan, host)
    existing, devices = place_existing(plan, host, before, previous)
    if previous is not None and not replan and still_satisfies(previous, plan, host, nodes, before, existing):
        check_foreign(host, before, [r for r in previous.reservations if not r.existing])
        check_length(host, previous)
        return previous
    results = _place(nodes, host, before, previous, replan)
    reservations = [r for result in results for r in result.reservations]
    taken = carve(plan, host, before, nodes, reservations)
    reservations += taken.all
    check_foreign(host, before, reservations)
    devices = sorted(
        (*devices, *(d for result in results for d in result.devices)), key=lambda d: (d.pool, d.node)
    )
    warnings = [*_moves(nodes, results, moved_devices(previous, devices)), *taken.warnings]
    return _finish(plan, host, before, nodes, [*reservations, *existing], devices, taken.argument, warnings)


def _place(
    nodes: Sequence[NodePlan], host: Host, before: Sequence[MapEntry], previous: Layout | None, replan: bool
) -> list[NodeResult]:
    """Pools and devices on all nodes, with no DAX region where no driver could be bound to it."""
    unusable = RangeSet()
    while True:
        results: list[NodeResult] = []
        problems: list[Problem] = []
        for node in nodes:
            if not node.demands:
                results.append(NodeResult((), (), (), 0))
                continue
            free = node.free.subtract(unusable) if unusable else node.free
            try:
                results.append(place_node(replace(node, free=free), previous, replan, memory_block(host)))
            except NotPossible as error:
                problems += error.problems
        if problems:
            raise NotPossible(problems)
        # Whether a start is usable depends on what is left below it, so it is known only after placing.
        more = unusable_starts(host, before, [r for result in results for r in result.reservations])
        if not more:
            return results
        unusable = unusable.union(more)


def _moves(
    nodes: Sequence[NodePlan], results: Sequence[NodeResult], devices: Sequence[Device]
) -> list[LayoutWarning]:
    """What is not where it was, and what the pools that take the rest do not get because all else is."""
    warnings = []
    for node, result in zip(nodes, results):
        for pool in result.moved:
            text = f"pool {pool} on node {node.node} moves: its place is needed otherwise"
            warnings.append(LayoutWarning("pool-moved", text))
        for device in (d for d in devices if d.node == node.node):
            what = f"device {device.name} of pool {device.pool} on node {node.node}"
            text = f"{what} moves: its place is needed otherwise"
            warnings.append(LayoutWarning("device-moved", text))
        if result.missed:
            rest = next(d.pool for d in node.demands if d.size is None)
            text = (
                f"pool {rest} on node {node.node} gets {format_size(result.missed)} less than it could, because what "
                "is there already stays where it is; planning anew (replan) would move it"
            )
            warnings.append(LayoutWarning("rest-smaller", text))
    return warnings


def check_host(plan: Plan, host: Host) -> tuple[MapEntry, ...]:
    """The kernel's map without our arguments.

    Raises :class:`NotPossible` where the host cannot do what the plan asks, whatever the sizes.
    """
    if host.architecture != "x86_64":
        raise NotPossible.of(
            "", "architecture", f"the host is {host.architecture}; memory can be carved out on x86_64 only"
        )
    if not host.kernel:
        raise NotPossible.of("", "kernel-unknown", "the release of the kernel that boots next is not known")
    if len(list(iterate(host.foreign_tokens))) < len(host.foreign_tokens):
        raise NotPossible.of(
            "",
            "arguments-not-read",
            "the command line has a bare '--': the kernel reads nothing after it, so memory arguments that are added "
            "have no effect; take it and what follows it off the command line",
        )
    before = apply_arguments(host.firmware_map, host.foreign_tokens, host.kernel).entries
    problems = numa_problems(host)
    idle = plan.policy.idle_foreign_dax or all_adopted(plan, host, before)
    for pool in plan.pools:
        if pool.mechanism == hugetlb.NAME:
            problems += hugetlb.problems(host, pool.path, pool.optimize_vmemmap)
        elif pool.mechanism == dmemfs.NAME:
            problems += [*pool_problems(plan, pool, host, before), *dmem_problems(host)]
        else:
            problems += MECHANISMS[pool.mechanism].problems(
                host, before, f"{pool.path}.mechanism", idle or pool.existing
            )
    if any(pool.mechanism == hugetlb.NAME for pool in plan.pools):
        problems += hugepage_problems(host)
    if problems:
        raise NotPossible(problems)
    return before


def _finish(
    plan: Plan,
    host: Host,
    before: Sequence[MapEntry],
    nodes: Sequence[NodePlan],
    reservations: Sequence[Reservation],
    devices: Sequence[Device],
    dmem: str,
    warnings: list[LayoutWarning],
) -> Layout:
    foreign = host.foreign_tokens
    pages = wanted_pages(plan, host)
    carved = [r for r in reservations if not r.existing]
    arguments = _arguments(plan, host, carved, pages, dmem, warnings)
    if len(carved) < len(reservations) and plan.policy.idle_foreign_dax:
        arguments += [a for a in dax.host_arguments() if a not in arguments]
    warnings += warn_existing(plan, host, reservations, arguments)
    arguments = settle_hmat(plan, host, reservations, arguments, warnings)
    after = apply_arguments(host.firmware_map, [*foreign, *arguments], host.kernel).entries
    _check_prediction(after, carved)
    check_regions(host, [*foreign, *arguments], after, reservations)
    managed = without_regions(after, reservations)
    optimised = pages and check_pages(plan, host, pages, [*foreign, *arguments], managed)
    check_namespaces(host, devices)
    total, by_node = accounts(host, before, managed, reservations, devices, pages if optimised else ())
    warnings += warn_namespaces(reservations, devices)
    warnings += check_system_ram(host, devices)
    huge = sum(each.size for each in pages)
    warnings += check_kernels_share(host, total, (before, managed), nodes, carved, huge)
    shared = sections_with_pages(ram_of(managed)).intersect(r.range for r in carved).size
    if shared:
        warnings.append(
            LayoutWarning(
                "sections-shared",
                f"{approximate_size(shared)} of the reservations lie in 128 MiB sections that the kernel or firmware "
                "also uses; their struct pages are not given back",
            )
        )
    layout = Layout(
        plan=_in_order(plan.source),
        kernel=host.kernel,
        arguments=tuple(arguments),
        reservations=tuple(sorted(reservations, key=lambda r: r.start)),
        devices=tuple(devices),
        predicted_map=tuple((e.start, e.end, e.type) for e in after),
        memory=total,
        memory_nodes=by_node,
        warnings=tuple(warnings),
        hugepages=pages,
        mounts=(*wanted_mounts(plan, pages), *wanted_mount(plan, reservations)),
    )
    check_length(host, layout)
    return layout


def _in_order(data: Any) -> Any:
    """The same with its keys sorted: the order of a plan's keys must not show in the layout's bytes."""
    if isinstance(data, Mapping):
        return {key: _in_order(data[key]) for key in sorted(data)}
    return [_in_order(item) for item in data] if isinstance(data, list) else data


def _arguments(
    plan: Plan,
    host: Host,
    reservations: Sequence[Reservation],
    pages: Sequence[HugePages],
    dmem: str,
    warnings: list[LayoutWarning],
) -> list[str]:
    foreign = host.foreign_tokens
    arguments: list[str] = []
    for reservation in sorted(reservations, key=lambda r: r.start):
        arguments += MECHANISMS[reservation.mechanism].arguments([reservation])
    arguments += [dmem, *host_wide(the_pool(plan), host, warnings)] if dmem else []
    arguments += page_arguments(plan, host, pages, warnings)
    for name in sorted({r.mechanism for r in reservations}):
        arguments += MECHANISMS[name].host_arguments()
    ranges = [r.range for r in reservations]
    if placement([*foreign, *arguments]).collisions(ranges):
        arguments.insert(0, GUARD)
    if placement([*foreign, *arguments]).collisions(ranges):
        if plan.policy.kaslr == "keep":
            raise NotPossible.of(
                "policy.kaslr",
                "kaslr-collision",
                "with the arguments that stand on the command line already, KASLR may put the kernel inside a "
                "reservation; remove some memmap= arguments or set policy.kaslr: allow-disable",
            )
        arguments = [a for a in arguments if a != GUARD] + ["nokaslr"]
    if ranges and host.firmware_boot == "efi" and not has(host.kernel, "efi-stub-minds-memmap"):
        if plan.policy.kaslr == "allow-disable":
            arguments = [a for a in arguments if a not in (GUARD, "nokaslr")] + ["nokaslr"]
        else:
            warnings.append(
                LayoutWarning(
                    "efi-kaslr",
                    f"the EFI stub of {host.kernel} may not mind memmap= when it chooses the kernel's place (6.10 and "
                    "recent stable releases do); policy.kaslr: allow-disable rules that out",
                )
            )
    kaslr = placement([*foreign, *arguments])
    if not kaslr.randomised and placement(foreign).randomised:
        warnings.append(
            LayoutWarning("kaslr-physical", f"the kernel's physical place is not randomised: {kaslr.reason}")
        )
    return arguments


def _check_prediction(after: Sequence[MapEntry], reservations: Sequence[Reservation]) -> None:
    ours = {MECHANISMS[r.mechanism].TYPE for r in reservations}
    found = {(kind, start): end for start, end, kind in after if kind in ours}
    starts = {kind: sorted(start for k, start in found if k == kind) for kind in ours}
    for reservation in reservations:
        kind = MECHANISMS[reservation.mechanism].TYPE
        index = bisect_right(starts[kind], reservation.start) - 1
        if index < 0 or found[kind, starts[kind][index]] < reservation.end:
            raise NotPossible.of(
                f"pools.{reservation.pool}.nodes.{reservation.node}",
                "prediction-differs",
                f"the kernel is predicted not to reserve {reservation.range}",
            )
