# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing devices inside the reservations of their pool on one node.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from .._errors import NotPossible, Problem
from .._ranges import Range, RangeSet
from .._units import align_down, format_size
from .packing import Item, Packer
from .plan import DAX_UNIT, REST, DevicePlan, Percent

#: How many sets of devices to be kept are tried, the largest first.
_MAX_KEPT = 64

_Placed = dict[str, "tuple[Range, ...]"]


def place_devices(
    pool_path: str,
    node: int,
    reservations: Sequence[Range],
    devices: Sequence[DevicePlan],
    kept: Mapping[str, tuple[Range, ...]],
) -> _Placed:
    """Absolute extents by device name.

    ``kept`` are extents of an earlier layout that are used again where they still fit the wish; as
    many of them as possible. Raises :class:`NotPossible` naming the device, the largest size that
    would fit, and the sum where all devices together ask for more than the pool has.

    Devices are placed in the plan's order where that works. Where it does not, every way to place
    them is tried, so that "does not fit" is true; :class:`Packer` says when it was too much to try.
    """
    total = sum(r.size for r in reservations)
    sizes = {d.name: _size(d, total) for d in devices if d.size != REST}
    _check_sizes(devices, sizes)
    problems: list[Problem] = []
    for use in _fewest_moved({d.name: kept[d.name] for d in devices if d.name in kept}):
        placed = _fill(reservations, devices, sizes, use)
        if not isinstance(placed, Problem):
            return placed
        problems.append(placed)
    # The last was without what was kept: its problem is about the plan alone.
    problem = problems[-1]
    wanted = sum(sizes.values())
    if wanted > total:
        problem = Problem(
            f"{pool_path}.devices",
            "devices-exceed-pool",
            f"the devices on node {node} ask for {format_size(wanted)}, {format_size(wanted - total)} more than "
            f"the pool's {format_size(total)} there; {problem.message}",
        )
    raise NotPossible([problem])


def _fewest_moved(kept: Mapping[str, tuple[Range, ...]]) -> Iterator[Mapping[str, tuple[Range, ...]]]:
    """All of them, then all but one, and so on; at last none."""
    sets = (
        {name: kept[name] for name in names}
        for count in range(len(kept), 0, -1)
        for names in itertools.combinations(kept, count)
    )
    yield from itertools.islice(sets, _MAX_KEPT)
    yield {}


def _size(device: DevicePlan, total: int) -> int:
    if isinstance(device.size, Percent):
        return align_down(device.size.of(total), _unit(device))
    if isinstance(device.size, int):
        return device.size
    return sum(extent.size for extent in device.extents)


def _unit(device: DevicePlan) -> int:
    return max(device.align, DAX_UNIT)


def _check_sizes(devices: Sequence[DevicePlan], sizes: Mapping[str, int]) -> None:
    for device in devices:
        if device.size != REST and sizes[device.name] == 0:
            raise NotPossible.of(
                f"{device.path}.size",
                "size-invalid",
                "the share is smaller than one page of the device's align",
            )


def _fill(
    reservations: Sequence[Range],
    devices: Sequence[DevicePlan],
    sizes: Mapping[str, int],
    kept: Mapping[str, tuple[Range, ...]],
) -> _Placed | Problem:
    # Reservations may touch (two kernel regions); a device must not span two, so each is its own set.
    free = [RangeSet([r]) for r in reservations]
    pinned = {
        d.name: kept[d.name]
        for d in devices
        if d.name in kept and not d.extents and _still_fits(d, kept[d.name], sizes.get(d.name, 0), free)
    }
    fixed = [d for d in devices if d.extents]
    problem: Problem | None = None
    for homes in _homes(reservations, fixed):
        placed: _Placed = {**homes, **pinned}
        left = free
        for extents in placed.values():
            left = [part.subtract(extents) for part in left]
        taken = [e for extents in placed.values() for e in extents]
        if RangeSet(taken).size != sum(e.size for e in taken):
            problem = problem or _overlap(fixed)
            continue
        rest = _place_sizes(left, [d for d in devices if d.name not in placed], sizes)
        if not isinstance(rest, Problem):
            return {**placed, **rest}
        problem = rest if problem is None or problem.code == "extents-overlap" else problem
    return problem or _no_home(reservations, fixed)


def _homes(reservations: Sequence[Range], devices: Sequence[DevicePlan]) -> Iterator[_Placed]:
    """Every way to give devices with extents a reservation each; the first reservations first."""
    choices = []
    for device in devices:
        last = max(e.end for e in device.extents)
        choices.append([r.start for r in reservations if last <= r.size])
    for starts in itertools.islice(itertools.product(*choices), _MAX_KEPT * 16):
        yield {
            d.name: tuple(Range(start + e.start, start + e.end) for e in d.extents)
            for d, start in zip(devices, starts)
        }


