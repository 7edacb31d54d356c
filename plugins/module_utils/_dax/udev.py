# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The udev rule that gives the devices of a layout their links, owners and modes. Pure.

A device is recognised by everything physical that sysfs shows of it. Its first address alone would
not do: the idle seed of a region has the same ``resource`` as a device at the region's start.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._layout import DEVDAX, Device, Layout
from .._mechanisms.pmem import FSDAX, is_plain
from .actions import DRIVER

#: In /run: the rule belongs to this boot, like the devices.
RULES = "/run/udev/rules.d/61-carveout.rules"


def render_rules(layout: Layout) -> str:
    """Text of the rules file, ``""`` where the layout has no devices for tenants."""
    devices = [device for device in layout.devices if device.use == DEVDAX]
    if not devices:
        return ""
    blocks = [device for device in devices if device.namespace == FSDAX]
    head = f"# Written by Carveout for the booted layout {layout.id}; gone with the next boot."
    return "\n".join(
        [
            head,
            *(_block_rule(device) for device in blocks),
            'SUBSYSTEM!="dax", GOTO="carveout_end"',
            *(_rule(device) for device in devices if device not in blocks),
            'LABEL="carveout_end"',
            "",
        ]
    )


def _block_rule(device: Device) -> str:
    """For the block device of a namespace. Of keys with ATTRS one parent has all: what holds the namespace."""
    (data,) = device.extents
    keys = [
        'SUBSYSTEM=="block"',
        'KERNEL=="pmem*"',
        # as drivers/nvdimm/pfn_devs.c prints them ("%#llx", "%llu", "%ld")
        f'ATTRS{{resource}}=="{data.start:#x}"',
        f'ATTRS{{size}}=="{data.size}"',
        # without an info block the parent is the namespace itself, which has no align
        'ATTRS{mode}=="memory"'
        if is_plain(device.namespace, device.map)
        else f'ATTRS{{align}}=="{device.align}"',
    ]
    return ", ".join([*keys, *_assignments(device)])


def _rule(device: Device) -> str:
    keys = [
        f'DRIVER=="{DRIVER}"',
        f'ATTR{{size}}=="{device.size}"',
        f'ATTR{{align}}=="{device.align}"',
    ]
    for index, extent in enumerate(device.extents):
        # as drivers/dax/bus.c prints them ("%#llx"); the end is inclusive
        keys.append(f'ATTR{{mapping{index}/start}}=="{extent.start:#x}"')
        keys.append(f'ATTR{{mapping{index}/end}}=="{extent.end - 1:#x}"')
    return ", ".join([*keys, *_assignments(device)])


def _assignments(device: Device) -> list[str]:
    return [
        f'SYMLINK+="carveout/{_literal(device.name)}"',
        f'OWNER="{_literal(device.owner)}"',
        f'GROUP="{_literal(device.group)}"',
        f'MODE="{device.mode}"',
        'TAG+="systemd"',
    ]


def _literal(text: str) -> str:
    """A value without substitutions: an account may end in ``$`` (udev(7): ``$$`` is a ``$``)."""
    return text.replace("$", "$$").replace("%", "%%")
