# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that should be alike, and are not: found before the first of them reboots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.layout_change import differences

from .record import Record


@dataclass(frozen=True)
class Stranger:
    """A host whose layout differs from most of its class, of which ``like`` is one; ``lines`` say by what."""

    host: str
    kind: str
    like: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.host} differs from the class {self.kind} (compared with {self.like}): {'; '.join(self.lines)}"


def strangers(records: Iterable[Record], layout_of: Callable[[str], Layout]) -> list[Stranger]:
    """In the order of the records. The layout that most hosts of a class have is the class's, of equals the first."""
    kinds: dict[str, list[Record]] = {}
    for record in records:
        if record.shape:
            kinds.setdefault(record.kind, []).append(record)
    found = []
    for kind, members in kinds.items():
        common = Counter(member.shape for member in members).most_common(1)[0][0]
        model = next(member.host for member in members if member.shape == common)
        found += [
            Stranger(member.host, kind, model, differences(layout_of(model), layout_of(member.host)).lines)
            for member in members
            if member.shape != common
        ]
    return found
