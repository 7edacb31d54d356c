# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The running state in a snapshot, checked: what verification and action reports read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .._layout import LAYOUT_ID, RELEASE
from .._mounts import DMEMFS, HUGETLBFS
from .._units import U64
from . import checks

_WORD = re.compile(r"[A-Za-z0-9_()]{1,64}")
_NODE = re.compile(r"0|[1-9][0-9]{0,3}")
_DEVICE = re.compile(r"dax\d{1,9}\.\d{1,9}")
_NAMESPACE = re.compile(r"namespace\d{1,9}\.\d{1,9}")
_LINK = re.compile(r"[^/\x00-\x1f]{1,255}")
_MODE = re.compile(r"[0-7]{4}|")
_PATH = re.compile(r"/[^\x00-\x1f]{1,4095}")
_NOTED = re.compile(LAYOUT_ID.pattern + "|")
_BYTES = re.compile(r"[1-9]\d{0,18}")
_KIND = re.compile(f"{HUGETLBFS}|{DMEMFS}")
_SETTING = re.compile(r"[a-z]{0,20}")
_PERMISSIONS = re.compile(r"[0-7]{4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_REGION_KEYS = ("path", "start", "end", "align", "available", "target_node", "devices")
_POOL_KEYS = ("regions", "registered", "page_size", "free_pages", "pages")
_MOUNT_KEYS = ("path", "kind", "page_size", "size", "owner", "group", "mode")
_NAMESPACE_KEYS = (
    "name", "start", "end", "mode", "align", "map", "data", "driver", "target_node", "node_path", "owner", "group",
    "permissions",
)  # fmt: skip
_DEVICE_KEYS = (
    "name", "size", "align", "extents", "driver", "target_node", "node_path", "owner", "group", "mode"
)  # fmt: skip


def check_state(value: Any) -> dict[str, Any]:
    """The state as it is. It is empty where the host was not read while running (from a log).

    Raises :class:`InvalidInput` naming the place.
    """
    state = checks.obj(value, "state", (), _SECTIONS)
    for key, item in state.items():
        _SECTIONS[key](item, f"state.{key}")
    return state


def _iomem(value: Any, path: str) -> None:
    seen: set[str] = set()
    for i, line in enumerate(checks.array(value, path, 50_000)):
        if (
            type(line) is not list
            or len(line) != 4
            or type(line[0]) is not int
            or type(line[1]) is not int
            or type(line[2]) is not str
            or type(line[3]) is not int
            or not 0 <= line[0] < line[1] <= U64
            or not 0 <= line[3] <= 32
        ):
            checks.refuse(f"{path}[{i}]", "[start, end, name, depth]", line)
        if line[2] not in seen:
            # a thousand lines have a dozen names
            seen.add(checks.text(line[2], f"{path}[{i}][2]"))


def _meminfo(value: Any, path: str) -> None:
    checks.numbers(value, path, 200, _WORD)


def _nodes(value: Any, path: str) -> None:
    checks.mapping(value, path, 1024, _NODE, lambda v, p: checks.numbers(v, p, 200, _WORD))


def _block_size(value: Any, path: str) -> None:
    if value is not None:
        checks.integer(value, path, 1)


def _dax(value: Any, path: str) -> None:
    regions = checks.array(checks.obj(value, path, ("regions",))["regions"], f"{path}.regions", 4096)
    for i, region in enumerate(regions):
        where = f"{path}.regions[{i}]"
        checks.obj(region, where, _REGION_KEYS)
        checks.match(region["path"], f"{where}.path", _PATH, "an absolute path")
        checks.span([region["start"], region["end"]], f"{where}.start")
        checks.integer(region["align"], f"{where}.align")
        checks.integer(region["available"], f"{where}.available")
        checks.integer(region["target_node"], f"{where}.target_node", -1, 4096)
        for j, device in enumerate(checks.array(region["devices"], f"{where}.devices", 4096)):
            _device(device, f"{where}.devices[{j}]")


def _device(device: Any, path: str) -> None:
    checks.obj(device, path, _DEVICE_KEYS, ("blocks",))
    checks.match(device["name"], f"{path}.name", _DEVICE, "a name like dax0.1")
    checks.integer(device["size"], f"{path}.size")
    checks.integer(device["align"], f"{path}.align")
    checks.integer(device["target_node"], f"{path}.target_node", -1, 4096)
    for i, extent in enumerate(checks.array(device["extents"], f"{path}.extents", 4096)):
        checks.span(extent, f"{path}.extents[{i}]")
    checks.text(device["driver"], f"{path}.driver", 64)
    checks.text(device["node_path"], f"{path}.node_path", 4096)
    checks.text(device["owner"], f"{path}.owner", 64)
    checks.text(device["group"], f"{path}.group", 64)
    checks.match(device["mode"], f"{path}.mode", _MODE, "four octal digits")
    for i, blocks in enumerate(checks.array(device.get("blocks", []), f"{path}.blocks", 1 << 16)):
        where = f"{path}.blocks[{i}]"
        if type(blocks) is not list or len(blocks) != 4:
            checks.refuse(where, "[start, end, state, zone]", blocks)
        checks.span(blocks[:2], where)
        checks.text(blocks[2], where, 64)
        checks.text(blocks[3], where, 64)


def _namespaces(value: Any, path: str) -> None:
    for i, namespace in enumerate(checks.array(value, path, 4096)):
        where = f"{path}[{i}]"
        checks.obj(namespace, where, _NAMESPACE_KEYS)
        checks.match(namespace["name"], f"{where}.name", _NAMESPACE, "a name like namespace0.0")
        checks.span([namespace["start"], namespace["end"]], f"{where}.start")
        checks.integer(namespace["align"], f"{where}.align")
        checks.integer(namespace["target_node"], f"{where}.target_node", -1, 4096)
        if namespace["data"] is not None:
            checks.span(namespace["data"], f"{where}.data")
        for key in ("mode", "map", "driver", "owner", "group"):
            checks.text(namespace[key], f"{where}.{key}", 64)
        checks.text(namespace["node_path"], f"{where}.node_path", 4096)
        checks.match(namespace["permissions"], f"{where}.permissions", _MODE, "four octal digits")


def _links(value: Any, path: str) -> None:
    checks.mapping(value, path, 10_000, _LINK, lambda v, p: checks.text(v, p, 4096))


def _loader(value: Any, path: str) -> None:
    loader = checks.obj(value, path, ("kind", "problem", "drop_in", "drop_in_text", "owned"), ("trial",))
    checks.text(loader["kind"], f"{path}.kind", 32)
    checks.text(loader["problem"], f"{path}.problem", 10_000)
    checks.text(loader["drop_in"], f"{path}.drop_in", 4096)
    checks.text(loader["drop_in_text"], f"{path}.drop_in_text", 1 << 16)
    checks.texts(loader["owned"], f"{path}.owned", 1000, 8192)
    checks.text(loader.get("trial", ""), f"{path}.trial", 32)


def _files(value: Any, path: str) -> None:
    checks.mapping(value, path, 1000, _PATH, lambda v, p: checks.match(v, p, _SHA256, "a SHA-256 in hex"))


def _hugepages(value: Any, path: str) -> None:
    checks.mapping(value, path, 1024, _NODE, lambda v, p: checks.numbers(v, p, 8, _BYTES))


def _optional_boolean(value: Any, path: str) -> None:
    if value is not None:
        checks.boolean(value, path)


def _mounts(value: Any, path: str) -> None:
    for i, mount in enumerate(checks.array(value, path, 1000)):
        where = f"{path}[{i}]"
        checks.obj(mount, where, _MOUNT_KEYS)
        checks.text(mount["path"], f"{where}.path", 4096)
        checks.match(mount["kind"], f"{where}.kind", _KIND, f"{HUGETLBFS} or {DMEMFS}")
        checks.integer(mount["page_size"], f"{where}.page_size")
        if mount["size"] is not None:
            checks.integer(mount["size"], f"{where}.size")
        checks.text(mount["owner"], f"{where}.owner", 64)
        checks.text(mount["group"], f"{where}.group", 64)
        checks.match(mount["mode"], f"{where}.mode", _PERMISSIONS, "four octal digits")


def _dmemfs(value: Any, path: str) -> None:
    checks.obj(value, path, ("pool", "log", "transparent_huge_pages"))
    setting = value["transparent_huge_pages"]
    checks.match(setting, f"{path}.transparent_huge_pages", _SETTING, "a word")
    if value["pool"] is not None:
        pool = checks.obj(value["pool"], f"{path}.pool", _POOL_KEYS)
        for key in ("regions", "registered", "page_size", "free_pages"):
            checks.integer(pool[key], f"{path}.pool.{key}")
        checks.numbers(pool["pages"], f"{path}.pool.pages", 1024, _NODE)
    if value["log"] is not None:
        for i, region in enumerate(checks.array(value["log"], f"{path}.log", 200)):
            start, end, node = checks.triple(region, f"{path}.log", i, "[start, end, node]")
            checks.span([start, end], f"{path}.log[{i}]")
            checks.integer(node, f"{path}.log[{i}][2]")


def _kdump(value: Any, path: str) -> None:
    checks.mapping(value, path, 10, _PATH, lambda v, p: checks.texts(v, p, 100, 64))


def _problems(value: Any, path: str) -> None:
    checks.texts(value, path, 200, 2000)


_SECTIONS: dict[str, Callable[[Any, str], Any]] = {
    "root": checks.boolean,
    "boot_id": lambda value, path: checks.text(value, path, 64),
    "augeas": checks.boolean,
    "iomem": _iomem,
    "meminfo": _meminfo,
    "nodes": _nodes,
    "vmstat": _meminfo,
    "block_size": _block_size,
    "dax": _dax,
    "namespaces": _namespaces,
    "links": _links,
    "loader": _loader,
    "files": _files,
    "noted_layout": lambda value, path: checks.match(value, path, _NOTED, "a layout's ID or nothing"),
    "verified": lambda value, path: checks.match(value, path, RELEASE, "a kernel's release or nothing"),
    "previous": lambda value, path: checks.match(value, path, _NOTED, "a layout's ID or nothing"),
    "hugepages": _hugepages,
    "hugetlb_vmemmap": _optional_boolean,
    "mounts": _mounts,
    "dmemfs": _dmemfs,
    "kdump": _kdump,
    "problems": _problems,
}
