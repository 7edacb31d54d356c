# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the devices of a layout and the state of a host to the steps between them. Pure.

Devices are matched by their physical ranges, never by ``daxX.Y``: X is an ID shared with other
subsystems, Y counts creations. The rules behind the checks are those of drivers/dax/bus.c.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Union

from .._errors import InvalidInput, NotPossible, Problem
from .._layout import SYSTEM_RAM, Device, Layout, Reservation
from .._pmem.actions import DRIVERS as NAMESPACE_DRIVERS
from .._ranges import Range
from .._units import MIB, format_size
from .blocks import as_wanted
from .state import KMEM, DaxDevice, DaxRegion, DaxState

MECHANISM = "dax"
DRIVER = "device_dax"
#: What a device of any align is made of (drivers/dax/bus.c, alloc_is_aligned and memremap's
#: sections of PMD size).
GRAIN = 2 * MIB
#: dax_align_valid: PAGE_SIZE, PMD_SIZE, PUD_SIZE.
ALIGNS = (4096, 2 * MIB, 1024 * MIB)
#: Drivers whose devices are ours to change; "" is none.
_KNOWN = ("", DRIVER, KMEM)


@dataclass(frozen=True)
class Destroy:
    """Unbind a device, take its memory and, unless it is the seed, delete it."""

    region: DaxRegion
    device: DaxDevice

    @property
    def text(self) -> str:
        what = " ".join(str(extent) for extent in self.device.extents) or "empty"
        return f"destroy {self.device.name} ({what})"


@dataclass(frozen=True)
class Create:
    """Make an empty device in a region."""

    region: DaxRegion
    device: Device

    @property
    def text(self) -> str:
        return f"create a device for {self.device.name} in region {self.region.range}"


@dataclass(frozen=True)
class SetAlign:
    device: Device

    @property
    def text(self) -> str:
        return f"set align of {self.device.name} to {format_size(self.device.align)}"


@dataclass(frozen=True)
class AddMapping:
    """Add one extent behind those that the device has."""

    device: Device
    extent: Range

    @property
    def text(self) -> str:
        return f"add {self.extent} ({format_size(self.extent.size)}) to {self.device.name}"


@dataclass(frozen=True)
class Bind:
    """Bind to the driver of the device's use; ``existing`` is the device where it was there already.

    ``by_name``: the region may be meant for another driver.
    """

    device: Device
    existing: DaxDevice | None = None
    by_name: bool = False

    @property
    def text(self) -> str:
        return f"bind {self.device.name} to {driver_of(self.device)}"


@dataclass(frozen=True)
class Unbind:
    """Take a device that stays from the driver of another use, its memory offline before where the kernel has it."""

    region: DaxRegion
    device: DaxDevice
    name: str

    @property
    def text(self) -> str:
        if self.device.driver == KMEM:
            return f"take the memory of {self.name} from the kernel"
        return f"unbind {self.name} from {self.device.driver}"


@dataclass(frozen=True)
class Online:
    """Online the memory blocks of a device that is bound to ``kmem``, or take them offline."""

    device: Device
    existing: DaxDevice | None = None

    @property
    def text(self) -> str:
        if self.device.online == "no":
            return f"take the memory of {self.device.name} offline"
        return f"online the memory of {self.device.name} ({self.device.online})"


# evaluated at run time, where Python 3.9 knows no `|` between types
Action = Union[Destroy, Create, SetAlign, AddMapping, Bind, Unbind, Online]


def driver_of(device: Device) -> str:
    if device.namespace:
        return NAMESPACE_DRIVERS[device.namespace]
    return KMEM if device.use == SYSTEM_RAM else DRIVER


def dax_reservations(layout: Layout) -> list[Reservation]:
    return [r for r in layout.reservations if r.mechanism == MECHANISM]


def dax_devices(layout: Layout) -> list[Device]:
    """The devices that are made in regions; namespaces of persistent memory are made otherwise."""
    return [device for device in layout.devices if not device.namespace]


def matches(wanted: Device, device: DaxDevice) -> bool:
    """True where a device of the host maps what the layout's device maps."""
    return wanted.extents == device.extents and wanted.align == device.align


