# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory arguments of others that stand in the way of a plan.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._arguments import is_memory_argument, iterate, same_name
from .._errors import NotPossible, Problem
from .._host.model import ForeignArgument, Host, MapEntry
from .._layout import Reservation
from .._mechanisms import dmemfs, hugetlb
from .._model.e820 import apply_arguments
from .._model.sections import ram_of
from .._ranges import RangeSet


def check_foreign(host: Host, before: Sequence[MapEntry], reservations: Sequence[Reservation]) -> None:
    """Raises :class:`NotPossible` naming each argument that takes what a reservation needs.

    ``before`` is the map without our arguments. Ranges that the plan lists under ``avoid`` are out of the
    reservations already, so an operator can say that an argument is known and to be planned around.
    """
    taken = host.usable.subtract(ram_of(before))
    hit = [r for r in reservations if taken.overlaps(r.range)]
    if not hit:
        return
    problems: list[Problem] = []
    tokens = [a.text for a in iterate(host.foreign_tokens) if is_memory_argument(a.text)]
    for token in dict.fromkeys(tokens):
        alone = _taken(host, [token]).intersect(taken)
        pools = [r for r in hit if alone.overlaps(r.range)]
        if not pools:
            continue
        places = ", ".join(str(part) for part in alone.intersect(r.range for r in pools))
        problems.append(
            Problem(
                f"pools.{pools[0].pool}.nodes.{pools[0].node}",
                "foreign-argument",
                f"{token} ({_where(token, host.foreign)}) is not Carveout's and takes {places}, which this pool "
                "needs; remove it, or list its range under 'avoid' to plan around it",
            )
        )
    raise NotPossible(problems)


def _taken(host: Host, tokens: Sequence[str]) -> RangeSet:
    """What these arguments leave without RAM; all of it where they leave no map at all."""
    try:
        return host.usable.subtract(ram_of(apply_arguments(host.firmware_map, tokens, host.kernel).entries))
    except NotPossible:
        return host.usable


def numa_problems(host: Host) -> list[Problem]:
    """Arguments under which the kernel's nodes are not the firmware's (arch/x86/mm/numa.c, numa_setup)."""
    return [
        Problem(
            "",
            "foreign-numa-argument",
            f"{argument.text} ({_where(argument.text, host.foreign)}) makes the kernel's nodes others than the "
            "firmware's, which Carveout plans by; remove it",
        )
        for argument in iterate(host.foreign_tokens)
        if argument.name == "numa" and (argument.value or "").startswith(("off", "noacpi", "fake="))
    ]


def hugepage_problems(host: Host) -> list[Problem]:
    """Arguments of others that would make other huge pages, or change how ours are made."""
    why = (
        "beside it the kernel does not make the huge pages that the plan asks for; remove it, and have the plan make "
        "those pages too"
    )
    return _conflicts(host, hugetlb.CONFLICTING, "foreign-hugepages", why)


def dmem_problems(host: Host) -> list[Problem]:
    """Arguments of others beside which ``dmem=`` gives other regions than it is predicted to."""
    why = "the kernel has room for one dmem=, and takes cma= and hugetlb_cma= out of memory before it; remove it"
    return _conflicts(host, dmemfs.CONFLICTING, "foreign-dmem", why)


def _conflicts(host: Host, names: Iterable[str], code: str, why: str) -> list[Problem]:
    """Arguments of others that have one of the names."""
    return [
        Problem("", code, f"{argument.text} ({_where(argument.text, host.foreign)}) is not Carveout's: {why}")
        for argument in iterate(host.foreign_tokens)
        if any(same_name(argument.name, name) for name in names)
    ]


def _where(token: str, known: Sequence[ForeignArgument]) -> str:
    for argument in known:
        if argument.argument == token and argument.file:
            return f"{argument.file}, line {argument.line}" if argument.line else argument.file
    return "on the kernel's command line"
