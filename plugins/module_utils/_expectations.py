# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``expectations(layout, host)``: what must be true of a host that runs a layout, each met or not.

The command line, the role, the gates and the testinfra suite all judge by this one list.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from ._errors import InvalidInput
from ._expect.arguments import booted, next_boot
from ._expect.devices import devices
from ._expect.dmemfs import dmemfs
from ._expect.files import committed as committed_expectation
from ._expect.files import stored, unit_access
from ._expect.hugepages import hugepages
from ._expect.kdump import crash_kernel
from ._expect.memory import memory
from ._expect.model import SUBJECTS, Expectation
from ._expect.namespaces import namespaces
from ._expect.reservations import reservations
from ._host.model import Host
from ._layout import Layout
from ._mechanisms import MECHANISMS

__all__ = ["SUBJECTS", "Expectation", "expectations", "unmet"]


def expectations(layout: Layout, host: Host, *, committed: bool = False) -> list[Expectation]:
    """Every expectation, causes before consequences.

    ``committed`` adds the one that the layout is the committed one, which is not yet so while a deployment
    verifies it. Raises :class:`InvalidInput` where the snapshot lacks the running state (then nothing is known),
    or the layout uses a mechanism that this version does not know.
    """
    for index, reservation in enumerate(layout.reservations):
        if reservation.mechanism not in MECHANISMS:
            raise InvalidInput.of(
                f"reservations[{index}].mechanism",
                "mechanism-unknown",
                f"{reservation.mechanism!r} is unknown to this version; known are {', '.join(sorted(MECHANISMS))}",
            )
    result = [
        *booted(layout, host),
        *next_boot(layout, host),
        *reservations(layout, host),
        *memory(layout, host),
        *hugepages(layout, host),
        *dmemfs(layout, host),
        *devices(layout, host),
        *namespaces(layout, host),
        *stored(layout, host),
        *unit_access(layout, host),
        *crash_kernel(layout, host),
    ]
    if committed:
        result.append(committed_expectation(layout, host))
    return result


def unmet(found: list[Expectation]) -> list[Expectation]:
    """Those that are not met, in order."""
    return [expectation for expectation in found if not expectation.met]