def check_devices(layout: Layout) -> dict[str, Reservation]:
    """The reservation of each device by the device's name.

    Raises :class:`InvalidInput` where the kernel would refuse a device, or, worse, take it: it
    checks lengths only, and a start that is no multiple of the align maps other memory than the
    device's; a mapping of a wrong length is ignored with success since 6.12.
    """
    problems = []
    places: dict[str, Reservation] = {}
    taken: list[tuple[Range, str]] = []
    for device in dax_devices(layout):
        if device.align not in ALIGNS:
            known = ", ".join(format_size(align) for align in ALIGNS)
            message = f"align {format_size(device.align)} does not exist; the kernel has {known}"
            problems.append(Problem(device.path, "dax-align", message))
            continue
        unit = max(device.align, GRAIN)
        for extent in device.extents:
            if extent.start % unit or extent.end % unit:
                message = f"extent {extent} of {device.name} is not aligned to {format_size(unit)}"
                problems.append(Problem(device.path, "dax-misaligned", message))
            other = next((name for range_, name in taken if range_.overlaps(extent)), None)
            if other is not None:
                message = f"extent {extent} of {device.name} overlaps {other}"
                problems.append(Problem(device.path, "dax-overlap", message))
            taken.append((extent, device.name))
        home = [
            reservation
            for reservation in dax_reservations(layout)
            if device.extents and all(reservation.range.contains(extent) for extent in device.extents)
        ]
        if home and device.name not in places:
            places[device.name] = home[0]
        elif home:
            problems.append(Problem(device.path, "dax-name", f"a second device has the name {device.name}"))
        else:
            message = f"the extents of {device.name} do not lie in one {MECHANISM} reservation"
            problems.append(Problem(device.path, "dax-outside", message))
    if problems:
        raise InvalidInput(problems)
    return places


def missing_reservations(layout: Layout, state: DaxState) -> list[Reservation]:
    """The reservations of which the kernel has made no region."""
    ranges = {region.range for region in state.regions}
    return [r for r in dax_reservations(layout) if r.range not in ranges]


def our_regions(layouts: Iterable[Layout], state: DaxState) -> list[DaxRegion]:
    """The regions that are exactly a ``dax`` reservation of one of the layouts."""
    ranges = {r.range for layout in layouts for r in dax_reservations(layout)}
    return [region for region in state.regions if region.range in ranges]


def plan_actions(layout: Layout, state: DaxState) -> list[Action]:
    """The steps, in order, that make the host's devices those of the layout; none where they are.

    What the kernel has to give back comes first, as it may refuse. Raises :class:`InvalidInput` for a layout the
    kernel could not carry out, :class:`NotPossible` where a region is missing or as a whole the kernel's.
    """
    places = check_devices(layout)
    problems = [_missing(reservation, state) for reservation in missing_reservations(layout, state)]
    release: list[Action] = []
    destroy: list[Action] = []
    build: list[Action] = []
    for region in our_regions([layout], state):
        wanted = [device for device in dax_devices(layout) if places[device.name].range == region.range]
        problems += _not_ours(layout, region)
        for device in region.devices:
            if device.size == 0 and device.is_seed:
                continue
            if not any(matches(w, device) and device.driver in _KNOWN for w in wanted):
                (release if device.driver == KMEM else destroy).append(Destroy(region, device))
        for want in wanted:
            existing = next((d for d in region.devices if matches(want, d) and d.driver in _KNOWN), None)
            if existing is None:
                build += [Create(region, want), SetAlign(want)]
                build += [AddMapping(want, extent) for extent in want.extents]
                build += _bind(want, None, places[want.name])
            elif existing.driver == driver_of(want):
                if existing.driver == KMEM and not all(as_wanted(b, want.online) for b in existing.blocks):
                    build.append(Online(want, existing))
            else:
                if existing.driver:
                    unbind = Unbind(region, existing, want.name)
                    (release if existing.driver == KMEM else destroy).append(unbind)
                build += _bind(want, existing, places[want.name])
    if problems:
        raise NotPossible(problems)
    return release + destroy + build


