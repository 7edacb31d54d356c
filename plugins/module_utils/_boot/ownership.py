# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which arguments of a command line are ours: the unbroken runs that ``carveout.layout=ID`` starts.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .._arguments import LAYOUT_ARGUMENT, TRIAL_ARGUMENT, is_memory_argument, parse, without_sequence


class Owned(NamedTuple):
    """``start`` and ``end`` of a run of ours; ``known`` where the whole run was known beforehand."""

    start: int
    end: int
    known: bool


def without_tail(tokens: Sequence[str], running: Sequence[str]) -> list[str]:
    """A command line without what :func:`trial_tail` tells of the running one."""
    return without_sequence(tokens, trial_tail(running))


def owned_runs(tokens: Sequence[str], runs: Sequence[Sequence[str]]) -> list[Owned]:
    """Our runs in a command line, in order.

    ``runs`` are the argument lists that are known to be ours. Of one that others cut short, what is
    left in front is ours. Where none begins with this ``carveout.layout=`` (its drop-in and its
    layout file are gone), the memory arguments that follow without a break are taken as ours.
    """
    found = []
    index = 0
    while index < len(tokens):
        if parse(tokens[index]).name != LAYOUT_ARGUMENT:
            index += 1
            continue
        lengths = [common_start(tokens[index:], run) for run in runs if run and run[0] == tokens[index]]
        end = index + max(lengths, default=1)
        while not lengths and end < len(tokens) and is_memory_argument(tokens[end]):
            end += 1
        found.append(Owned(index, end, bool(lengths)))
        index = end
    return found


def trial_tail(running: Sequence[str]) -> list[str]:
    """What only a trial has on its command line: its sign and what stands behind it.

    Without /etc/kernel/cmdline kernel-install makes the entry of a new kernel of the running one's command line. While
    that is a trial's, be it a verified one, the entry has this too.
    """
    return list(running[running.index(TRIAL_ARGUMENT) :]) if TRIAL_ARGUMENT in running else []


def common_start(left: Sequence[str], right: Sequence[str]) -> int:
    """How many items two sequences begin with in common."""
    return next(
        (i for i, (one, two) in enumerate(zip(left, right)) if one != two), min(len(left), len(right))
    )


def without_owned(tokens: Sequence[str], owned: Sequence[Owned]) -> list[str]:
    """The arguments that are not ours, in order."""
    return [
        token for index, token in enumerate(tokens) if not any(run.start <= index < run.end for run in owned)
    ]
