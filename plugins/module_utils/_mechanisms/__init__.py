# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to carve memory out, one file each. PRIVATE to the collection.

Those of :data:`MECHANISMS` take ranges and have the same face; :mod:`.hugetlb` takes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .._errors import Problem
from .._host.model import Host, MapEntry
from .._layout import Device, Reservation
from .._ranges import RangeSet
from . import dax, dmemfs, pmem, reserved


class Mechanism(Protocol):
    """What each file of this room offers."""

    NAME: str
    MIN_ALIGN: int
    TYPE: int

    def problems(
        self, host: Host, before: Sequence[MapEntry], path: str, idle_foreign: bool
    ) -> list[Problem]: ...

    def arguments(self, reservations: Sequence[Reservation]) -> list[str]: ...

    def host_arguments(self) -> list[str]: ...

    def device_pages(
        self, reservations: Sequence[Reservation], device: Device, boot: RangeSet, release: str, block: int
    ) -> int:
        """Bytes of struct pages that one of its devices costs the kernel, made as the layout says.

        ``reservations`` are those of the mechanism, ``boot`` the sections that have struct pages already, ``block``
        the bytes of a memory block.
        """
        ...

    def pages_in_use(
        self, reservations: Sequence[Reservation], devices: Sequence[Device], boot: RangeSet, release: str
    ) -> int:
        """Bytes of struct pages, and of what it has instead, once tenants have all of the reservations.

        Beside the struct pages of ``boot``.
        """
        ...


MECHANISMS: dict[str, Mechanism] = {
    dax.NAME: dax,
    dmemfs.NAME: dmemfs,
    pmem.NAME: pmem,
    reserved.NAME: reserved,
}
