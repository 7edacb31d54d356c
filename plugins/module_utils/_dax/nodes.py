# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Device nodes: links, owners, groups and modes as a layout wants them against what a host has.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from .._errors import NotPossible, Problem
from .._layout import DEVDAX, Device, Layout
from .._pmem.actions import is_as_wanted, pmem_reservations, wanted_namespaces
from .._pmem.state import Namespace
from .._system import System
from .accounts import account_id
from .actions import dax_devices, matches, our_regions
from .state import DaxDevice, DaxState


class NodeFault(NamedTuple):
    """What has to be done to the node of a device of the layout, as text."""

    device: Device
    text: str


def check_accounts(system: System, layout: Layout) -> None:
    """Raise :class:`NotPossible` where an owner or a group does not exist on the host."""
    problems = []
    for device in layout.devices:
        for database, kind, name in (("passwd", "owner", device.owner), ("group", "group", device.group)):
            if account_id(system, database, name) is None:
                word = "user" if kind == "owner" else "group"
                message = f"the {word} {name!r} does not exist on this host; create it first"
                problems.append(Problem(f"{device.path}.{kind}", "dax-account", message))
    if problems:
        raise NotPossible(problems)


def found_devices(layout: Layout, state: DaxState) -> dict[str, DaxDevice]:
    """The host's device for each device of the layout that is there, by the layout's name."""
    found = {
        wanted.name: device
        for region in our_regions([layout], state)
        for device in region.devices
        for wanted in dax_devices(layout)
        if matches(wanted, device)
    }
    for wanted, whole in wanted_namespaces(layout):
        for namespace in state.namespaces:
            if namespace.range == whole and is_as_wanted(wanted, namespace):
                found[wanted.name] = as_device(namespace)
    return found


def as_device(namespace: Namespace) -> DaxDevice:
    """The device of a namespace, be it a character or a block device."""
    data = (namespace.data,) if namespace.data else ()
    return DaxDevice(
        posixpath.basename(namespace.node_path), sum(part.size for part in data), namespace.align, data,
        namespace.driver, namespace.target_node, namespace.node_path,
        namespace.owner, namespace.group, namespace.permissions,
    )  # fmt: skip


def node_faults(layout: Layout, state: DaxState) -> list[NodeFault]:
    """What of links, owners, groups and modes of the devices that are there is not as wanted."""
    faults = []
    found = found_devices(layout, state)
    for wanted in layout.devices:
        device = found.get(wanted.name)
        if device is None or wanted.use != DEVDAX:
            continue
        link = state.links.get(wanted.name)
        if link != f"/dev/{device.name}":
            now = f"it points to {link}" if link else "there is no such link"
            faults.append(NodeFault(wanted, f"link /dev/carveout/{wanted.name} to {device.name} ({now})"))
        for what, now, should in (
            ("owner", device.owner, wanted.owner),
            ("group", device.group, wanted.group),
            ("mode", device.mode, wanted.mode),
        ):
            if now != should:
                text = f"set {what} of {wanted.name} to {should} (it is {now or 'without a node'})"
                faults.append(NodeFault(wanted, text))
    return faults


def renamed_devices(layout: Layout, state: DaxState) -> list[DaxDevice]:
    """Devices that stay as they are, but under another name than their links have now."""
    renamed = []
    found = found_devices(layout, state)
    for name in (device.name for device in layout.devices if device.use == DEVDAX):
        device = found.get(name)
        if device is None:
            continue
        names = [link for link, node in state.links.items() if node == f"/dev/{device.name}"]
        if names and name not in names:
            renamed.append(device)
    return renamed


def stale_links(layout: Layout, state: DaxState) -> list[str]:
    """Links to devices in the layout's regions under names that it does not have."""
    names = {device.name for device in layout.devices if device.use == DEVDAX}
    nodes = {f"/dev/{device.name}" for region in our_regions([layout], state) for device in region.devices}
    ours = {r.range for r in pmem_reservations(layout)}
    nodes |= {n.node_path for n in state.namespaces if n.range in ours and n.node_path}
    return sorted(link for link, node in state.links.items() if link not in names and node in nodes)
