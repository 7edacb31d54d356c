# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices as lines of text, one a device, for differences that people read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._layout import ONLINE, Device, Layout
from .._pmem.actions import pmem_reservations
from .._ranges import Range
from .._units import format_size
from .actions import driver_of, matches, our_regions
from .blocks import as_wanted
from .nodes import as_device
from .state import KMEM, DaxDevice, DaxState


def describe_layout(layout: Layout) -> str:
    """The devices of a layout as they are to be."""
    return _lines(
        _line(d.name, d.extents, d.align, _access(driver_of(d), d.online, d.owner, d.group, d.mode))
        for d in layout.devices
    )


def describe_state(layouts: Sequence[Layout], state: DaxState) -> str:
    """What the regions of the layouts hold now; devices of no layout by their kernel names."""
    wanted = [device for layout in layouts for device in layout.devices]
    ours = {r.range for layout in layouts for r in pmem_reservations(layout)}
    return _lines(
        _line(_name(wanted, d), d.extents, d.align, _access(d.driver, _online(d), d.owner, d.group, d.mode))
        for d in (
            *(device for region in our_regions(layouts, state) for device in region.devices),
            *(as_device(found) for found in state.namespaces if found.range in ours),
        )
        if d.size
    )


def _name(wanted: Sequence[Device], device: DaxDevice) -> str:
    return next((w.name for w in wanted if matches(w, device)), device.name)


def _access(driver: str, online: str, owner: str, group: str, mode: str) -> str:
    if driver == KMEM:
        return f"{driver}, online: {online}"
    return f"{driver or 'no driver'}, {owner}:{group} {mode}"


def _online(device: DaxDevice) -> str:
    ways = [way for way in ONLINE if all(as_wanted(blocks, way) for blocks in device.blocks)]
    return ways[0] if ways else "in part"


def _line(name: str, extents: Iterable[Range], align: int, access: str) -> str:
    where = " + ".join(f"{extent} {format_size(extent.size)}" for extent in extents)
    return f"{name}: {where}, align {format_size(align)}, {access}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines))