def _no_home(reservations: Sequence[Range], devices: Sequence[DevicePlan]) -> Problem:
    largest = max(r.size for r in reservations)
    device, index, extent = next(
        (d, n, e) for d in devices for n, e in enumerate(d.extents) if e.end > largest
    )
    return Problem(
        f"{device.path}.extents[{index}]",
        "extent-outside",
        f"the extent ends {format_size(extent.end)} into the reservation, which has {format_size(largest)}",
    )


def _overlap(devices: Sequence[DevicePlan]) -> Problem:
    device = devices[-1]
    return Problem(
        f"{device.path}.extents",
        "extents-overlap",
        f"no reservation of the pool on node {device.node} has all these extents free; another device's "
        "extents overlap them",
    )


def _place_sizes(
    free: Sequence[RangeSet], devices: Sequence[DevicePlan], sizes: Mapping[str, int]
) -> _Placed | Problem:
    """The devices that are one range each."""
    wanted = [d for d in devices if d.size != REST]
    rest = next((d for d in devices if d.size == REST), None)
    items = [Item(d.name, _unit(d), sizes[d.name]) for d in wanted]
    packer = Packer(free, _unit(rest) if rest else 0)
    placed = packer.pack(items)
    if placed is None:
        return _does_not_fit(packer, wanted, items, rest)
    if rest:
        spot = max(_runs(packer.left, _unit(rest)), key=lambda r: (r.size, -r.start))
        placed[rest.name] = spot
    return {name: (spot,) for name, spot in placed.items()}


def _does_not_fit(
    packer: Packer, wanted: Sequence[DevicePlan], items: Sequence[Item], rest: DevicePlan | None
) -> Problem:
    """The first device, in the plan's order, that does not fit beside those before it."""
    nearest = _nearest(packer, wanted, items) + packer.doubt
    for count in range(1, len(items) + 1):
        if Packer(packer.free, 0).pack(items[:count]) is None:
            device, item = wanted[count - 1], items[count - 1]
            largest = max((r.size for r in _runs(packer.free, item.align)), default=0)
            return Problem(
                f"{device.path}.size",
                "device-does-not-fit",
                f"no unbroken {format_size(item.size)} is left in the pool on node {device.node}; the largest "
                f"aligned run there, without the other devices, is {format_size(largest)}{nearest}",
            )
    assert rest is not None
    return Problem(
        f"{rest.path}.size",
        "nothing-left",
        f"no run of {format_size(_unit(rest))} is left beside the other devices on node {rest.node}{nearest}",
    )


def _nearest(packer: Packer, wanted: Sequence[DevicePlan], items: Sequence[Item]) -> str:
    """The nearest plan that fits, in words: one device made smaller, else each as large as those before it let."""
    if packer.pack([]) is None:
        return ""
    changes: dict[int, int] = {}
    for number in range(len(items) - 1, -1, -1):
        size = _largest(packer, [*items[:number], *items[number + 1 :]], items[number])
        if size:
            changes = {number: size}
            break
    else:
        chosen: list[Item] = []
        for number, item in enumerate(items):
            size = item.size
            if Packer(packer.free, packer.rest).pack([*chosen, item]) is None:
                size = changes[number] = _largest(packer, chosen, item)
            if size:
                chosen.append(Item(item.name, item.align, size))
    if not changes:
        return ""
    words = [
        f"{wanted[number].path}.size: {format_size(size)}" if size else f"no {wanted[number].path}"
        for number, size in changes.items()
    ]
    return f"; nearest that fits: {', '.join(words)}"


def _largest(packer: Packer, others: Sequence[Item], item: Item) -> int:
    """The largest size with which the item fits beside others; 0 where none does."""
    low, high = 0, item.size // item.align
    while low + 1 < high:
        middle = (low + high) // 2
        smaller = Item(item.name, item.align, middle * item.align)
        if Packer(packer.free, packer.rest).pack([*others, smaller]) is None:
            high = middle
        else:
            low = middle
    return low * item.align


def _still_fits(device: DevicePlan, extents: tuple[Range, ...], size: int, free: Sequence[RangeSet]) -> bool:
    return (
        len(extents) == 1
        and extents[0].size == size
        and extents[0].start % _unit(device) == 0
        and any(left.contains(extents[0]) for left in free)
    )


def _runs(free: Sequence[RangeSet], align: int) -> list[Range]:
    return [run for left in free for run in left.align_inward(max(align, DAX_UNIT))]
