# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The layout as JSON: read back exactly, and refused where anything in it was touched."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._layout import (
    Device,
    Layout,
    LayoutWarning,
    Memory,
    Reservation,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB

MEMORY = Memory(9 * GIB, 9 * GIB, 6 * GIB, 144 * MIB, 100 * MIB)
LAYOUT = Layout(
    plan={"version": 1, "kernel": {"memory": "1GiB"}, "pools": {"guests": {"mechanism": "dax"}}},
    kernel="6.12.107+deb13-amd64",
    arguments=("memmap=2G%6G-1+0xefffffff", "memmap=1G%8G-1+2", "dax_hmem.region_idle=1"),
    reservations=(
        Reservation("guests", "dax", 1, 6 * GIB, 8 * GIB, 2 * MIB),
        Reservation("scratch", "reserved", 1, 8 * GIB, 9 * GIB, 2 * MIB),
    ),
    devices=(
        Device(
            "vm-a", "guests", 1, 2 * MIB,
            (Range(6 * GIB, 6 * GIB + 4 * MIB), Range(7 * GIB, 8 * GIB)),
            "pools.guests.devices[0]", "nobody", "kvm", "0660",
        ),
        Device(
            "vm-b", "guests", 1, 4096, (Range(6 * GIB + 4 * MIB, 7 * GIB),), "pools.guests.devices[1]",
            units=("qemu-vm-b.service", "qemu@b.service"),
        ),
    ),
    predicted_map=((0, 3 * GIB, 1), (4 * GIB, 6 * GIB, 1), (6 * GIB, 8 * GIB, 0xEFFFFFFF), (8 * GIB, 9 * GIB, 2)),
    memory=MEMORY,
    memory_nodes={0: MEMORY, 1: Memory()},
    warnings=(LayoutWarning("kaslr-physical", "the kernel's physical place is not randomised: nokaslr"),),
)  # fmt: skip


def as_json(layout: Layout = LAYOUT) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(layout.to_json()))
    return data


