# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan changes on a fleet: hosts with the same change together, and what the fleet gains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.text import one_line
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size

from .layout_change import FIRST, KINDS, LIVE, REBOOT, RECORD, SAME, Amounts, Change
from .picture_text import wrap

_WORDS = {
    FIRST: "get their first layout",
    REBOOT: "change with a reboot",
    LIVE: "change while they run",
    RECORD: "change in what is recorded alone",
    SAME: "stay as they are",
}
#: Of the hosts of one group so many are named; the JSON names them all.
_NAMED = 8


@dataclass
class FleetDiff:
    """Filled host by host; holds a text for each different change, not for each host."""

    guest: int
    before: Amounts = field(default_factory=Amounts)
    after: Amounts = field(default_factory=Amounts)
    kinds: Counter[str] = field(default_factory=Counter)
    reboots: int = 0
    _groups: dict[tuple[str, bool, tuple[str, ...]], list[str]] = field(default_factory=dict)
    _failed: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def add(self, host: str, change: Change) -> None:
        self.before += change.before
        self.after += change.after
        self.kinds[change.kind] += 1
        self.reboots += change.reboots
        self._groups.setdefault((change.kind, change.reboots, change.lines), []).append(host)

    def add_failed(self, host: str, errors: Sequence[Problem]) -> None:
        self._failed.setdefault(tuple(str(error) for error in errors), []).append(host)

    @property
    def failed(self) -> int:
        return sum(len(hosts) for hosts in self._failed.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "guest": self.guest,
            "hosts": sum(self.kinds.values()) + self.failed,
            "reboot": self.reboots,
            "cannot": self.failed,
            "kinds": {kind: self.kinds[kind] for kind in KINDS},
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }

    def text(self) -> str:
        """For a review, in 80 columns."""
        total = sum(self.kinds.values()) + self.failed
        parts = [f"{self.kinds[kind]:,} {_one(kind, self.kinds[kind])}" for kind in KINDS if self.kinds[kind]]
        parts += [f"{self.failed} cannot be planned"] if self.failed else []
        lines = wrap(f"{_hosts(total)}: {', '.join(parts)}; {self.reboots} of them reboot", "")
        lines += ["", *self._table()]
        for (kind, reboots, changes), hosts in sorted(
            self._groups.items(), key=lambda item: (KINDS.index(item[0][0]), item[1])
        ):
            how = " (with a reboot)" if kind == FIRST and reboots else ""
            lines += ["", *wrap(f"{_hosts(len(hosts))} {_one(kind, len(hosts))}{how}: {_names(hosts)}", "")]
            lines += _indented(changes)
        for problems, hosts in self._failed.items():
            lines += ["", *wrap(f"{_hosts(len(hosts))} cannot be planned: {_names(hosts)}", "")]
            lines += _indented(problems)
        return "".join(f"{one_line(line)}\n" for line in lines)

    def _table(self) -> list[str]:
        before, after = self.before, self.after
        guest = format_size(self.guest)
        size, count = approximate_size, lambda number: f"{number:,}"
        rows = (
            ("for tenants", before.tenants, after.tenants, size),
            ("struct pages given back", before.saved, after.saved, size),
            (f"guests of {guest} for tenants", before.guests, after.guests, count),
            (f"guests of {guest} given back", before.more, after.more, count),
        )
        return [f"  {'':<32}{'before':>12}{'after':>12}{'gain':>12}", *(_row(*row) for row in rows)]


def _row(words: str, before: int, after: int, form: Callable[[int], str]) -> str:
    sign = "+" if after > before else ""
    return f"  {words:<32}{form(before):>12}{form(after):>12}{sign + form(after - before):>12}"


def _indented(texts: Iterable[str]) -> list[str]:
    """Each with a mark where it begins, and deeper where it goes on."""
    lines = []
    for text in texts:
        first, *rest = wrap(" ".join(text.split("\n")), "    ")
        lines += [first, *(f"  {line}" for line in rest)]
    return lines


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number:,} hosts"


def _one(kind: str, number: int) -> str:
    """The words of a kind, of one host or of more."""
    verb, _, rest = _WORDS[kind].partition(" ")
    words = rest.replace("their", "its").replace("they are", "it is").replace("they run", "it runs")
    return f"{verb}s {words}" if number == 1 else _WORDS[kind]


def _names(hosts: Sequence[str]) -> str:
    more = len(hosts) - _NAMED
    named = ", ".join(hosts[:_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named
