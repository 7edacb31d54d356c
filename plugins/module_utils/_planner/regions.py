# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the DAX regions that the kernel will make are the reservations, and what to do where they are not.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import NotPossible, Problem
from .._host.model import RAM, SOFT_RESERVED, Host, MapEntry
from .._layout import LayoutWarning, Reservation
from .._mechanisms import dax
from .._model.dax_regions import NO_NODE, dax_regions, hmat_in_effect, ram_buffers
from .._model.e820 import apply_arguments
from .._model.releases import has
from .._model.sections import ram_of
from .._ranges import Range, RangeSet
from .plan import Plan


def settle_hmat(
    plan: Plan,
    host: Host,
    reservations: Sequence[Reservation],
    arguments: Sequence[str],
    warnings: list[LayoutWarning],
) -> list[str]:
    """The arguments, with ``numa=nohmat`` where the plan allows it and only that gives the wanted regions."""
    if not (host.hmat and plan.policy.ignore_hmat):
        return list(arguments)
    tokens = [*host.foreign_tokens, *arguments]
    after = apply_arguments(host.firmware_map, tokens, host.kernel).entries
    if not hmat_in_effect(host, tokens) or not region_problems(host, tokens, after, reservations):
        return list(arguments)
    warnings.append(
        LayoutWarning(
            "hmat-ignored",
            f"{dax.IGNORE_HMAT} makes the whole host ignore the firmware's HMAT: the kernel no longer knows "
            "latency, bandwidth and caches of its nodes' memory, nor which memory is the slower tier",
        )
    )
    return [*arguments, dax.IGNORE_HMAT]


def unusable_starts(host: Host, before: Sequence[MapEntry], reservations: Sequence[Reservation]) -> RangeSet:
    """What of the 'dax' reservations the kernel would keep busy behind the RAM that is left below them.

    Since 7.0 only; before, the soft-reserved range itself keeps the kernel from it. ``before`` is
    the kernel's map without our arguments.
    """
    dax_ranges = RangeSet(r.range for r in reservations if r.mechanism == dax.NAME)
    if not dax_ranges or not has(host.kernel, "soft-reserved-not-in-iomem"):
        return RangeSet()
    left = ram_of(before).subtract(r.range for r in reservations)
    return ram_buffers(MapEntry(r.start, r.end, RAM) for r in left).intersect(dax_ranges)


def check_regions(
    host: Host, tokens: Sequence[str], after: Sequence[MapEntry], reservations: Sequence[Reservation]
) -> None:
    """Raises :class:`NotPossible` unless every 'dax' reservation is predicted to be a region of its own.

    ``tokens`` is the whole command line, ours included, ``after`` the kernel's map under it.
    """
    problems = region_problems(host, tokens, after, reservations)
    if problems:
        raise NotPossible(problems)


def region_problems(
    host: Host, tokens: Sequence[str], after: Sequence[MapEntry], reservations: Sequence[Reservation]
) -> list[Problem]:
    """What is wrong with the regions of 'dax' reservations, one problem for each pool and node."""
    soft = RangeSet((e.start, e.end) for e in after if e.type == SOFT_RESERVED)
    # Regions of CXL memory are not made of the map.
    wanted = [
        r for r in reservations if r.mechanism == dax.NAME and not (r.existing and not soft.overlaps(r.range))
    ]
    if not wanted:
        return []
    predicted = dax_regions(after, host, tokens, host.kernel)
    made = predicted.regions
    # On a host of one node the kernel may not know the node of what lies past its last RAM (-1): no harm.
    alone = host.nodes[0] if len(host.nodes) == 1 else NO_NODE
    exact = {(r.start, r.end, alone if r.node == NO_NODE else r.node) for r in made}
    overlapped = {region.start for i, region in enumerate(made) if i and region.start < made[i - 1].end}
    problems: dict[str, Problem] = {}
    buffers = ram_buffers(after) if has(host.kernel, "soft-reserved-not-in-iomem") else None
    for reservation in wanted:
        path = f"pools.{reservation.pool}.nodes.{reservation.node}"
        place = (reservation.start, reservation.end, reservation.node)
        if place not in exact or reservation.start in overlapped:
            hit = [r for r in made if Range(r.start, r.end).overlaps(reservation.range)]
            instead = ", ".join(f"{Range(r.start, r.end)} on node {r.node}" for r in hit) or "none at all"
            if not made and predicted.warnings:
                instead += f" ({predicted.warnings[0].message})"
            problems.setdefault(path, _differing(host, tokens, path, reservation.range, instead))
        elif buffers is not None and buffers.overlaps(reservation.range):
            problems.setdefault(
                path,
                Problem(
                    path,
                    "dax-ram-buffer",
                    f"from {host.kernel} on, no driver can be bound at the start of {reservation.range}: RAM ends "
                    "before it at no multiple of 64 MiB, and the kernel keeps what follows up to there; list the "
                    "memory up to the next multiple of 64 MiB under 'avoid'",
                ),
            )
    return list(problems.values())


def _differing(host: Host, tokens: Sequence[str], path: str, wanted: Range, instead: str) -> Problem:
    if not hmat_in_effect(host, tokens):
        return Problem(
            path,
            "dax-regions-differ",
            f"the kernel {host.kernel} is predicted to make no DAX region of {wanted}, but {instead}; the memory "
            "arguments of others on the command line may be in the way",
        )
    return Problem(
        path,
        "hmat-regions",
        f"the firmware has an HMAT, and with it the kernel {host.kernel} makes no DAX region of {wanted}, but "
        f"{instead}. policy.ignore_hmat: true adds {dax.IGNORE_HMAT}, at a price: the whole host loses what the HMAT "
        f"says about the speed of its memory. Or {_other_way(host)}",
    )


def _other_way(host: Host) -> str:
    if has(host.kernel, "hmat-claims-unchecked"):
        return "give this pool whole ranges of the firmware's SRAT, one reservation each"
    return "leave a part of each of the node's ranges to the kernel"
