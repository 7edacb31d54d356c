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
from ._expect.files import stored, unit_access, verified_kernel
from ._expect.firmware import firmware, places
from ._expect.hugepages import hugepages, pages
from ._expect.kdump import crash_kernel
from ._expect.memory import memory
from ._expect.model import SUBJECTS, Expectation
from ._expect.namespaces import namespaces
from ._expect.reservations import reservations
from ._host.model import Host
from ._layout import Layout
from ._mechanisms import MECHANISMS

__all__ = ["SUBJECTS", "Expectation", "before_devices", "expectations", "unmet"]


def expectations(layout: Layout, host: Host, *, committed: bool = False) -> list[Expectation]:
    """Every expectation, causes before consequences.

    ``committed`` adds those of a deployment that has come to its end: that the layout is the committed one, and was
    verified with the kernel that runs. Raises :class:`InvalidInput` where the snapshot lacks the running state (then
    nothing is known), or the layout uses a mechanism that this version does not know.
    """
    _check_mechanisms(layout)
    result = [
        *booted(layout, host),
        *next_boot(layout, host),
        *firmware(layout, host),
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
        result += [committed_expectation(layout, host), *verified_kernel(layout, host)]
    return result


def before_devices(layout: Layout, host: Host) -> list[Expectation]:
    """What has to hold of a boot before anything is made in it: what a kernel itself made of map and arguments.

    That each reservation still is memory of the host, and lies where the kernel keeps out; how much the kernel has; its
    huge pages. Raises as :func:`expectations` does.
    """
    _check_mechanisms(layout)
    return [
        *booted(layout, host),
        *places(layout, host),
        *reservations(layout, host),
        *memory(layout, host, given_back=False),
        *pages(layout, host),
    ]


def _check_mechanisms(layout: Layout) -> None:
    for index, reservation in enumerate(layout.reservations):
        if reservation.mechanism not in MECHANISMS:
            raise InvalidInput.of(
                f"reservations[{index}].mechanism",
                "mechanism-unknown",
                f"{reservation.mechanism!r} is unknown to this version; known are {', '.join(sorted(MECHANISMS))}",
            )


def unmet(found: list[Expectation]) -> list[Expectation]:
    """Those that are not met, in order."""
    return [expectation for expectation in found if not expectation.met]
