# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory left untouched: ``memmap=SIZE%START-1+2``.

The ``$`` spelling gives the same map but is destroyed by boot loaders; ``%`` passes all of them
and, unlike ``$``, converts RAM only.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import Problem
from .._host.model import RAM, RESERVED, Host, MapEntry
from .._layout import Device, Reservation
from .._ranges import RangeSet
from .._units import PAGE, kernel_size

NAME = "reserved"
MIN_ALIGN = PAGE
#: What the range is in the kernel's map afterwards.
TYPE = RESERVED


def problems(host: Host, before: Sequence[MapEntry], path: str, idle_foreign: bool) -> list[Problem]:
    """Every x86 kernel can do it."""
    return []


def arguments(reservations: Sequence[Reservation]) -> list[str]:
    return [
        f"memmap={kernel_size(r.range.size)}%{kernel_size(r.start)}-{RAM}+{RESERVED}" for r in reservations
    ]


def host_arguments() -> list[str]:
    return []


def device_pages(
    reservations: Sequence[Reservation], device: Device, boot: RangeSet, release: str, block: int
) -> int:
    """No device comes of it."""
    return 0


def pages_in_use(
    reservations: Sequence[Reservation], devices: Sequence[Device], boot: RangeSet, release: str
) -> int:
    """Nobody maps it."""
    return 0
