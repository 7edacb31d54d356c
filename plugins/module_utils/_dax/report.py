# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices as lines of text, one a device, for differences that people read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._layout import Device, Layout
from .._ranges import Range
from .._units import format_size
from .actions import DRIVER, matches, our_regions
from .state import DaxDevice, DaxState


def describe_layout(layout: Layout) -> str:
    """The devices of a layout as they are to be."""
    return _lines(_line(d.name, d.extents, d.align, DRIVER, d.owner, d.group, d.mode) for d in layout.devices)


def describe_state(layouts: Sequence[Layout], state: DaxState) -> str:
    """What the regions of the layouts hold now; devices of no layout by their kernel names."""
    wanted = [device for layout in layouts for device in layout.devices]
    return _lines(
        _line(_name(wanted, d), d.extents, d.align, d.driver, d.owner, d.group, d.mode)
        for region in our_regions(layouts, state)
        for d in region.devices
        if d.size
    )


def _name(wanted: Sequence[Device], device: DaxDevice) -> str:
    return next((w.name for w in wanted if matches(w, device)), device.name)


def _line(
    name: str, extents: Iterable[Range], align: int, driver: str, owner: str, group: str, mode: str
) -> str:
    where = " + ".join(f"{extent} {format_size(extent.size)}" for extent in extents)
    return f"{name}: {where}, align {format_size(align)}, {driver or 'no driver'}, {owner}:{group} {mode}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines))
