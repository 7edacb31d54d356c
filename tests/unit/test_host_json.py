# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host snapshot as JSON: round trips, what is refused and where, and the schema that documents it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    ForeignArgument,
    MapEntry,
    NodeRange,
)

GIB = 1 << 30
ID = "0123456789abcdef"

SNAPSHOT: dict[str, Any] = json.loads((Path(__file__).parent / "data/host.json").read_text())


@pytest.fixture(scope="module")
def validator(checkout: Path) -> jsonschema.Draft7Validator:
    schema = json.loads((checkout / "schemas/host.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["$id"] == "https://carveout.invalid/schemas/host.schema.json"
    return jsonschema.Draft7Validator(schema)


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The snapshot with one place replaced, or removed where the value is ``...``."""
    data = copy.deepcopy(SNAPSHOT)
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


def test_a_whole_snapshot(validator: jsonschema.Draft7Validator) -> None:
    host = host_from_json(SNAPSHOT)
    assert host.kernel == "6.12.117+deb13-amd64"
    assert host.firmware_map[1] == MapEntry(0x9FC00, 0xA0000, 2)
    assert host.node_ranges[-1] == NodeRange(1, 5 * GIB, 9 * GIB)
    assert host.foreign == (ForeignArgument("hugepages=5", "/etc/default/grub", 7),)
    assert host.foreign_tokens == ["root=/dev/vda1", "ro"]
    assert host_to_json(host) == SNAPSHOT
    validator.validate(SNAPSHOT)


#: Where, what, the path in the message, and whether the schema can say it too.
BROKEN: list[tuple[tuple[str | int, ...], Any, str, bool]] = [
    (("schema",), 2, "schema", True),
    (("schema",), True, "schema", True),
    (("schema",), ..., "schema", True),
    (("more",), 1, "more", True),
    (("architecture",), "x86 64", "architecture", True),
    (("architecture",), None, "architecture", True),
    (("firmware",), [], "firmware", True),
    (("firmware", "acpi"), True, "firmware.acpi", True),
    (("firmware", "boot"), "coreboot", "firmware.boot", True),
    (("firmware", "boot"), ["efi"], "firmware.boot", True),
    (("firmware", "hmat"), 0, "firmware.hmat", True),
    (("firmware", "hmat_targets"), {}, "firmware.hmat_targets", True),
    (("firmware", "hmat_targets"), [[0, 1]], "firmware.hmat_targets[0]", True),
    (("firmware", "hmat_targets"), [[0, 2, 1]], "firmware.hmat_targets[0]", False),
    (("firmware", "hmat_targets"), [[1024, 1, 2]], "firmware.hmat_targets[0]", True),
    (("firmware", "map"), None, "firmware.map", True),
    (("firmware", "map"), [[i, i + 1, 1] for i in range(3201)], "firmware.map", True),
    (("firmware", "map", 2), [0x100000, 3 * GIB], "firmware.map[2]", True),
    (("firmware", "map", 2), [0x100000, 3 * GIB, True], "firmware.map[2]", True),
    (("firmware", "map", 2), [0x100000, 3 * GIB, "1"], "firmware.map[2]", True),
    (("firmware", "map", 2), [0x100000, 3 * GIB, 0], "firmware.map[2]", True),
    (("firmware", "map", 2), [0x100000, 3 * GIB, 1 << 32], "firmware.map[2]", True),
    (("firmware", "map", 3), [4 * GIB, (1 << 64) + 1, 1], "firmware.map[3]", True),
    (("firmware", "map", 0), [-1, 4096, 1], "firmware.map[0]", True),
    (("firmware", "map", 2), [0x100000, 0x100000, 1], "firmware.map[2]", False),
    (("firmware", "map", 2), [0x9FF00, 3 * GIB, 1], "firmware.map[2]", False),
    (("firmware", "srat", 1), [0, 0x100000], "firmware.srat[1]", True),
    (("firmware", "srat", 1), [1024, 0, 4096], "firmware.srat[1]", True),
    (("firmware", "srat", 1), [-1, 0, 4096], "firmware.srat[1]", True),
    (("firmware", "srat", 1), [0, 4096, 4096], "firmware.srat[1]", False),
    (("firmware", "srat", 2), [1, 4 * GIB, 9 * GIB], "firmware.srat", False),
    (("kernel", "running"), "6.12 (x)", "kernel.running", True),
    (("kernel", "running"), "6" * 129, "kernel.running", True),
    (("kernel", "default"), None, "kernel.default", True),
    (("kernel", "config"), [], "kernel.config", True),
    (("kernel", "config", "CONFIG_X Y"), "y", "kernel.config", True),
    (("kernel", "config", "CONFIG_X"), True, "kernel.config.CONFIG_X", True),
    (("kernel", "config", "CONFIG_X"), "y" * 65, "kernel.config.CONFIG_X", True),
    (("cmdline",), "a\x1b[2J", "cmdline", True),
    (("cmdline",), "a" * 8193, "cmdline", True),
    (("boot_arguments",), "quiet", "boot_arguments", True),
    (("boot_arguments", 1), 1, "boot_arguments[1]", True),
    (("boot_arguments", 1), "a\0", "boot_arguments[1]", True),
    (("foreign",), {}, "foreign", True),
    (("foreign", 0, "line"), -1, "foreign[0].line", True),
    (("foreign", 0, "file"), ..., "foreign[0].file", True),
    (("committed",), "../../etc/passwd", "committed", True),
    (("committed",), 5, "committed", True),
    (("layouts",), [], "layouts", True),
    (("layouts", "../x"), {}, "layouts", True),
    (("layouts", ID), None, f"layouts.{ID}", True),
    (("layouts", ID, "id"), "0" * 16, f"layouts.{ID}.id", False),
    (("layouts", ID, "id"), 7, f"layouts.{ID}.id", True),
    (("layouts", ID, "kernel_arguments"), "quiet", f"layouts.{ID}.kernel_arguments", True),
    (("layouts", ID, "kernel_arguments"), [1], f"layouts.{ID}.kernel_arguments", True),
    (("layouts", ID, "kernel_arguments"), [""], f"layouts.{ID}.kernel_arguments", True),
    (("layouts", ID, "kernel_arguments", 0), "quiet", f"layouts.{ID}.kernel_arguments", False),
    (("layouts", ID, "plan"), float("inf"), f"layouts.{ID}", False),
    (("layouts", ID, "plan"), {"a": "\x07"}, f"layouts.{ID}", False),
    (("layouts", ID, "plan"), {1: 2}, f"layouts.{ID}", False),
    (("layouts", ID, "plan"), b"x", f"layouts.{ID}", False),
    (("layouts", ID, "plan"), [[[[[[[[[[[[[[1]]]]]]]]]]]]]], f"layouts.{ID}", False),
    (("state",), None, "state", True),
    (("state", "uptime"), 1, "state.uptime", True),
    (("state", "root"), 1, "state.root", True),
    (("state", "augeas"), None, "state.augeas", True),
    (("state", "boot_id"), 5, "state.boot_id", True),
    (("state", "iomem", 0), [0, 4096, "x"], "state.iomem[0]", True),
    (("state", "iomem", 0), [0, 4096, "x", 33], "state.iomem[0]", True),
    (("state", "iomem", 0), [4096, 0, "x", 0], "state.iomem[0]", False),
    (("state", "iomem", 0), [0, 4096, "\x9b", 0], "state.iomem[0][2]", True),
    (("state", "meminfo", "MemTotal"), "5 kB", "state.meminfo.MemTotal", True),
    (("state", "nodes", "00"), {}, "state.nodes", True),
    (("state", "nodes", "0"), [], "state.nodes.0", True),
    (("state", "vmstat", "nr_memmap_pages"), -1, "state.vmstat.nr_memmap_pages", True),
    (("state", "block_size"), 0, "state.block_size", True),
    (("state", "dax"), [], "state.dax", True),
    (("state", "dax", "regions", 0, "path"), "sys", "state.dax.regions[0].path", True),
    (("state", "dax", "regions", 0, "end"), 4 * GIB, "state.dax.regions[0].start", False),
    (("state", "dax", "regions", 0, "align"), None, "state.dax.regions[0].align", True),
    (("state", "dax", "regions", 0, "target_node"), -2, "state.dax.regions[0].target_node", True),
    (("state", "dax", "regions", 0, "x"), 1, "state.dax.regions[0].x", True),
    (("state", "dax", "regions", 0, "devices", 0, "name"), "sda", "state.dax.regions[0].devices[0].name", True),
    (
        ("state", "dax", "regions", 0, "devices", 0, "extents", 0),
        [1],
        "state.dax.regions[0].devices[0].extents[0]",
        True,
    ),
    (("state", "dax", "regions", 0, "devices", 0, "mode"), "0888", "state.dax.regions[0].devices[0].mode", True),
    (("state", "links", "a/b"), "/dev/dax0.1", "state.links", True),
    (("state", "links", "vm-a"), 1, "state.links.vm-a", True),
    (("state", "loader", "owned"), "quiet", "state.loader.owned", True),
    (("state", "loader", "drop_in_text"), None, "state.loader.drop_in_text", True),
    (("state", "files", "relative"), "ab" * 32, "state.files", True),
    (("state", "files", "/x"), "ab", "state.files./x", True),
    (("state", "kdump"), {"/etc/x": [1]}, "state.kdump./etc/x[0]", True),
    (("state", "problems", 0), None, "state.problems[0]", True),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "path", "by_schema"), BROKEN)
def test_what_is_refused(
    validator: jsonschema.Draft7Validator,
    place: tuple[str | int, ...],
    value: Any,
    path: str,
    by_schema: bool,
) -> None:
    data = changed(place, value)
    with pytest.raises(InvalidInput) as caught:
        host_from_json(data)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert len(str(caught.value)) < 500
    if by_schema:
        assert not validator.is_valid(data)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("boot_arguments",), None),
        (("committed",), None),
        (("kernel", "default"), ""),
        (("state",), {}),
        (("state", "block_size"), None),
        (("state", "loader"), ...),
        (("firmware", "map", 3), [4 * GIB, 1 << 64, 0xFFFFFFFF]),
        (("firmware", "boot"), ""),
        (("layouts",), {}),
        (("layouts", ID, "kernel_arguments"), []),
        (("state", "dax", "regions", 0, "devices", 0, "mode"), ""),
    ],
)
def test_what_is_fine(
    validator: jsonschema.Draft7Validator, place: tuple[str | int, ...], value: Any
) -> None:
    data = changed(place, value)
    assert host_to_json(host_from_json(data)) == data
    validator.validate(data)


@pytest.mark.parametrize("data", [None, 1, "x", [], {}, [[]]])
def test_what_is_no_snapshot_at_all(data: Any) -> None:
    with pytest.raises(InvalidInput):
        host_from_json(data)
