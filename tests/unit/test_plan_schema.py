# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shape of plans: each mistake gives one message with its place and what would be right."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._layout import ACCOUNT, MODE, NAME
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import (
    MECHANISMS,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import plan_path, validated_plan
from ansible_collections.carveout.memory.tests.fuzz.mutate import places

PLAN: dict[str, Any] = {
    "version": 1,
    "kernel": {"memory": {"0": "2GiB", "1": "5%"}},
    "pools": {
        "guests": {
            "mechanism": "dax",
            "nodes": {"0": "rest", "1": "2GiB"},
            "align": {"0": "1GiB", "1": "2MiB"},
            "devices": [
                {"name": "vm-a", "node": 0, "size": "1GiB", "owner": "root", "group": "kvm", "mode": "0660"},
                {"name": "vm-b", "node": 1, "extents": [{"offset": 0, "size": "2MiB"}], "align": "4KiB"},
            ],
        },
        "scratch": {"mechanism": "reserved", "nodes": {"1": "256MiB"}},
    },
    "avoid": [{"start": 0x2000000000, "size": "2MiB"}],
    "policy": {"kaslr": "keep", "trial_boot": False, "idle_foreign_dax": False},
}
DEVICE = ("pools", "guests", "devices", 0)


def changed(*path: Any, value: Any = None, delete: bool = False) -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    inner: Any = plan
    for part in path[:-1]:
        inner = inner[part]
    if delete:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return plan


def problems(plan: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidInput) as caught:
        validated_plan(plan)
    return [(p.path, p.code, p.message) for p in caught.value.problems]


def test_a_right_plan() -> None:
    plan = validated_plan(PLAN)
    assert plan.source == PLAN
    assert [pool.name for pool in plan.pools] == ["guests", "scratch"]


@pytest.mark.parametrize(
    ("place", "value", "path", "code", "words"),
    [
        # wrong type
        (("version",), "1", "version", "value", "'1' is not one of: 1"),
        (("version",), 2, "version", "value", "2 is not one of: 1"),
        (("kernel",), 5, "kernel", "type", "5 is a number; expected is a mapping"),
        (("kernel", "memory"), None, "kernel.memory", "type", "expected is a size such as 16GiB"),
        (("kernel", "memory"), [1], "kernel.memory", "type", "[1] is a list"),
        (("kernel", "memory"), 1.5, "kernel.memory", "type", "1.5 is a fraction"),
        (("kernel", "memory"), True, "kernel.memory", "type", "True is a boolean"),
        (("kernel", "memory"), -1, "kernel.memory", "value", "-1 is less than 0"),
        (("kernel", "memory"), {}, "kernel.memory", "empty", "at least one entry"),
        (("kernel", "memory", "0"), [], "kernel.memory.0", "type", "expected is a size"),
        (("pools",), [], "pools", "type", "[] is a list; expected is a mapping"),
        (("pools",), {}, "pools", "empty", "at least one entry"),
        (("pools", "guests"), "dax", "pools.guests", "type", "'dax' is text; expected is a mapping"),
        (("pools", "guests", "nodes"), "rest", "pools.guests.nodes", "type", "expected is a mapping"),
        (("pools", "guests", "nodes", "1"), None, "pools.guests.nodes.1", "type", "or rest"),
        (("pools", "guests", "align"), [], "pools.guests.align", "type", "expected is a size"),
        (("pools", "guests", "devices"), {}, "pools.guests.devices", "type", "expected is a list"),
        (DEVICE, "vm-a", "pools.guests.devices[0]", "type", "'vm-a' is text; expected is a mapping"),
        (DEVICE, 5, "pools.guests.devices[0]", "type", "5 is a number; expected is a mapping"),
        (DEVICE, None, "pools.guests.devices[0]", "type", "None is empty; expected is a mapping"),
        ((*DEVICE, "name"), True, "pools.guests.devices[0].name", "type", "True is a boolean; expected is a name"),
        ((*DEVICE, "node"), "0", "pools.guests.devices[0].node", "type", "'0' is text; expected is a NUMA node"),
        ((*DEVICE, "mode"), 432, "pools.guests.devices[0].mode", "type", "four octal digits in quotes"),
        ((*DEVICE, "size"), ["1GiB"], "pools.guests.devices[0].size", "type", "['1GiB'] is a list"),
        (("avoid",), {"start": 1}, "avoid", "type", "expected is a list"),
        (("avoid", 0, "start"), None, "avoid[0].start", "type", "expected is a size"),
        (("policy", "trial_boot"), "no", "policy.trial_boot", "type", "'no' is text; expected is true or false"),
        # values
        (("policy", "kaslr"), "kept", "policy.kaslr", "value", "did you mean keep?"),
        (("pools", "guests", "mechanism"), "daxs", "pools.guests.mechanism", "value", "did you mean dax?"),
        (("pools", "guests", "mechanism"), "x", "pools.guests.mechanism", "value", "one of: dax, reserved"),
        ((*DEVICE, "mode"), "660", "pools.guests.devices[0].mode", "value", "for example \"0660\""),
        ((*DEVICE, "owner"), "Root", "pools.guests.devices[0].owner", "value", "an account name"),
        ((*DEVICE, "name"), "a b", "pools.guests.devices[0].name", "value", "'a b' is not a name"),
        # unknown keys, with the nearest right one
        (("polcy",), {}, "polcy", "unknown-key", "did you mean 'policy'?"),
        (("xyz",), {}, "xyz", "unknown-key", "unknown key; known are: version, kernel, pools, avoid, policy"),
        (("kernel", "mem"), 1, "kernel.mem", "unknown-key", "did you mean 'memory'?"),
        (("pools", "guests", "device"), [], "pools.guests.device", "unknown-key", "did you mean 'devices'?"),
        ((*DEVICE, "sise"), 1, "pools.guests.devices[0].sise", "unknown-key", "did you mean 'size'?"),
        (("avoid", 0, "end"), 1, "avoid[0].end", "unknown-key", "known are: start, size"),
        (("policy", "kasler"), 1, "policy.kasler", "unknown-key", "did you mean 'kaslr'?"),
        # keys that are names and numbers
        (("pools", "a b"), PLAN["pools"]["scratch"], "pools", "value", "'a b' is not a name"),
        (("pools", "a/b"), PLAN["pools"]["scratch"], "pools", "value", "'a/b' is not a name"),
        (("pools", "guests", "nodes", "one"), "rest", "pools.guests.nodes", "value", "not a NUMA node number"),
        (("pools", "guests", "nodes", "01"), "rest", "pools.guests.nodes", "value", "not a NUMA node number"),
        (("kernel", "memory", "-1"), "1GiB", "kernel.memory", "value", "'-1' is not a NUMA node number"),
        # size or extents
        ((*DEVICE, "extents"), [{"offset": 0, "size": 1}], "pools.guests.devices[0]", "value", "exclude each other"),
        ((*DEVICE[:3], 1, "extents"), [], "pools.guests.devices[1].extents", "empty", "at least one"),
    ],
)  # fmt: skip
def test_one_mistake_gives_one_message(
    place: tuple[Any, ...], value: Any, path: str, code: str, words: str
) -> None:
    ((got_path, got_code, message),) = problems(changed(*place, value=value))
    assert (got_path, got_code) == (path, code)
    assert words in message


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (("version",), "version"),
        (("kernel",), "kernel"),
        (("kernel", "memory"), "kernel.memory"),
        (("pools", "guests", "mechanism"), "pools.guests.mechanism"),
        (("avoid", 0, "size"), "avoid[0].size"),
        ((*DEVICE, "name"), "pools.guests.devices[0].name"),
    ],
)
def test_missing_keys(place: tuple[Any, ...], path: str) -> None:
    assert problems(changed(*place, delete=True)) == [(path, "missing-key", "this key is needed")]


