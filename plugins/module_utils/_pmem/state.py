# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What namespaces of persistent memory a host has now, read from sysfs (drivers/nvdimm).

A namespace is ``namespaceX.Y``. What makes it a device for users holds it: ``daxX.Y`` for a character device,
``pfnX.Y`` for a block device with an info block; without a holder it is a block device too, or not in use at all. X
and Y say nothing that lasts: namespaces are known by their physical range.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import posixpath
import re
import stat
from dataclasses import dataclass
from typing import Any

from .._dax.accounts import account_name
from .._errors import NotPossible
from .._ranges import Range
from .._system import System
from .._units import PAGE

BUS = "/sys/bus/nd/devices"
_NAME = re.compile(r"namespace\d{1,9}\.\d{1,9}")
_DAX = re.compile(r"dax\d{1,9}\.\d{1,9}")
#: Words of the attribute "mode" of a holder (drivers/nvdimm/pfn_devs.c, mode_show), as ndctl says them.
_MAPS = {"ram": "mem", "pmem": "dev"}
#: What a driver that is not bound answers with.
_UNBOUND = (errno.ENXIO, errno.ENODEV)


@dataclass(frozen=True)
class Namespace:
    """``mode`` is "devdax", "fsdax" or "raw", or the holder's name where it is another; ``map`` is "mem", "dev" or "".

    ``data`` is what users get, None where no driver is bound. ``device`` is the sysfs directory of the device
    ``node_path``, both empty where there is none; ``owner``, ``group`` and ``permissions`` are the node's.
    """

    name: str
    range: Range
    mode: str
    align: int
    map: str
    data: Range | None
    driver: str
    target_node: int
    device: str
    node_path: str
    owner: str
    group: str
    permissions: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "start": self.range.start,
            "end": self.range.end,
            "mode": self.mode,
            "align": self.align,
            "map": self.map,
            "data": [self.data.start, self.data.end] if self.data else None,
            "driver": self.driver,
            "target_node": self.target_node,
            "node_path": self.node_path,
            "owner": self.owner,
            "group": self.group,
            "permissions": self.permissions,
        }


def read_namespaces(system: System) -> tuple[Namespace, ...]:
    """All of them, by address. Raises :class:`NotPossible` where one cannot be read: addresses are for root only."""
    found = []
    for name in system.listdir(BUS):
        target = system.readlink(f"{BUS}/{name}")
        if target is not None and _NAME.fullmatch(name):
            namespace = _read(system, posixpath.normpath(posixpath.join(BUS, target)))
            if namespace is not None:
                found.append(namespace)
    return tuple(sorted(found, key=lambda n: (n.range.start, n.name)))


def _read(system: System, path: str) -> Namespace | None:
    start, size = _number(system, f"{path}/resource"), _number(system, f"{path}/size")
    if start is None or not size:
        return None  # an empty one of labelled memory, or gone meanwhile
    holder = _text(system, f"{path}/holder")
    place = f"{posixpath.dirname(path)}/{holder}" if holder else path
    mode = {"dax": "devdax", "pfn": "fsdax", "": "raw"}.get(holder.rstrip("0123456789."), holder)
    data = None
    align = (_number(system, f"{place}/align") or 0) if holder else 0
    kind = _MAPS.get(_text(system, f"{place}/mode"), "") if holder else ""
    if _text(system, f"{path}/mode") == "memory" and not holder and system.readlink(f"{path}/driver"):
        # what the kernel makes where there is no info block: all of it as a block device, mapped page by page
        mode, align, kind, data = "fsdax", PAGE, "mem", Range(start, start + size)
    if holder:
        first, length = _number(system, f"{place}/resource"), _number(system, f"{place}/size")
        data = Range(first, first + length) if first is not None and length else None
    device, node = _device(system, place)
    inner = device if mode == "devdax" and device else place
    found = system.stat(node) if node else None
    return Namespace(
        name=posixpath.basename(path),
        range=Range(start, start + size),
        mode=mode,
        align=align,
        map=kind,
        data=data,
        driver=posixpath.basename(system.readlink(f"{inner}/driver") or ""),
        target_node=_number(system, f"{path}/target_node") or 0,
        device=device,
        node_path=node if found else "",
        owner=account_name(system, "passwd", found.uid) if found else "",
        group=account_name(system, "group", found.gid) if found else "",
        permissions=f"{stat.S_IMODE(found.mode):04o}" if found else "",
    )


def _device(system: System, place: str) -> tuple[str, str]:
    """sysfs directory and node of the device below a holder (or a raw namespace)."""
    for name in system.listdir(f"{place}/block"):
        return f"{place}/block/{name}", f"/dev/{name}"
    for name in system.listdir(place):
        if _DAX.fullmatch(name) and _text(system, f"{place}/{name}/dev"):
            return f"{place}/{name}", f"/dev/{name}"
    return "", ""


def _text(system: System, path: str) -> str:
    try:
        return (system.read(path) or "").strip()
    except OSError as error:
        if error.errno in _UNBOUND:
            return ""
        raise NotPossible.of(
            "", "namespace-unreadable", f"cannot read {path}: {error.strerror}; namespaces are read as root"
        ) from None


def _number(system: System, path: str) -> int | None:
    text = _text(system, path)
    try:
        return int(text, 0) if text else None
    except ValueError:
        raise NotPossible.of(
            "", "namespace-unreadable", f"{path} holds {text!r} where a number belongs"
        ) from None
