# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What DAX regions and devices a host has now, read from sysfs.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import NotPossible
from .._pmem.state import Namespace, read_namespaces
from .._ranges import Range
from .._system import System
from .accounts import account_name
from .blocks import Blocks, read_blocks

BUS = "/sys/bus/dax/devices"
DRIVERS = "/sys/bus/dax/drivers"
LINKS = "/dev/carveout"
#: The driver that gives a device's memory to the kernel.
KMEM = "kmem"

#: Names of devices on the bus (drivers/dax/bus.c: "dax%d.%d").
DEVICE_NAME = re.compile(r"dax(\d+)\.(\d+)")
_MAPPING = re.compile(r"mapping(\d+)")


@dataclass(frozen=True)
class DaxDevice:
    """One ``daxX.Y``.

    ``extents`` are half-open and in the order in which the device maps them; a device of size 0
    (the seed ``daxX.0`` of a region made idle) has none. ``driver`` is ``""`` where none is bound.
    ``owner``, ``group`` and ``mode`` are those of the node, ``""`` where there is no node. ``blocks`` are the
    memory blocks of a device that the kernel has as its memory (driver ``kmem``).
    """

    name: str
    size: int
    align: int
    extents: tuple[Range, ...]
    driver: str
    target_node: int
    node_path: str
    owner: str
    group: str
    mode: str
    blocks: tuple[Blocks, ...] = ()

    @property
    def is_seed(self) -> bool:
        """``daxX.0``, which a region always has and which cannot be deleted."""
        return self.name.endswith(".0")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "size": self.size,
            "align": self.align,
            "extents": [[extent.start, extent.end] for extent in self.extents],
            "driver": self.driver,
            "target_node": self.target_node,
            "node_path": self.node_path,
            "owner": self.owner,
            "group": self.group,
            "mode": self.mode,
            **({"blocks": [list(blocks) for blocks in self.blocks]} if self.driver == KMEM else {}),
        }


@dataclass(frozen=True)
class DaxRegion:
    """One DAX region: ``path`` is its ``dax_region`` directory.

    ``available`` is what new devices can still take (0 for static regions, which cannot be
    divided). The kernel does not show where a region starts; an idle device's ``resource`` does
    (drivers/dax/bus.c, dev_dax_resource), else the lowest extent of its devices is taken.
    """

    path: str
    start: int
    end: int
    align: int
    available: int
    target_node: int
    devices: tuple[DaxDevice, ...]

    @property
    def range(self) -> Range:
        return Range(self.start, self.end)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "start": self.start,
            "end": self.end,
            "align": self.align,
            "available": self.available,
            "target_node": self.target_node,
            "devices": [device.to_json() for device in self.devices],
        }


