# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The layout's arguments on a command line: the one that was booted, and the one that boots next.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._arguments import LAYOUT_ARGUMENT, TRIAL_ARGUMENT, carries, find_sequence, iterate, layout_id, split
from .._host.model import Host
from .._layout import Layout
from .._mechanisms import MECHANISMS, dmemfs
from .._mechanisms.dax import IGNORE_HMAT
from .._mechanisms.hugetlb import OPTIMISE
from .._model.kaslr import GUARD
from .model import Expectation, compare, judge, reservation_path

#: What no single place of the plan asked for.
WHOLE = "pools"


def booted(layout: Layout, host: Host) -> list[Expectation]:
    """On /proc/cmdline.

    The line may name another layout with the same arguments, where the devices were changed to this one's since.
    """
    words = split(host.cmdline)
    result = _line("arguments", "", "the booted command line", layout, words)
    noted = host.state.get("noted_layout", "")
    stored = [list(known.get("kernel_arguments", [])) for known in host.layouts.values()]
    wanted = host.layouts.get(noted, {}).get("kernel_arguments", [])
    if wanted and carries(words, wanted, stored):
        fact = f"the running host has the devices of the layout {noted}"
        ending = f", the plan's is {layout.id}"
        result[0] = compare("arguments", "layout", WHOLE, fact, layout.id, noted, ending)
    return result


def next_boot(layout: Layout, host: Host) -> list[Expectation]:
    """In the entry that boots next; nothing where the boot loader could not be read.

    Nor while the layout boots on trial: only when it was verified do its arguments go there. A trial may be of the
    committed layout, where a run was stopped that had made another one's arguments permanent; it goes on as long as it
    is prepared.
    """
    words = split(host.cmdline)
    goes_on = host.committed != layout.id or bool(host.state.get("loader", {}).get("trial"))
    trial = TRIAL_ARGUMENT in words and layout_id(words) == layout.id and goes_on
    if host.boot_arguments is None or trial:
        return []
    return _line("next boot", "next boot: ", "the entry that boots next", layout, host.boot_arguments)


def _line(subject: str, prefix: str, where: str, layout: Layout, words: Sequence[str]) -> list[Expectation]:
    # Words after a bare "--" are not the kernel's any more.
    tokens = [argument.text for argument in iterate(words)]
    wanted = layout.kernel_arguments
    found = layout_id(tokens) or ""
    expected = layout.id if wanted else ""
    if found:
        fact = f"{where} names the layout {found}"
    else:
        fact = f"{where} names no layout"
    ending = f", the plan's is {expected}" if expected else ", there should be none"
    result = [compare(subject, f"{prefix}layout", WHOLE, fact, expected or "none", found or "none", ending)]
    paths = argument_paths(layout)
    for argument in dict.fromkeys(wanted[1:]):
        result.append(
            _count(subject, prefix, where, argument, paths, wanted.count(argument), tokens.count(argument))
        )
    present = [argument for argument in wanted if argument in tokens]
    if len(present) > 1:
        result.append(_order(subject, prefix, where, paths, present, tokens))
    return result


def _count(
    subject: str, prefix: str, where: str, argument: str, paths: dict[str, str], expected: int, found: int
) -> Expectation:
    fact, ending = f"the argument {argument} is missing on {where}", ""
    if found:
        fact = f"the argument {argument} stands {_times(found)} on {where}"
        ending = f", it should {_times(expected)}"
    path = paths.get(argument, WHOLE)
    return compare(
        subject, f"{prefix}argument {argument}", path, fact, _times(expected), _times(found), ending
    )


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _order(
    subject: str,
    prefix: str,
    where: str,
    paths: dict[str, str],
    present: Sequence[str],
    tokens: Sequence[str],
) -> Expectation:
    """Of those that are there: one unbroken run, in the layout's order."""
    name, expected = f"{prefix}order of the arguments", " ".join(present)
    if find_sequence(tokens, present) >= 0:
        return judge(
            subject, name, WHOLE, f"the arguments stand in order on {where}", expected, expected, True
        )
    start = tokens.index(present[0])
    stretch = tokens[start : start + len(present)]
    matched = 1
    while matched < len(stretch) and stretch[matched] == present[matched]:
        matched += 1
    after, missed = present[matched - 1], present[matched]
    follows = stretch[matched] if matched < len(stretch) else "nothing"
    fact = f"on {where} the arguments stand in the wrong order: after {after} comes {follows}"
    return judge(
        subject,
        name,
        paths.get(missed, WHOLE),
        fact,
        expected,
        " ".join(stretch),
        False,
        f", the plan says {missed}",
    )


def argument_paths(layout: Layout) -> dict[str, str]:
    """Which place of the plan each argument comes from."""
    paths = {f"{LAYOUT_ARGUMENT}={layout.id}": WHOLE, GUARD: "policy.kaslr", "nokaslr": "policy.kaslr"}
    paths[IGNORE_HMAT] = "policy.ignore_hmat"
    for pages in layout.hugepages:
        for argument in layout.arguments:
            if argument.startswith("huge"):
                place = "optimize_vmemmap" if argument == OPTIMISE else "nodes"
                paths.setdefault(argument, f"pools.{pages.pool}.{place}")
    for argument in layout.arguments:
        if argument.startswith(f"{dmemfs.ARGUMENT}="):
            own = next((r for r in layout.reservations if r.mechanism == dmemfs.NAME), None)
            paths[argument] = f"pools.{own.pool}.nodes" if own else WHOLE
    paths[dmemfs.HUGE_PAGES_OFF] = "policy.transparent_huge_pages"
    for reservation in layout.reservations:
        mechanism = MECHANISMS[reservation.mechanism]
        for argument in [] if reservation.existing else mechanism.arguments([reservation]):
            paths[argument] = reservation_path(reservation)
        for argument in mechanism.host_arguments():
            paths.setdefault(argument, f"pools.{reservation.pool}.mechanism")
    return paths
