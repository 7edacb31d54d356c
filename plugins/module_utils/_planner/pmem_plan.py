# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan says of pools of persistent memory, beside their nodes and devices.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._layout import DEVDAX
from .._mechanisms.pmem import NAME
from .reading import Reader

#: Keys of a pool and of its devices that mean nothing here.
_NOT_OF_POOL = ("use", "online")
_NOT_OF_DEVICE = ("use", "online", "extents")
_ONLY_PMEM = ("mode", "map")


def pmem_options(reader: Reader, pool: Mapping[str, Any], nodes: Iterable[int], path: str) -> tuple[str, str]:
    """``mode`` and ``map`` of the pool's namespaces; both empty for a pool of another mechanism."""
    if pool["mechanism"] != NAME:
        for key in _ONLY_PMEM:
            if key in pool:
                reader.fail(f"{path}.{key}", "key-of-others", f"a {pool['mechanism']!r} pool has no {key}")
        return "", ""
    for key in _NOT_OF_POOL:
        if key in pool:
            reader.fail(f"{path}.{key}", "key-of-others", f"a {NAME!r} pool has no {key}; it has mode")
    devices = pool.get("devices", [])
    for index, device in enumerate(devices):
        for key in _NOT_OF_DEVICE:
            if key in device:
                text = f"a device of a {NAME!r} pool is a namespace of its own, which has no {key}"
                text += ": give it a size" if key == "extents" else ""
                reader.fail(f"{path}.devices[{index}].{key}", "key-of-others", text)
    alone = len(list(nodes)) == 1
    named = {str(device.get("node")) for device in devices}
    for node in nodes:
        if not (devices and alone) and str(node) not in named:
            text = (
                f"memory of a {NAME!r} pool is used as namespaces: list at least one device on node {node}; "
                "{name: NAME, size: rest} takes all"
            )
            reader.fail(f"{path}.devices", "namespace-missing", text)
    return pool.get("mode", DEVDAX), pool.get("map", "mem")