def test_a_device_needs_a_size() -> None:
    assert problems(changed(*DEVICE, "size", delete=True)) == [
        ("pools.guests.devices[0]", "missing-key", "one of size or extents is needed")
    ]


def test_every_missing_key_is_named() -> None:
    assert [path for path, _, _ in problems({"version": 1, "kernel": {}, "pools": {"a": {}}})] == [
        "kernel.memory",
        "pools.a.mechanism",
        "pools.a.nodes",
    ]


def test_a_misspelt_key_is_not_missing_as_well() -> None:
    plan = changed("kernal", value=PLAN["kernel"])
    del plan["kernel"]
    ((path, code, message),) = problems(plan)
    assert (path, code) == ("kernal", "unknown-key")
    assert "did you mean 'kernel'?" in message


def test_plans_that_are_none() -> None:
    assert problems([])[0] == ("", "type", "a plan is a mapping, not a list")
    assert problems(None)[0][2] == "a plan is a mapping, not empty"
    assert [path for path, _, _ in problems({})] == ["kernel", "pools", "version"]
    assert problems({1.5: 1})[0][1] == "key-invalid"
    assert problems({True: 1})[0][1] == "key-invalid"
    endless: dict[str, Any] = {}
    endless["pools"] = endless
    assert problems(endless)[0][1] == "plan-too-deep"


def test_numbers_as_keys() -> None:
    """What Ansible hands in has numbers where node numbers stand."""
    plan = changed("kernel", "memory", value={0: "2GiB", 1: "5%"})
    assert validated_plan(plan).source == PLAN
    assert problems(changed("kernel", "memory", value={0: 1, "0": 2}))[0][:2] == (
        "kernel.memory.0",
        "key-duplicate",
    )


def test_paths() -> None:
    assert plan_path(["pools", "a", "devices", 0, "size"]) == "pools.a.devices[0].size"
    assert plan_path([]) == ""


def test_the_schema_and_the_core_agree(checkout: Path) -> None:
    schema = json.loads((checkout / "schemas" / "memory_plan.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    definitions = schema["definitions"]
    assert definitions["name"]["pattern"] == f"^{NAME.pattern}$"
    assert definitions["account"]["pattern"] == f"^{ACCOUNT.pattern}$"
    assert definitions["device"]["properties"]["mode"]["pattern"] == f"^{MODE.pattern}$"
    mechanisms = definitions["pool"]["properties"]["mechanism"]["enum"]
    assert sorted(mechanisms) == sorted(MECHANISMS)


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 1 << 65), st.floats(), st.text(max_size=6),
        st.sampled_from(["rest", "5%", "1GiB", "dax", "root", 4294967296.0, 1.0]),
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["0", "1", "size", "name", "memory", "x"]), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(places(PLAN)), JSON_VALUES), min_size=1, max_size=2))
def test_any_change_is_read_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    plan: Any = copy.deepcopy(PLAN)
    for path, value in changes:
        inner = plan
        try:
            for part in path[:-1]:
                inner = inner[part]
            inner[path[-1]] = value
        except (KeyError, TypeError, IndexError):
            continue
    try:
        validated_plan(plan)
    except InvalidInput as error:
        assert error.problems
        assert all(problem.message and problem.code for problem in error.problems)
        assert len(set(error.problems)) == len(error.problems)
