# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host snapshot as JSON: written by us, read as a stranger's input.

``schemas/host.schema.json`` documents the same shape.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from typing import Any

from .._errors import InvalidInput
from .._layout import LAYOUT_ID
from .._units import U64
from . import checks
from .e820 import MAX_ENTRIES
from .layouts import MANY_LAYOUTS, check_layout
from .model import ForeignArgument, Host, MapEntry, NodeRange
from .nodes import are_disjoint
from .state import check_state

SCHEMA = 1

_KEYS = (
    "schema", "architecture", "firmware", "kernel", "cmdline", "boot_arguments", "foreign", "committed",
    "layouts", "state",
)  # fmt: skip
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_]{1,32}")
_RELEASE = re.compile(r"[A-Za-z0-9_.+~-]{0,128}")
_CONFIG_KEY = re.compile(r"CONFIG_[A-Za-z0-9_]{1,80}")
#: What x86 kernels take is 2048 (COMMAND_LINE_SIZE); a log's line may be longer.
_COMMAND_LINE = 8192
_NODES = 1 << 10


def host_to_json(host: Host) -> dict[str, Any]:
    """Plain JSON that :func:`host_from_json` reads back to an equal host."""
    return {
        "schema": SCHEMA,
        "architecture": host.architecture,
        "firmware": {
            "map": [list(entry) for entry in host.firmware_map],
            "boot": host.firmware_boot,
            "srat": [list(part) for part in host.node_ranges],
            "hmat": host.hmat,
            **({"hmat_targets": [list(part) for part in host.hmat_targets]} if host.hmat_targets else {}),
        },
        "kernel": {
            "running": host.kernel_running,
            "default": host.kernel_default,
            "config": dict(host.kernel_config),
        },
        "cmdline": host.cmdline,
        "boot_arguments": None if host.boot_arguments is None else list(host.boot_arguments),
        "foreign": [argument._asdict() for argument in host.foreign],
        "committed": host.committed,
        "layouts": {layout_id: dict(layout) for layout_id, layout in host.layouts.items()},
        "state": dict(host.state),
    }


def host_from_json(data: Any) -> Host:
    """Read a snapshot that may come from anyone.

    Raises :class:`InvalidInput` with the place (``firmware.map[3]``) where anything is missing, unknown, of
    the wrong type, out of bounds or makes no sense.
    """
    host = checks.obj(data, "", _KEYS)
    if type(host["schema"]) is not int or host["schema"] != SCHEMA:
        checks.refuse("schema", f"{SCHEMA} (the only format of host snapshots)", host["schema"])
    firmware = checks.obj(host["firmware"], "firmware", ("map", "boot", "srat", "hmat"), ("hmat_targets",))
    kernel = checks.obj(host["kernel"], "kernel", ("running", "default", "config"))
    firmware_map = _map(firmware["map"])
    tokens = host["boot_arguments"]
    if firmware["boot"] not in ("bios", "efi", ""):
        checks.refuse("firmware.boot", '"bios", "efi" or ""', firmware["boot"])
    return Host(
        architecture=checks.match(
            host["architecture"], "architecture", _ARCHITECTURE, "an architecture like x86_64"
        ),
        firmware_map=firmware_map,
        node_ranges=_node_ranges(firmware["srat"], firmware_map),
        hmat=checks.boolean(firmware["hmat"], "firmware.hmat"),
        firmware_boot=firmware["boot"],
        kernel_running=checks.match(kernel["running"], "kernel.running", _RELEASE, "a kernel release"),
        kernel_default=checks.match(kernel["default"], "kernel.default", _RELEASE, "a kernel release"),
        kernel_config=checks.mapping(
            kernel["config"], "kernel.config", 100, _CONFIG_KEY, lambda v, path: checks.text(v, path, 64)
        ),
        cmdline=checks.text(host["cmdline"], "cmdline", _COMMAND_LINE),
        boot_arguments=None
        if tokens is None
        else tuple(checks.texts(tokens, "boot_arguments", _COMMAND_LINE, _COMMAND_LINE)),
        foreign=_foreign(host["foreign"]),
        committed=None
        if host["committed"] is None
        else checks.match(host["committed"], "committed", LAYOUT_ID, "a layout's ID or null"),
        layouts=checks.mapping(
            host["layouts"],
            "layouts",
            MANY_LAYOUTS,
            LAYOUT_ID,
            lambda v, path: check_layout(v, path.rpartition(".")[2], path),
        ),
        state=check_state(host["state"]),
        hmat_targets=_ranges_by_node(firmware.get("hmat_targets", []), "firmware.hmat_targets"),
    )


def _map(value: Any) -> tuple[MapEntry, ...]:
    found = []
    previous = 0
    for i, entry in enumerate(checks.array(value, "firmware.map", MAX_ENTRIES)):
        start, end, kind = checks.triple(entry, "firmware.map", i, "[start, end, type]")
        if not 0 <= start < end <= U64 or not 0 < kind < 1 << 32:
            raise InvalidInput.of(
                f"firmware.map[{i}]",
                "host-invalid",
                f"[{start}, {end}) of type {kind} is no range of bytes with an e820 type",
            )
        if start < previous:
            raise InvalidInput.of(
                f"firmware.map[{i}]", "map-overlap", "overlaps the entry before it, or the order is wrong"
            )
        previous = end
        found.append(MapEntry(start, end, kind))
    return tuple(found)


def _ranges_by_node(value: Any, path: str) -> tuple[NodeRange, ...]:
    found = []
    for i, part in enumerate(checks.array(value, path, 4 * _NODES)):
        node, start, end = checks.triple(part, path, i, "[node, start, end]")
        if not 0 <= node < _NODES or not 0 <= start < end <= U64:
            raise InvalidInput.of(
                f"{path}[{i}]", "host-invalid", f"[{start}, {end}) of node {node} is no range of bytes"
            )
        found.append(NodeRange(node, start, end))
    return tuple(found)


def _node_ranges(value: Any, firmware_map: tuple[MapEntry, ...]) -> tuple[NodeRange, ...]:
    found = _ranges_by_node(value, "firmware.srat")
    if not are_disjoint(found, firmware_map):
        raise InvalidInput.of("firmware.srat", "srat-overlap", "the same RAM is given to two nodes")
    return found


def _foreign(value: Any) -> tuple[ForeignArgument, ...]:
    found = []
    for i, item in enumerate(checks.array(value, "foreign", 1000)):
        path = f"foreign[{i}]"
        argument = checks.obj(item, path, ("argument", "file", "line"))
        found.append(
            ForeignArgument(
                checks.text(argument["argument"], f"{path}.argument", _COMMAND_LINE),
                checks.text(argument["file"], f"{path}.file", 4096),
                checks.integer(argument["line"], f"{path}.line", 0, 1 << 31),
            )
        )
    return tuple(found)
