# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each namespace of persistent memory: that it is over its reservation, how it is used, and its device.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
from typing import Any

from .._host.model import Host
from .._layout import Layout
from .._pmem.actions import wanted_namespaces
from .devices import SUBJECT, device_as_planned
from .model import Expectation, compare, section


def namespaces(layout: Layout, host: Host) -> list[Expectation]:
    """Those of every device that is a namespace; what is in it is its users' business."""
    wanted = wanted_namespaces(layout)
    if not wanted:
        return []
    standing, links = section(host, "namespaces"), section(host, "links")
    result = []
    for device, whole in wanted:
        name = f"namespace {device.name}"
        found = next((n for n in standing if (n["start"], n["end"]) == whole), None)
        measured = "exists" if found else "does not exist"
        fact = f"a namespace over {whole} {measured}"
        result.append(compare(SUBJECT, name, device.path, fact, "exists", measured, ""))
        if found is None:
            continue
        for what, words, right, real in (
            ("mode", f"the mode {found['mode']}", device.namespace, found["mode"]),
            (
                "map",
                f"its struct pages on {found['map'] or 'nothing'}",
                device.map,
                found["map"] or "nothing",
            ),
        ):
            fact = f"the namespace {device.name} has {words}"
            result.append(compare(SUBJECT, f"{name} {what}", device.path, fact, right, real))
        there = _device(found) if found["data"] and found["node_path"] else None
        result += device_as_planned(device, there, links, len(host.nodes) > 1)
    return result


def _device(found: Any) -> dict[str, Any]:
    start, end = found["data"]
    return {
        "name": posixpath.basename(found["node_path"]),
        "size": end - start,
        "extents": [[start, end]],
        "mode": found["permissions"],
        **{key: found[key] for key in ("align", "driver", "target_node", "node_path", "owner", "group")},
    }