def _bind(device: Device, existing: DaxDevice | None, home: Reservation) -> list[Action]:
    steps: list[Action] = [Bind(device, existing, home.existing)]
    # bound to kmem, its blocks are offline: the kernel's own policy is set aside for that moment
    if device.use == SYSTEM_RAM and device.online != "no":
        steps.append(Online(device, existing))
    return steps


def taken(actions: Iterable[Action]) -> list[DaxDevice]:
    """The devices that whoever has them open would lose."""
    return [action.device for action in actions if isinstance(action, (Destroy, Unbind))]


def built(actions: Iterable[Action]) -> set[str]:
    """Names of the layout's devices that are made or bound."""
    return {action.device.name for action in actions if not isinstance(action, (Destroy, Unbind))}


def plan_removal(layouts: Sequence[Layout], state: DaxState) -> list[Action]:
    """The steps that take every device out of the regions of these layouts.

    What ``kmem`` has is left alone: it is the kernel's memory until the next boot.
    """
    return [
        Destroy(region, device)
        for region in our_regions(layouts, state)
        for device in region.devices
        if not (device.size == 0 and device.is_seed) and device.driver != KMEM
    ]


def idle_state(layout: Layout) -> DaxState:
    """The state just after a boot with the layout's arguments: its regions, nothing in them."""
    regions = [
        DaxRegion(
            path="", start=r.start, end=r.end, align=GRAIN, available=r.end - r.start,
            target_node=r.node, devices=(),
        )
        for r in dax_reservations(layout)
    ]  # fmt: skip
    return DaxState(tuple(regions), {})


def plan_path(reservation: Reservation) -> str:
    """The place in the plan that a reservation answers."""
    return f"pools.{reservation.pool}.nodes.{reservation.node}"


def _not_ours(layout: Layout, region: DaxRegion) -> list[Problem]:
    """Why a region's memory cannot be used although the kernel has made the region."""
    home = next(r for r in dax_reservations(layout) if r.range == region.range)
    if home.existing:
        return []  # whoever made the region decided what becomes of it at boot; the plan says that it is ours now
    path = plan_path(home)
    problems = []
    for device in region.devices:
        idle = "dax_hmem.region_idle=1 was not in effect when the region was made; reboot with the layout's"
        if device.driver == KMEM and device.is_seed:
            message = (
                f"the memory of {region.range} was handed to the kernel as System RAM: {device.name} "
                f"is bound to kmem. Either that was done by hand, or it is the default since Linux 6.3 and {idle} "
                "arguments"
            )
            problems.append(Problem(path, "dax-kmem", message))
        elif device.is_seed and device.driver == "" and device.size == region.range.size:
            message = (
                f"the region {region.range} was not made idle: {device.name} holds all of it, for kmem. "
                f"{idle} arguments, or give it back with 'daxctl reconfigure-device -s 0 {device.name}'"
            )
            problems.append(Problem(path, "dax-not-idle", message))
    return problems


def _missing(reservation: Reservation, state: DaxState) -> Problem:
    """What there is where a region should be."""
    touching = [region for region in state.regions if region.range.overlaps(reservation.range)]
    if touching:
        found = ", ".join(str(region.range) for region in touching)
        reason = (
            f"the kernel made {found} there instead. Either other arguments are in effect, or the kernel's "
            "own image lies inside (KASLR), or an ACPI HMAT table changed the regions"
        )
    else:
        others = ", ".join(str(region.range) for region in state.regions)
        wanted = (
            "Either what made it is gone (the firmware's settings, arguments of others)"
            if reservation.existing
            else "Either the memmap= argument did not take effect"
        )
        reason = (
            f"there is no region at that place ({'the host has ' + others if others else 'the host has none'}). "
            f"{wanted}, or dax_hmem is not loaded or not built "
            "(CONFIG_DEV_DAX_HMEM), or an ACPI HMAT table keeps the kernel from making it"
        )
    size = format_size(reservation.range.size)
    message = f"no DAX region for the reservation {reservation.range} ({size}): {reason}"
    return Problem(plan_path(reservation), "dax-region-missing", message)
