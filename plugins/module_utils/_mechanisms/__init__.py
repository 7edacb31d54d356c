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
from .._layout import Reservation
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


MECHANISMS: dict[str, Mechanism] = {
    dax.NAME: dax,
    dmemfs.NAME: dmemfs,
    pmem.NAME: pmem,
    reserved.NAME: reserved,
}
