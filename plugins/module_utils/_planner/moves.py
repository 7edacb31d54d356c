# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing a node's pools and devices with as little as possible moved from where it was.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .._errors import NotPossible
from .._layout import Device, Layout, Reservation
from .._ranges import Range, RangeSet
from .devices import place_devices
from .namespaces import cut, namespace_of, place_of
from .nearest import nothing_left, why_not
from .nodes import NodePlan
from .place import Demand, Placement, largest_rest, place
from .plan import DevicePlan

#: Ways to keep what one pool had, and ways to keep what all had, that are looked at; those after
#: them give up everything at once.
_MAX_OPTIONS, _MAX_CHOICES = 16, 512


@dataclass(frozen=True)
class NodeResult:
    """What a node's pools got. ``moved`` are pools that could not keep a place of the size they want;
    ``missed`` is how much more the rest could have if nothing were kept."""

    reservations: tuple[Reservation, ...]
    devices: tuple[Device, ...]
    moved: tuple[str, ...]
    missed: int


@dataclass(frozen=True)
class _Option:
    """One way to treat what a pool had: what it has to get again, and how many devices and pools that moves.

    ``same``: the plan wants no other size, so whoever moves it moves something that was not touched.
    """

    ranges: tuple[Range, ...]
    devices: int
    pools: int
    same: bool


_Choice = tuple[_Option, ...]


def place_node(node: NodePlan, previous: Layout | None, replan: bool, block: int) -> NodeResult:
    """Reservations and devices on the node.

    Where a layout is there already, pools whose size the plan does not change, and the devices of
    the pool that takes the rest, stay wherever a placement exists in which they do; after that comes
    the largest rest, then the fewest reservations, then what else need not move. With ``replan`` the
    largest rest and the fewest reservations come first.

    Raises :class:`NotPossible` with the nearest plan that fits.
    """
    most = largest_rest(node.free, node.budget, node.demands, {})
    if most is None:
        raise NotPossible(why_not(node))
    rest = next((d for d in node.demands if d.size is None), None)
    if rest and not most:
        raise NotPossible([nothing_left(node, rest)])
    refused: NotPossible | None = None
    best: tuple[tuple[int, ...], NodeResult] | None = None
    for _, group in itertools.groupby(_choices(node, previous), key=_cost_to_others):
        for choice in group:
            kept = {d.pool: option.ranges for d, option in zip(node.demands, choice)}
            reach = largest_rest(node.free, node.budget, node.demands, kept)
            if reach is None or (rest and not reach) or (replan and reach < most):
                continue
            found = place(node.free, node.budget, node.demands, kept, block)
            assert found is not None
            order = (-found.rest, found.count)
            moves = (*_cost_to_others(choice), *_cost(option for option in choice if not option.same))
            rank = (*order, *moves) if replan else (*_cost_to_others(choice), *order, *moves)
            if best is not None and best[0] <= rank:
                continue
            try:
                result = _result(node, found, previous, most)
            except NotPossible as error:
                refused = error
                continue
            best = (rank, result)
            if not any(moves) and (found.rest, found.count) == (most, len(node.demands)):
                return result
        if best and not replan:
            break
    if best is None:
        assert refused is not None
        raise refused
    return best[1]


def _cost(options: Iterable[_Option]) -> tuple[int, int]:
    devices = pools = 0
    for option in options:
        devices += option.devices
        pools += option.pools
    return devices, pools


def _cost_to_others(choice: _Choice) -> tuple[int, int]:
    return _cost(option for option in choice if option.same)


def _choices(node: NodePlan, previous: Layout | None) -> list[_Choice]:
    """Ways to keep what the pools had, the least moved first, and at last to keep nothing."""
    options = [list(itertools.islice(_options(node, d, previous), _MAX_OPTIONS)) for d in node.demands]
    nothing = tuple(each[-1] for each in options)
    some = list(itertools.islice(itertools.product(*options), _MAX_CHOICES))
    if nothing not in some:
        some.append(nothing)
    return sorted(some, key=_cost_to_others)