@dataclass(frozen=True)
class DaxState:
    """All regions by start, and ``/dev/carveout``: name to device node (``/dev/dax0.1``).

    ``namespaces`` are those of persistent memory; one in mode devdax has a region of its own among the others.
    """

    regions: tuple[DaxRegion, ...]
    links: Mapping[str, str]
    namespaces: tuple[Namespace, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The value of ``dax`` in a host snapshot; ``links`` stands beside it there."""
        return {"regions": [region.to_json() for region in self.regions]}


def read_state(system: System) -> DaxState:
    """Read regions, devices and links. Needs root: the addresses are readable by root only.

    Raises :class:`NotPossible` where something cannot be read or is not what the kernel writes.
    """
    paths: dict[str, list[str]] = {}
    for name in system.listdir(BUS):
        target = system.readlink(f"{BUS}/{name}")
        if target is None or not DEVICE_NAME.fullmatch(name):
            continue
        device = posixpath.normpath(posixpath.join(BUS, target))
        paths.setdefault(posixpath.dirname(device), []).append(device)
    regions = [_read_region(system, parent, devices) for parent, devices in paths.items()]
    found = [region for region in regions if region is not None]
    return DaxState(
        tuple(sorted(found, key=lambda region: (region.start, region.path))),
        read_links(system),
        read_namespaces(system),
    )


def read_links(system: System) -> dict[str, str]:
    """Name to device node of everything in ``/dev/carveout``."""
    links = {}
    for name in system.listdir(LINKS):
        target = system.readlink(f"{LINKS}/{name}")
        if target is not None:
            links[name] = posixpath.normpath(posixpath.join(LINKS, target))
    return links


def _attribute(system: System, path: str) -> str | None:
    try:
        text = system.read(path)
    except OSError as error:
        raise NotPossible.of(
            "", "dax-unreadable", f"cannot read {path}: {error.strerror}; DAX devices are read as root"
        ) from None
    return None if text is None else text.strip()


def _number(system: System, path: str, default: int | None = None) -> int:
    """An attribute as a number, as the kernel prints it (decimal, or hexadecimal with 0x)."""
    text = _attribute(system, path)
    if text is None:
        if default is not None:
            return default
        raise NotPossible.of("", "dax-unreadable", f"{path} is missing: this kernel's DAX is not known to us")
    try:
        return int(text, 0)
    except ValueError:
        raise NotPossible.of("", "dax-unreadable", f"{path} holds {text!r} where a number belongs") from None


def _read_region(system: System, parent: str, paths: list[str]) -> DaxRegion | None:
    path = f"{parent}/dax_region"
    if _attribute(system, f"{path}/id") is None:
        return None  # unregistered between listing and reading
    devices = []
    start = None
    for device_path in sorted(paths, key=_instance):
        if _attribute(system, f"{device_path}/size") is None:
            continue  # deleted between listing and reading
        device = read_device(system, device_path)
        devices.append(device)
        if device.size == 0 and start is None:
            start = _number(system, f"{device_path}/resource")
    if start is None:
        starts = [extent.start for device in devices for extent in device.extents]
        if not starts:
            return None
        start = min(starts)
    return DaxRegion(
        path=path,
        start=start,
        end=start + _number(system, f"{path}/size"),
        align=_number(system, f"{path}/align"),
        available=_number(system, f"{path}/available_size", default=0),
        target_node=devices[0].target_node,
        devices=tuple(devices),
    )


def _instance(path: str) -> int:
    return int(path.rpartition(".")[2])


def read_device(system: System, path: str) -> DaxDevice:
    """One device by its place in sysfs; errors as :func:`read_state`."""
    name = posixpath.basename(path)
    size = _number(system, f"{path}/size")
    node = f"/dev/{name}"
    owner = group = mode = ""
    found = system.stat(node)
    if found is not None:
        owner = account_name(system, "passwd", found.uid)
        group = account_name(system, "group", found.gid)
        mode = f"{stat.S_IMODE(found.mode):04o}"
    link = system.readlink(f"{path}/driver")
    driver = posixpath.basename(link) if link else ""
    extents = _extents(system, path, size)
    return DaxDevice(
        name=name,
        size=size,
        align=_number(system, f"{path}/align"),
        extents=extents,
        driver=driver,
        target_node=_number(system, f"{path}/target_node", default=-1),
        node_path=node if found is not None else "",
        owner=owner,
        group=group,
        mode=mode,
        blocks=read_blocks(system, extents) if driver == KMEM else (),
    )


def _extents(system: System, path: str, size: int) -> tuple[Range, ...]:
    """From ``mapping*/{start,end}`` (``end`` is inclusive in sysfs), in the order of the pages."""
    if size == 0:
        return ()
    extents = []
    for name in system.listdir(path):
        match = _MAPPING.fullmatch(name)
        if match is None or _attribute(system, f"{path}/{name}/start") is None:
            continue
        start = _number(system, f"{path}/{name}/start")
        end = _number(system, f"{path}/{name}/end") + 1
        extents.append((_number(system, f"{path}/{name}/page_offset"), Range(start, end)))
    if not extents:
        # static devices of old kernels have no mapping directories
        start = _number(system, f"{path}/resource")
        return (Range(start, start + size),)
    return tuple(extent for _, extent in sorted(extents))
