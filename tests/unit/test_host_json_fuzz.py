# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Any host survives being written and read; any JSON is read or refused, never worse."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import (
    ForeignArgument,
    Host,
    MapEntry,
    NodeRange,
)

ID = "0123456789abcdef"
HERE = Path(__file__).parent
SNAPSHOT: dict[str, Any] = json.loads((HERE / "data/host.json").read_text())
SCHEMA = jsonschema.Draft7Validator(json.loads((HERE.parents[1] / "schemas/host.schema.json").read_text()))

TEXT = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20)
NUMBER = st.integers(0, 1 << 64)
WORDS = st.from_regex(r"[A-Za-z0-9_()]{1,20}", fullmatch=True)
COUNTS = st.dictionaries(WORDS, NUMBER, max_size=4)


@st.composite
def maps(draw: st.DrawFn) -> tuple[MapEntry, ...]:
    edges = sorted(draw(st.sets(st.integers(0, 1 << 64), min_size=2, max_size=40)))
    kinds = st.sampled_from([1, 1, 2, 3, 4, 5, 7, 12, 20, 0xEFFFFFFF])
    return tuple(MapEntry(a, b, draw(kinds)) for a, b in zip(edges[::2], edges[1::2], strict=False))


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    firmware_map = draw(maps())
    cuts = sorted(draw(st.sets(st.integers(1, 1 << 64), max_size=6)))
    nodes = [NodeRange(i % 3, a, b) for i, (a, b) in enumerate(zip([0, *cuts], cuts, strict=False))]
    ids = draw(st.lists(st.from_regex(r"[0-9a-f]{16}", fullmatch=True), max_size=2, unique=True))
    state: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "root": st.booleans(),
                "boot_id": TEXT,
                "augeas": st.booleans(),
                "meminfo": COUNTS,
                "nodes": st.dictionaries(st.integers(0, 999).map(str), COUNTS, max_size=3),
                "vmstat": COUNTS,
                "block_size": st.none() | st.integers(1, 1 << 64),
                "iomem": st.lists(
                    st.tuples(st.integers(0, 99), st.integers(100, 1 << 64), TEXT, st.integers(0, 32)).map(
                        list
                    )
                ),
                "links": st.dictionaries(
                    st.from_regex(r"[a-z0-9._-]{1,9}", fullmatch=True), TEXT, max_size=3
                ),
                "dax": st.just(SNAPSHOT["state"]["dax"]),
                "loader": st.just(SNAPSHOT["state"]["loader"]),
                "problems": st.lists(TEXT, max_size=3),
            },
        )
    )
    return Host(
        architecture=draw(st.sampled_from(["x86_64", "aarch64"])),
        firmware_map=firmware_map,
        node_ranges=tuple(nodes),
        hmat=draw(st.booleans()),
        hmat_targets=draw(st.sampled_from([(), tuple(nodes)])),
        firmware_boot=draw(st.sampled_from(["bios", "efi", ""])),
        kernel_running=draw(st.from_regex(r"[A-Za-z0-9_.+~-]{0,30}", fullmatch=True)),
        kernel_default=draw(st.sampled_from(["", "6.12.1"])),
        kernel_config=draw(st.dictionaries(st.sampled_from(["CONFIG_A", "CONFIG_B9_X"]), TEXT)),
        cmdline=draw(TEXT),
        boot_arguments=draw(st.none() | st.lists(TEXT, max_size=5).map(tuple)),
        foreign=tuple(
            ForeignArgument(a, f, n) for a, f, n in draw(st.lists(st.tuples(TEXT, TEXT, st.integers(0, 99))))
        ),
        committed=draw(st.none() | st.just(ID)),
        layouts={
            i: {"id": i, "kernel_arguments": [f"carveout.layout={i}", "x"], "n": [1, None]} for i in ids
        },
        state=state,
    )


@given(hosts())
@settings(max_examples=80, deadline=None)
def test_round_trip_through_text(host: Host) -> None:
    data = json.loads(json.dumps(host_to_json(host)))
    assert host_from_json(data) == host
    SCHEMA.validate(data)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("A" * 100_000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [*([path] if path else []), *(p for key, item in inside for p in places(item, (*path, key)))]


@given(
    st.lists(st.tuples(st.sampled_from(places(SNAPSHOT)), ANYTHING | st.just(...)), min_size=1, max_size=3)
)
@settings(max_examples=250, deadline=None)
def test_a_changed_snapshot_is_read_or_refused(changes: list[tuple[tuple[str | int, ...], Any]]) -> None:
    """Whatever stands where: a host that writes back the same, or one of our own errors."""
    data = copy.deepcopy(SNAPSHOT)
    for path, value in changes:
        place: Any = data
        try:
            for step in path[:-1]:
                place = place[step]
            if value is ...:
                del place[path[-1]]
            else:
                place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    try:
        host = host_from_json(data)
    except CarveoutError as error:
        assert error.exit_code == 4
        assert str(error)
    else:
        assert host_to_json(host) == data
        assert host.nodes is not None
        assert host.foreign_tokens is not None


@given(ANYTHING)
def test_any_json_is_read_or_refused(data: Any) -> None:
    with pytest.raises(InvalidInput):
        host_from_json(data)