def forged(change: Any) -> dict[str, Any]:
    """A layout with a change and an ID that goes with it: what a stranger who knows our code can make."""
    data = as_json()
    change(data)
    plain = {k: v for k, v in data.items() if k not in ("id", "kernel_arguments")}
    plain["kernel_arguments"] = data["kernel_arguments"][1:]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    data["id"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    data["kernel_arguments"][0] = f"carveout.layout={data['id']}"
    return data


def test_there_and_back() -> None:
    assert Layout.from_json(as_json()) == LAYOUT
    assert Layout.from_json(as_json()).to_json() == as_json()
    assert Layout.from_json(forged(lambda data: None)) == LAYOUT, "the ID is what its description says"


def test_the_id_names_the_content() -> None:
    assert len(LAYOUT.id) == 16
    assert LAYOUT.kernel_arguments == (f"carveout.layout={LAYOUT.id}", *LAYOUT.arguments)
    for change in (
        {"kernel": "6.12.108"},
        {"arguments": LAYOUT.arguments[:-1]},
        {"warnings": ()},
        {"memory": Memory()},
        {"plan": {}},
        {"devices": LAYOUT.devices[:1]},
    ):
        assert dataclasses.replace(LAYOUT, **change).id != LAYOUT.id
    assert dataclasses.replace(LAYOUT, arguments=()).kernel_arguments == ()


def test_sums() -> None:
    assert LAYOUT.devices[0].size == GIB + 4 * MIB
    assert LAYOUT.memory.saved == 44 * MIB


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in the JSON but those inside of the plan, which are the operator's."""
    found = [path] if path else []
    if isinstance(data, dict) and path != ("plan",):
        for key, value in data.items():
            found += places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            found += places(value, (*path, index))
    return found


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 1 << 65), st.floats(), st.text(max_size=6),
        st.sampled_from(["vm-a", "root", "0660", "dax", "memmap=1G%6G-1+2", 2 * MIB, 6 * GIB]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@given(st.sampled_from(places(as_json())), JSON_VALUES, st.booleans())
def test_any_change_is_refused_as_invalid_input(path: tuple[Any, ...], value: Any, delete: bool) -> None:
    data = as_json()
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    if delete:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    if json.dumps(data, sort_keys=True) == json.dumps(as_json(), sort_keys=True):
        return
    with pytest.raises(InvalidInput):
        Layout.from_json(data)


@given(JSON_VALUES)
def test_anything_else_is_refused_as_invalid_input(data: Any) -> None:
    with pytest.raises(InvalidInput):
        Layout.from_json(data)


@pytest.mark.parametrize("extra", ["id", "plan", "memory", "new"])
def test_strange_plans_and_keys(extra: str) -> None:
    data = as_json()
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    data[extra] = {"deep": deep}
    with pytest.raises(InvalidInput):
        Layout.from_json(data)


def set_in(*path: Any, value: Any) -> Any:
    def change(data: Any) -> None:
        for part in path[:-1]:
            data = data[part]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_in("devices", 0, "name", value="../../etc/shadow"),
        set_in("devices", 0, "name", value="vm a"),
        set_in("devices", 0, "name", value="vm-a\n"),
        set_in("devices", 0, "name", value="$(reboot)"),
        set_in("devices", 0, "name", value="-rf"),
        set_in("devices", 0, "name", value=""),
        set_in("devices", 0, "name", value="x" * 64),
        set_in("devices", 1, "name", value="vm-a"),
        set_in("devices", 0, "owner", value="root; id"),
        set_in("devices", 0, "group", value="Kvm"),
        set_in("devices", 0, "mode", value="4755"),
        set_in("devices", 0, "mode", value="660"),
        set_in("devices", 0, "mode", value=432),
        set_in("devices", 1, "units", value=["../x.service"]),
        set_in("devices", 1, "units", value=["x.service\n"]),
        set_in("devices", 1, "units", value="x.service"),
        set_in("devices", 0, "units", value=[]),
        set_in("devices", 0, "align", value=0),
        set_in("devices", 0, "align", value=3 * MIB),
        set_in("devices", 0, "path", value="a\nb"),
        set_in("devices", 0, "extents", value=[]),
        set_in("devices", 0, "extents", 0, value=[0, 4 * MIB]),
        set_in("devices", 0, "extents", 0, value=[7 * GIB, 7 * GIB + 4 * MIB]),
        set_in("devices", 0, "extents", 0, value=[6 * GIB, 6 * GIB]),
        set_in("devices", 0, "pool", value="scratch"),
        set_in("devices", 0, "node", value=0),
        set_in("devices", 1, "extents", 0, value=[6 * GIB, 7 * GIB]),
        set_in("reservations", 0, "pool", value="a b"),
        set_in("reservations", 0, "mechanism", value="DAX!"),
        set_in("reservations", 0, "end", value=6 * GIB),
        set_in("reservations", 0, "end", value=9 * GIB),
        set_in("reservations", 0, "start", value=-1),
        set_in("reservations", 0, "node", value=True),
        set_in("reservations", 0, "align", value=12),
        set_in("kernel", value="6.1; reboot"),
        set_in("kernel_arguments", 1, value="memmap=1G$6G"),
        set_in("kernel_arguments", 1, value="a b"),
        set_in("kernel_arguments", 1, value='a"b'),
        set_in("kernel_arguments", 1, value=""),
        set_in("predicted_map", 0, value=[0, 5, 1, 1]),
        set_in("predicted_map", 0, value=[0, 1 << 64, 1]),
        set_in("warnings", 0, "message", value="\x1b]0;x\x07"),
        set_in("warnings", 0, "message", value="\ud800"),
        set_in("warnings", 0, "code", value="A b"),
        set_in("memory", "saved", value=0),
        set_in("memory", "nodes", value={"-1": MEMORY.to_json()}),
        set_in("memory", "nodes", value={"01": MEMORY.to_json()}),
        set_in("schema", value=2),
        set_in("schema", value=True),
        set_in("plan", value=[]),
        set_in("mounts", value=[1]),
        set_in("unknown", value=1),
    ],
)
def test_senseless_layouts_with_a_right_id_are_refused(change: Any) -> None:
    with pytest.raises(InvalidInput):
        Layout.from_json(forged(change))


def test_messages() -> None:
    with pytest.raises(InvalidInput, match=r"layout\.id: .* it was edited"):
        Layout.from_json(dict(as_json(), kernel="6.12.108"))
    with pytest.raises(InvalidInput, match="two devices have one name"):
        Layout.from_json(forged(set_in("devices", 1, "name", value="vm-a")))
    with pytest.raises(InvalidInput, match="do not follow from its content"):
        Layout.from_json(dict(as_json(), unknown=1))


def test_the_schema_of_layouts(checkout: Path) -> None:
    schema = json.loads((checkout / "schemas" / "layout.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    assert list(validator.iter_errors(as_json())) == []
    assert set(schema["required"]) == set(as_json()), "every key of a layout is there, and always"
    for path in places(as_json()):
        data = copy.deepcopy(as_json())
        inner = data
        for part in path[:-1]:
            inner = inner[part]
        if not isinstance(inner, dict) or ("nodes" in path[:-1] and len(path) == 3):
            continue
        del inner[path[-1]]
        # the one key that is not always there
        assert validator.is_valid(data) == (path[-1] == "units"), path
        inner[path[-1]] = None
        assert not validator.is_valid(data), path
