# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing devices inside the reservations of their pool on one node.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._errors import NotPossible, Problem
from .._ranges import Range, RangeSet
from .._units import align_down, format_size
from .plan import DAX_UNIT, REST, DevicePlan, Percent


def place_devices(
    pool_path: str,
    node: int,
    reservations: Sequence[Range],
    devices: Sequence[DevicePlan],
    kept: Mapping[str, tuple[Range, ...]],
) -> dict[str, tuple[Range, ...]]:
    """Absolute extents by device name.

    ``kept`` are extents of an earlier layout that are used again where they still fit the wish.
    Raises :class:`NotPossible` naming the device, the largest size that would fit, and the sum
    where all devices together ask for more than the pool has.
    """
    total = sum(r.size for r in reservations)
    sizes = {d.name: _size(d, total) for d in devices if d.size != REST}
    _check_sum(pool_path, node, total, devices, sizes)
    orders = (_in_order(devices), _largest_first(devices, sizes))
    problems: list[Problem] = []
    # Without what was kept comes last and in the plan's order first, so that its problem is told.
    for use in (kept, {}) if kept else ({},):
        problems.clear()
        for order in orders:
            placed = _fill(reservations, devices, order, sizes, use)
            if not isinstance(placed, Problem):
                return placed
            problems.append(placed)
    raise NotPossible(problems[:1])


def _size(device: DevicePlan, total: int) -> int:
    if isinstance(device.size, Percent):
        return align_down(device.size.of(total), max(device.align, DAX_UNIT))
    if isinstance(device.size, int):
        return device.size
    return sum(extent.size for extent in device.extents)


def _check_sum(
    pool_path: str, node: int, total: int, devices: Sequence[DevicePlan], sizes: Mapping[str, int]
) -> None:
    wanted = sum(sizes.values())
    if wanted > total:
        raise NotPossible.of(
            f"{pool_path}.devices",
            "devices-exceed-pool",
            f"the devices on node {node} ask for {format_size(wanted)}, {format_size(wanted - total)} more than "
            f"the pool's {format_size(total)} there; make the pool larger or the devices smaller",
        )
    for device in devices:
        if device.size != REST and sizes[device.name] == 0:
            raise NotPossible.of(
                f"{device.path}.size",
                "size-invalid",
                "the share is smaller than one page of the device's align",
            )


def _in_order(devices: Sequence[DevicePlan]) -> list[DevicePlan]:
    return [d for d in devices if d.size != REST and not d.extents]


def _largest_first(devices: Sequence[DevicePlan], sizes: Mapping[str, int]) -> list[DevicePlan]:
    return sorted(_in_order(devices), key=lambda d: (-d.align, -sizes[d.name], d.name))


def _fill(
    reservations: Sequence[Range],
    devices: Sequence[DevicePlan],
    order: Sequence[DevicePlan],
    sizes: Mapping[str, int],
    kept: Mapping[str, tuple[Range, ...]],
) -> dict[str, tuple[Range, ...]] | Problem:
    # Reservations may touch (two kernel regions); a device must not span two, so each is its own set.
    free = [RangeSet([r]) for r in reservations]
    placed: dict[str, tuple[Range, ...]] = {}
    for device in devices:
        if device.extents:
            problem = _place_extents(device, reservations, free, placed)
            if problem:
                return problem
    for device in order:
        extents = kept.get(device.name, ())
        if _still_fits(device, extents, sizes[device.name], free):
            _take(free, extents)
            placed[device.name] = extents
    for device in order:
        if device.name in placed:
            continue
        spot = _first_fit(free, sizes[device.name], max(device.align, DAX_UNIT))
        if spot is None:
            largest = max((r.size for r in _runs(free, device.align)), default=0)
            return Problem(
                f"{device.path}.size",
                "device-does-not-fit",
                f"no unbroken {format_size(sizes[device.name])} is left in the pool on node {device.node}; the "
                f"largest aligned run there is {format_size(largest)}",
            )
        _take(free, (spot,))
        placed[device.name] = (spot,)
    for device in devices:
        if device.size == REST:
            runs = _runs(free, device.align)
            if not runs:
                return Problem(
                    f"{device.path}.size",
                    "nothing-left",
                    f"the other devices leave no run of {format_size(device.align)} on node {device.node}",
                )
            spot = max(runs, key=lambda r: (r.size, -r.start))
            _take(free, (spot,))
            placed[device.name] = (spot,)
    return placed


def _place_extents(
    device: DevicePlan,
    reservations: Sequence[Range],
    free: list[RangeSet],
    placed: dict[str, tuple[Range, ...]],
) -> Problem | None:
    for reservation, left in zip(reservations, free):
        extents = tuple(Range(reservation.start + e.start, reservation.start + e.end) for e in device.extents)
        if all(left.contains(extent) for extent in extents):
            _take(free, extents)
            placed[device.name] = extents
            return None
    for index, extent in enumerate(device.extents):
        if extent.end > max(r.size for r in reservations):
            return Problem(
                f"{device.path}.extents[{index}]",
                "extent-outside",
                f"the extent ends {format_size(extent.end)} into the reservation, which has "
                f"{format_size(max(r.size for r in reservations))}",
            )
    return Problem(
        f"{device.path}.extents",
        "extents-overlap",
        f"no reservation of the pool on node {device.node} has all these extents free; another device's "
        "extents overlap them",
    )


def _still_fits(device: DevicePlan, extents: tuple[Range, ...], size: int, free: Sequence[RangeSet]) -> bool:
    unit = max(device.align, DAX_UNIT)
    return (
        len(extents) == 1
        and extents[0].size == size
        and extents[0].start % unit == 0
        and any(left.contains(extents[0]) for left in free)
    )


def _runs(free: Sequence[RangeSet], align: int) -> list[Range]:
    return [run for left in free for run in left.align_inward(max(align, DAX_UNIT))]


def _first_fit(free: Sequence[RangeSet], size: int, align: int) -> Range | None:
    for run in _runs(free, align):
        if run.size >= size:
            return Range(run.start, run.start + size)
    return None


def _take(free: list[RangeSet], extents: Sequence[Range]) -> None:
    for index, left in enumerate(free):
        free[index] = left.subtract(extents)