def _options(node: NodePlan, demand: Demand, previous: Layout | None) -> Iterator[_Option]:
    earlier = [r for r in previous.reservations if r.node == node.node] if previous else []
    ranges = tuple(r.range for r in earlier if r.pool == demand.pool)
    same = demand.size in (None, sum(r.size for r in ranges))
    if previous is None or not ranges:
        yield _Option((), 0, 0, same)
        return
    devices = list(_untouched(node, demand, previous))
    have = RangeSet(ranges)
    aligned = have.align_inward(demand.align) == have
    if aligned and (demand.size is None or have.size <= demand.size):
        yield _Option(ranges if same else tuple(have), 0, 0, same)
    # A pool that takes the rest has no place of its own: only its devices have.
    moved = int(demand.size is not None)
    # A few options less than are looked at, so that the last of them, to keep nothing, is among them.
    some = itertools.chain.from_iterable(
        itertools.combinations(devices, count)
        for count in range(len(devices), 0 if same else max(0, len(devices) - 1), -1)
    )
    for chosen in itertools.islice(some, _MAX_OPTIONS - 2):
        core = RangeSet(part for parts in chosen for part in parts).align_outward(demand.align)
        if demand.size is None or core.size <= demand.size:
            yield _Option(tuple(core), len(devices) - len(chosen), moved, same)
    yield _Option((), len(devices), moved, same)


def _untouched(node: NodePlan, demand: Demand, previous: Layout) -> Iterator[tuple[Range, ...]]:
    """What has to stay with the pool so that a device, of which the plan wants the same still, stays."""
    wishes = {d.name: d for d in node.pools[demand.pool].devices if d.node == node.node}
    homes = [r.range for r in previous.reservations if (r.pool, r.node) == (demand.pool, node.node)]
    for device in previous.devices:
        wish = wishes.get(device.name)
        if (device.pool, device.node) != (demand.pool, node.node) or wish is None:
            continue
        if wish.extents:
            home = next(h for h in homes if all(h.contains(e) for e in device.extents))
            if device.extents == tuple(Range(home.start + e.start, home.start + e.end) for e in wish.extents):
                # Its offsets count from the start of the reservation, which has to stay too.
                yield (Range(home.start, max(e.end for e in device.extents)),)
        elif len(device.extents) == 1 and wish.size == sum(r.size for r in place_of(previous, device)):
            yield place_of(previous, device)


def _result(node: NodePlan, found: Placement, previous: Layout | None, most: int) -> NodeResult:
    reservations = []
    devices: list[Device] = []
    moved = []
    for demand in sorted(node.demands, key=lambda d: d.pool):
        pool, ranges = node.pools[demand.pool], found.ranges[demand.pool]
        if pool.namespace:
            ranges = tuple(RangeSet(ranges))  # each namespace had one of its own
        whole = ranges
        wanted = [d for d in pool.devices if d.node == node.node]
        if wanted:
            kept = earlier_extents(previous, pool.name, node.node)
            placed = place_devices(pool.path, node.node, ranges, wanted, kept)
            made = [device_of(wish, pool.name, placed[wish.name]) for wish in wanted]
            if pool.namespace:
                ranges = tuple(cut(pool, node.node, ranges, placed))
                made = [namespace_of(pool, wish, device) for wish, device in zip(wanted, made)]
            devices += made
        align = pool.aligns[node.node]
        reservations += [
            Reservation(pool.name, pool.mechanism, node.node, part.start, part.end, align) for part in ranges
        ]
        before = tuple(
            r.range
            for r in (previous.reservations if previous else ())
            if (r.pool, r.node) == (pool.name, node.node)
        )
        if pool.namespace:
            before = tuple(RangeSet(before))
        if sum(r.size for r in before) == demand.size and before != whole:
            moved.append(pool.name)
    return NodeResult(
        tuple(sorted(reservations, key=lambda r: r.start)), tuple(devices), tuple(moved), most - found.rest
    )


def device_of(wish: DevicePlan, pool: str, extents: tuple[Range, ...]) -> Device:
    """The device that answers a wish."""
    return Device(
        wish.name, pool, wish.node, wish.align, extents, wish.path,
        wish.owner, wish.group, wish.mode, wish.units, wish.use, wish.online,
    )  # fmt: skip


def earlier_extents(layout: Layout | None, pool: str, node: int) -> dict[str, tuple[Range, ...]]:
    """Where the devices of a pool on a node were, by name."""
    if layout is None:
        return {}
    return {d.name: place_of(layout, d) for d in layout.devices if (d.pool, d.node) == (pool, node)}


def moved_devices(previous: Layout | None, devices: Sequence[Device]) -> list[Device]:
    """Devices of the size they had, in the pool and on the node they were, that are elsewhere now."""
    before = {d.name: d for d in previous.devices} if previous else {}
    return [
        device
        for device in devices
        if (old := before.get(device.name))
        and (old.pool, old.node, old.size) == (device.pool, device.node, device.size)
        and old.extents != device.extents
    ]
