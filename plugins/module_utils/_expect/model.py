# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An expectation: one checkable consequence of a layout, with the fact that was measured.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput
from .._host.model import Host
from .._layout import Layout, Reservation

#: Subjects in the order in which they are checked and reported: a cause before its consequences.
SUBJECTS = (
    "arguments", "next boot", "firmware", "reservations", "memory", "huge pages", "dmemfs", "devices", "files",
)  # fmt: skip


@dataclass(frozen=True)
class Expectation:
    """``path`` is the place in the plan that wants it; ``message`` names the path and the measured fact."""

    subject: str
    name: str
    path: str
    expected: str
    measured: str
    met: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": self.path,
            "expected": self.expected,
            "measured": self.measured,
            "met": self.met,
            "message": self.message,
        }


def compare(
    subject: str, name: str, path: str, fact: str, expected: str, measured: str, ending: str | None = None
) -> Expectation:
    """Met where both are equal; ``fact`` says the measured one in words ("the device vm-a has align 4KiB").

    ``ending`` is what the message adds where it is not met; usually that the plan says otherwise.
    """
    return judge(subject, name, path, fact, expected, measured, expected == measured, ending)


def judge(
    subject: str,
    name: str,
    path: str,
    fact: str,
    expected: str,
    measured: str,
    met: bool,
    ending: str | None = None,
) -> Expectation:
    """As :func:`compare` where equal texts are not the question."""
    tail = "" if met else f", the plan says {expected}" if ending is None else ending
    return Expectation(subject, name, path, expected, measured, met, f"{path}: {fact}{tail}")


def section(host: Host, name: str) -> Any:
    """A part of the running state.

    Raises :class:`InvalidInput` where the snapshot has none: nothing can be said of that host, neither that
    an expectation is met nor that it is not.
    """
    if name not in host.state:
        raise InvalidInput.of(
            f"state.{name}",
            "state-missing",
            "the snapshot does not say it; verification needs one of the running host, taken as root",
        )
    return host.state[name]


def reservation_path(reservation: Reservation) -> str:
    """The place in the plan that asked for a reservation."""
    return f"pools.{reservation.pool}.nodes.{reservation.node}"


def memory_path(layout: Layout, node: int) -> str:
    """The place in the plan that says what the kernel keeps on a node."""
    kernel = layout.plan.get("kernel")
    memory = kernel.get("memory") if isinstance(kernel, dict) else None
    return f"kernel.memory.{node}" if isinstance(memory, dict) and str(node) in memory else "kernel.memory"
