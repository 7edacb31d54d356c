# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts are worked on together, and in which order.

A wave is what the operator asked for, by count or percent. A batch is what really happens at once: a wave whose hosts
share failure domains takes several batches, because Ansible limits hosts of a task (``throttle``) and of a play
(``serial``), but knows no domains.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput

_PERCENT = re.compile(r"(\d{1,3})%")


@dataclass(frozen=True)
class Member:
    """A host that is to be changed; ``domain`` is empty where there are no failure domains."""

    name: str
    domain: str = ""
    canary: bool = False


@dataclass(frozen=True)
class Batch:
    """Hosts that are worked on at once. Numbers count from 1; ``begins`` is true of the first batch of a wave."""

    number: int
    wave: int
    begins: bool
    hosts: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return {"number": self.number, "wave": self.wave, "begins": self.begins, "hosts": list(self.hosts)}


def wave_sizes(waves: Sequence[object], count: int) -> list[int]:
    """How many of ``count`` hosts each wave has; the last size repeats until there are none left.

    As Ansible's ``serial``: a percentage is of all hosts to be changed, rounded down, and never less than one host.
    Raises :class:`InvalidInput`.
    """
    wanted = [_size(index, given, count) for index, given in enumerate(waves)]
    if not wanted:
        raise InvalidInput.of("carveout_waves", "empty", 'the list is empty; try [1, "10%", "50%", "100%"]')
    sizes: list[int] = []
    while count:
        size = min(count, wanted[min(len(sizes), len(wanted) - 1)])
        sizes.append(size)
        count -= size
    return sizes


def _size(index: int, given: object, count: int) -> int:
    text = str(given).strip()
    percent = _PERCENT.fullmatch(text)
    number = int(percent[1]) if percent else int(text) if text.isdecimal() and text.isascii() else 0
    if isinstance(given, bool) or number < 1 or (percent and number > 100):
        raise InvalidInput.of(
            f"carveout_waves[{index}]", "type", f'{given!r} is no number of hosts such as 5 or "10%"'
        )
    return max(1, count * number // 100) if percent else number


def batches(members: Sequence[Member], waves: Sequence[object], limit: int) -> list[Batch]:
    """Every member in exactly one batch: canaries first, then in the order given, never more than ``limit`` hosts of
    a failure domain at once, and for that as few batches as the wave allows. Raises :class:`InvalidInput`.
    """
    if limit < 1:
        raise InvalidInput.of(
            "carveout_domain_limit", "too-small", f"{limit} hosts at once can never be done"
        )
    queue = sorted(members, key=lambda member: not member.canary)
    found: list[Batch] = []
    for wave, size in enumerate(wave_sizes(waves, len(queue)), 1):
        rounds = _rounds(queue[:size], limit)
        for hosts in rounds:
            found.append(Batch(len(found) + 1, wave, hosts is rounds[0], tuple(hosts)))
        del queue[:size]
    return found


def _rounds(wave: Sequence[Member], limit: int) -> list[list[str]]:
    """Each host in the first round that has room for its domain."""
    rounds: list[list[str]] = []
    taken: Counter[str] = Counter()
    for member in wave:
        number = taken[member.domain] // limit if member.domain else 0
        taken[member.domain] += 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(member.name)
    return rounds
