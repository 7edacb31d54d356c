# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each DAX device: its extents, size, align, driver, node, permissions and link, and nobody else's in our regions.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._dax.actions import dax_devices, driver_of
from .._dax.blocks import Blocks, as_wanted
from .._host.model import Host
from .._layout import SYSTEM_RAM, Device, Layout
from .._ranges import Range, RangeSet, whole_blocks
from .._units import format_size
from .model import Expectation, compare, judge, reservation_path, section
from .reservations import describe

SUBJECT = "devices"
_UNPLANNED = ", which no plan asked for"


def devices(layout: Layout, host: Host) -> list[Expectation]:
    """Those of every planned device, then one for every DAX reservation, then one for the links."""
    regions = section(host, "dax")["regions"]
    links = section(host, "links")
    standing = [device for region in regions for device in region["devices"]]
    chosen = choose(dax_devices(layout), standing, links)
    nodes = len(host.nodes) > 1
    result = []
    for device in dax_devices(layout):
        found = chosen.get(device.name)
        result += device_as_planned(device, found, links, nodes)
        if found is not None and device.use == SYSTEM_RAM:
            result.append(_blocks(device, found, host))
    for reservation in layout.reservations:
        if reservation.mechanism != "dax":
            continue
        ours = [r for r in regions if Range(r["start"], r["end"]).overlaps(reservation.range)]
        whole = any(Range(r["start"], r["end"]).contains(reservation.range) for r in ours)
        measured = "a DAX region" if whole else "part of a DAX region" if ours else "no DAX region"
        path, name = reservation_path(reservation), describe(reservation)
        fact = f"of the reservation {reservation.range} the kernel made {measured}"
        result.append(compare(SUBJECT, f"{name} region", path, fact, "a DAX region", measured, ""))
        result.append(_strangers(path, f"{name} strangers", ours, list(chosen.values())))
    result.append(_foreign_links(layout, links))
    return result


def choose(wanted: Sequence[Device], standing: Sequence[Any], links: Any) -> dict[str, Any]:
    """Which standing device answers which planned one, by name.

    Extents decide, as names like dax0.1 do not last: the one that shares most bytes. Where none shares any (the
    device was emptied), the one that the link names, unless it is another's.
    """
    chosen: dict[str, Any] = {}
    taken: set[str] = set()
    shared = sorted(
        (
            (
                -RangeSet(map(tuple, found["extents"])).intersect(device.extents).size,
                links.get(device.name) != f"/dev/{found['name']}",
                index,
                found["name"],
                found,
            )
            for index, device in enumerate(wanted)
            for found in standing
        ),
        key=lambda entry: entry[:4],
    )
    for size, elsewhere, index, name, found in shared:
        device = wanted[index]
        if device.name in chosen or name in taken or (size == 0 and (elsewhere or found["size"])):
            continue
        chosen[device.name] = found
        taken.add(name)
    return chosen


def device_as_planned(device: Device, found: Any, links: Any, nodes: bool) -> list[Expectation]:
    """What a device has to be; ``found`` is the one of the snapshot, ``nodes``: whether the host has several."""
    extents = " ".join(str(extent) for extent in device.extents)
    if found is None:
        fact = f"the device {device.name} does not exist: no DAX device maps any of {extents}"
        return [compare(SUBJECT, f"device {device.name}", device.path, fact, "exists", "does not exist", "")]
    measured = " ".join(str(Range(*extent)) for extent in found["extents"]) or "none"
    driver = found["driver"] or "none"
    facts = [
        ("extents", f"the extents {measured}", extents, measured),
        ("size", f"size {format_size(found['size'])}", format_size(device.size), format_size(found["size"])),
        (
            "align",
            f"align {format_size(found['align'])}",
            format_size(device.align),
            format_size(found["align"]),
        ),
        ("driver", "no driver" if driver == "none" else f"the driver {driver}", driver_of(device), driver),
    ]
    if nodes:
        node = str(found["target_node"])
        facts.append(("node", f"its memory on node {node}", str(device.node), node))
    if device.use == SYSTEM_RAM:
        pass  # nobody opens it
    elif found["node_path"]:
        facts += [
            ("owner", f"the owner {found['owner']}", device.owner, found["owner"]),
            ("group", f"the group {found['group']}", device.group, found["group"]),
            ("mode", f"mode {found['mode']}", device.mode, found["mode"]),
        ]
    else:
        facts.append(("node file", "no file below /dev", f"/dev/{found['name']}", "none"))
    result = [
        compare(
            SUBJECT,
            f"device {device.name}",
            device.path,
            f"the device {device.name} exists",
            "exists",
            "exists",
        )
    ]
    result += [
        compare(
            SUBJECT,
            f"device {device.name} {name}",
            device.path,
            f"the device {device.name} has {fact}",
            right,
            real,
        )
        for name, fact, right, real in facts
    ]
    if device.use == SYSTEM_RAM:
        return result
    link = f"/dev/carveout/{device.name}"
    target, wanted = links.get(device.name), f"/dev/{found['name']}"
    fact = f"the device {device.name} has the link {link} to {target}"
    if not target:
        fact = f"the device {device.name} has no link {link}"
    ending = f", it should lead to {wanted}"
    name = f"device {device.name} link"
    result.append(compare(SUBJECT, name, device.path, fact, wanted, target or "none", ending))
    return result


def _blocks(device: Device, found: Any, host: Host) -> Expectation:
    """That the kernel has every whole memory block of the device, onlined as the plan says."""
    size = host.state.get("block_size")
    path, name = f"{device.path}.online", f"device {device.name} memory"
    if not size:
        fact = f"the memory blocks of device {device.name} are not known"
        return judge(SUBJECT, name, path, fact, "known", "unknown", False, "")
    wanted = RangeSet(whole_blocks(device.extents, size))
    standing = [Blocks(*blocks) for blocks in found.get("blocks", [])]
    right = RangeSet((b.start, b.end) for b in standing if as_wanted(b, device.online))
    states = {
        f"{format_size(b.end - b.start)} {b.state}{f' in zone {b.zone}' if b.zone else ''}" for b in standing
    }
    measured = ", ".join(sorted(states)) or "none"
    expected = f"{format_size(wanted.size)} online: {device.online}"
    fact = f"of the memory of device {device.name} the kernel has {measured}"
    return judge(SUBJECT, name, path, fact, expected, measured, right == wanted)


def _strangers(path: str, name: str, regions: Sequence[Any], ours: Sequence[Any]) -> Expectation:
    """Devices in our regions that no plan asked for.

    The seed daxX.0 of size 0 is none: the kernel makes it with the region and never removes it.
    """
    known = [device["name"] for device in ours]
    found = [
        f"{device['name']} of {format_size(device['size'])}"
        + (f" under the driver {device['driver']}" if device["driver"] else "")
        for region in regions
        for device in region["devices"]
        if device["name"] not in known and not (device["size"] == 0 and device["name"].endswith(".0"))
    ]
    measured = ", ".join(found) or "none"
    fact = f"in its DAX region stands {measured}" if found else "in its DAX region stands no other device"
    return judge(SUBJECT, name, path, fact, "no other device", measured, not found, _UNPLANNED)


def _foreign_links(layout: Layout, links: Any) -> Expectation:
    found = sorted(set(links) - {device.name for device in layout.devices if device.use != SYSTEM_RAM})
    measured = ", ".join(found) or "none"
    fact = f"below /dev/carveout stands {measured}" if found else "below /dev/carveout stands nothing else"
    return judge(SUBJECT, "links", "pools", fact, "no other link", measured, not found, _UNPLANNED)
