# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firmware's map of this boot against the one that the layout was computed for.

What a layout's ranges rest on must not move: a range that is not RAM of its node any more is given to nobody. Small
moves of the firmware's own areas elsewhere are tolerated (:mod:`.._model.firmware_moves`).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._arguments import LAYOUT_ARGUMENT, parse, split, without_sequence
from .._host.model import Host
from .._layout import Layout, Reservation
from .._model.firmware_moves import BOUND, FIRMWARE_MOVES, Move, describe, moves, tolerable
from .._ranges import Range, RangeSet
from .._units import approximate_size, format_size
from .model import Expectation, judge, reservation_path

SUBJECT = "firmware"
#: What to do where memory is another than it was.
REMEDY = "plan anew (the main job does), or go back with 'carveout rollback'"


def firmware(layout: Layout, host: Host) -> list[Expectation]:
    """One for every reservation, and one for the rest of the map."""
    return [*places(layout, host), _map(layout, host)]


def places(layout: Layout, host: Host) -> list[Expectation]:
    """That each reservation still is RAM of its node. Regions that a kernel makes by itself are no RAM before."""
    return [_place(reservation, host) for reservation in layout.reservations if not reservation.existing]


def firmware_moves(layout: Layout, host: Host) -> list[Move]:
    """What is of another type than when the layout was computed, outside of its reservations."""
    tokens = without_sequence(split(host.cmdline), layout.kernel_arguments)
    for known in host.layouts.values():
        tokens = without_sequence(tokens, [str(a) for a in known.get("kernel_arguments", [])])
    foreign = [token for token in tokens if parse(token).name != LAYOUT_ARGUMENT]
    own = [reservation.range for reservation in layout.reservations]
    return moves(layout.predicted_map, host.firmware_map, foreign, host.kernel_running, own)


def _place(reservation: Reservation, host: Host) -> Expectation:
    path, node = reservation_path(reservation), reservation.node
    expected = f"RAM of node {node}"
    lost = RangeSet([reservation.range]).subtract(host.node_usable(node))
    measured = "; ".join(f"{part} is {_what(part, host)}" for part in lost) or expected
    if not lost:
        fact, ending = f"{reservation.range} is {expected}", ""
    else:
        fact = f"the reservation {reservation.range} is not {expected} any more: {measured}"
        ending = f". Memory was taken out or replaced, or the firmware has it elsewhere; {REMEDY}"
    name = f"memory of reservation {reservation.pool} {reservation.range}"
    return judge(SUBJECT, name, path, fact, expected, measured, not lost, ending)


def _what(part: Range, host: Host) -> str:
    """What the firmware has there now."""
    others = [node for node in host.nodes if host.node_usable(node).overlaps(part)]
    if others:
        return f"RAM of node {', '.join(map(str, others))}"
    kinds = {entry.type for entry in host.firmware_map if Range(entry.start, entry.end).overlaps(part)}
    return (
        f"of the firmware's type {', '.join(f'{kind:#x}' for kind in sorted(kinds))}" if kinds else "nothing"
    )


def _map(layout: Layout, host: Host) -> Expectation:
    found = firmware_moves(layout, host)
    met = tolerable(found)
    expected = f"as it was, but for {format_size(FIRMWARE_MOVES)} below {format_size(BOUND)}"
    ending = ""
    if not found:
        fact = measured = "the firmware's map is as it was when the layout was computed"
    else:
        measured = describe(found)
        fact = f"{approximate_size(sum(m.end - m.start for m in found))} of the firmware's map are not as they were"
        fact += f" when the layout was computed: {measured}"
        if not met:
            ending = f". Memory was added, taken out or replaced; {REMEDY}"
    return judge(SUBJECT, "map of the firmware", "kernel.memory", fact, expected, measured, met, ending)
