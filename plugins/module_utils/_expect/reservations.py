# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each reservation: what the kernel calls the range, and that the kernel itself is not in it.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._host.model import PRAM, RAM, RESERVED, SOFT_RESERVED, Host
from .._layout import SYSTEM_RAM, Layout, Reservation
from .._mechanisms import MECHANISMS
from .._model.releases import has
from .._ranges import Range, RangeSet
from .model import Expectation, judge, reservation_path, section

SUBJECT = "reservations"

#: Names in /proc/iomem by type (arch/x86/kernel/e820.c, e820_type_to_string); 7.x words "Reserved" anew.
_NAMES = {
    SOFT_RESERVED: ("Soft Reserved",),
    PRAM: ("Persistent Memory (legacy)",),
    RESERVED: ("Reserved", "Device Reserved"),
}


def reservations(layout: Layout, host: Host) -> list[Expectation]:
    """Two or three for every reservation, from /proc/iomem at every depth."""
    lines = section(host, "iomem")
    result = []
    for reservation in layout.reservations:
        if not lines:
            result.append(_unreadable(reservation))
            continue
        touching = [line for line in lines if Range(line[0], line[1]).overlaps(reservation.range)]
        others = [line for line in touching if not (_is_ram(line[2]) and _is_returned(layout, line))]
        kind = MECHANISMS[reservation.mechanism].TYPE
        # CXL memory has names of its own there, and is no part of the map.
        mapped = any(
            Range(e[0], e[1]).overlaps(reservation.range) for e in layout.predicted_map if e[2] == kind
        )
        hidden = kind == SOFT_RESERVED and has(host.kernel_running, "soft-reserved-not-in-iomem")
        if mapped and not hidden and kind != RAM:
            result.append(_type(reservation, kind, touching))
        if kind != RAM:
            # dmemfs takes its memory from the kernel without changing what /proc/iomem says
            result.append(_without(reservation, "kernel memory", _is_ram, others))
        result.append(_without(reservation, "the kernel's image", _is_image, touching))
    return result


def describe(reservation: Reservation) -> str:
    return f"reservation {reservation.pool} {reservation.range}"


def _unreadable(reservation: Reservation) -> Expectation:
    return judge(
        SUBJECT,
        describe(reservation),
        reservation_path(reservation),
        f"what is in {reservation.range} is not known, /proc/iomem was not read as root",
        _NAMES.get(MECHANISMS[reservation.mechanism].TYPE, ("nothing of the kernel's image",))[0],
        "unknown",
        False,
        "",
    )


def _type(reservation: Reservation, kind: int, touching: Sequence[Any]) -> Expectation:
    names = _NAMES[kind]
    lowered = [name.lower() for name in names]
    covered = RangeSet((line[0], line[1]) for line in touching if line[2].lower() in lowered)
    met = covered.contains(reservation.range)
    if met:
        measured = names[0]
    elif covered:
        measured = f"{names[0]} in part only ({covered.intersect([reservation.range]).size} bytes)"
    else:
        measured = ", ".join(dict.fromkeys(line[2] for line in touching)) or "nothing"
    return judge(
        SUBJECT,
        f"{describe(reservation)} type",
        reservation_path(reservation),
        f"/proc/iomem shows {reservation.range} as {measured}",
        names[0],
        measured,
        met,
    )


def _is_ram(name: str) -> bool:
    # "System RAM (kmem)" is what the driver kmem adds, (virtio_mem) and the like come from others
    return name == "System RAM" or name.startswith("System RAM (")


def _is_returned(layout: Layout, line: Sequence[Any]) -> bool:
    """Whether a line lies in what the plan gives to the kernel."""
    extents = RangeSet(e for d in layout.devices if d.use == SYSTEM_RAM for e in d.extents)
    return extents.contains(Range(line[0], line[1]))


def _is_image(name: str) -> bool:
    return name.startswith(("Kernel ", "Crash kernel"))


def _without(reservation: Reservation, what: str, wrong: Any, touching: Sequence[Any]) -> Expectation:
    found = [f"{line[2]} {Range(line[0], line[1])}" for line in touching if wrong(line[2])]
    measured = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
    if found:
        fact = f"the reservation {reservation.range} is not clear of {what}: {measured} lies in it"
    else:
        fact = f"the reservation {reservation.range} holds nothing of {what}"
    return judge(
        SUBJECT,
        f"{describe(reservation)} without {what}",
        reservation_path(reservation),
        fact,
        f"nothing of {what}",
        measured or f"nothing of {what}",
        not found,
        "",
    )
