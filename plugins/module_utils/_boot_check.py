# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a boot has to show before its devices are made: that memory and kernel are those of the committed layout.

At every boot: each reservation still is memory of the host. With another kernel than the layout was verified with:
all that can be known before the devices are made (:func:`.._expectations.before_devices`).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from ._errors import NotPossible, Problem
from ._expect.firmware import places
from ._expect.model import Expectation
from ._host.files import Reader
from ._host.firmware import read_affinity, read_map
from ._host.model import Host
from ._layout import Layout
from ._records import committed_layout_id, verified_release
from ._system import System

#: The layout and the release that this boot was held to. In /run: the record for good is the main job's, which
#: verifies more than a boot can, and this way the boot service needs to write nothing else.
CHECKED = "/run/carveout/checked"

_OSRELEASE = "/proc/sys/kernel/osrelease"


def check_memory(system: System, layout: Layout) -> None:
    """Raise :class:`NotPossible` where a reservation is not RAM of its node (any more)."""
    reader = Reader(system)
    firmware_map = read_map(reader, "x86_64")
    nodes = read_affinity(reader, firmware_map).nodes
    host = Host("x86_64", firmware_map, nodes, False, "", "", "", {}, "", None, (), None, {})
    wrong = [expectation for expectation in places(layout, host) if not expectation.met]
    if wrong:
        raise NotPossible(_problems(wrong, "memory-changed"))


def check_kernel(system: System, layout: Layout) -> str:
    """Hold the boot to the committed layout where its kernel is another than the layout was verified with.

    What was found, as one line; empty where there was nothing to look at: the kernel is the one, or the layout is not
    committed (the run that boots it verifies it). Raises :class:`NotPossible` where the layout does not hold.
    """
    release = (system.read(_OSRELEASE) or "").strip()
    verified = verified_release(system, layout.id)
    note = f"{layout.id} {release}\n"
    if committed_layout_id(system) != layout.id or verified == release or system.read(CHECKED) == note:
        return ""
    # these are most of the program, and the boot waits for it
    from ._expectations import before_devices, unmet
    from ._host.tree import read_host

    found = before_devices(layout, read_host(system))
    wrong = unmet(found)
    known = f"the kernel {verified}" if verified else "no known kernel"
    if wrong:
        todo = f"boot {f'the kernel {verified}' if verified else 'a former kernel'}, go back with 'carveout rollback',"
        message = (
            f"the layout {layout.id} was verified with {known} and does not hold with {release}, which runs: no"
            f" device is made; {todo} or plan anew"
        )
        raise NotPossible([*_problems(wrong, "kernel-unverified"), Problem("", "kernel-unverified", message)])
    system.write(CHECKED, note)
    return (
        f"the layout {layout.id} was verified with {known}; with {release}, which runs, the {len(found)} expectations"
        " hold that there are before the devices. The main job verifies all and records it"
    )


def _problems(wrong: list[Expectation], code: str) -> list[Problem]:
    return [Problem("", code, expectation.message) for expectation in wrong]
