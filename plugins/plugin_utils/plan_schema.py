# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checking a plan's shape by its JSON Schema, with messages for operators."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jsonschema

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, Problem
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import (
    Plan,
    normalise_keys,
    read_plan,
)

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schemas" / "memory_plan.schema.json"

_TYPE_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
}

#: JSON's names of the collections.
_TYPE_NAMES = {"dict": "object", "list": "array"}


@functools.lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


@functools.lru_cache(maxsize=1)
def _validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(_schema())


def validated_plan(data: Any) -> Plan:
    """A typed plan from plain data. Raises :class:`InvalidInput` with every problem of its shape,
    or, where the shape is right, every problem of its values."""
    if not isinstance(data, dict):
        raise InvalidInput.of("", "type", f"a plan is a mapping, not {_kind(data)}")
    data = normalise_keys(data)
    errors = list(_validator().iter_errors(data))
    if errors:
        raise InvalidInput(_all_problems(errors))
    return read_plan(data)


def _all_problems(errors: Sequence[Any]) -> list[Problem]:
    """In order of places, each once; a missing key that stands there misspelt is one mistake."""
    meant = {
        _join(plan_path(error.absolute_path), near)
        for error in errors
        if error.validator == "additionalProperties"
        for key in error.instance
        if key not in _known(error) and (near := _nearest(key, _known(error)))
    }
    found = {problem for error in errors for problem in _problems(error)}
    found = {p for p in found if p.code != "missing-key" or p.path not in meant}
    return sorted(found, key=lambda p: (p.path, p.code, p.message))


def plan_path(parts: Iterable[Any]) -> str:
    """``pools.guests.devices[0].size`` from the parts of a path."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text = _join(text, str(part))
    return text


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a fraction"}
    return kinds.get(type(value), type(value).__name__)


def _problems(error: Any) -> list[Problem]:
    path = plan_path(error.absolute_path)
    if error.validator == "additionalProperties":
        known = _known(error)
        return [
            Problem(_join(path, key), "unknown-key", _unknown_key(key, known))
            for key in error.instance
            if key not in known
        ]
    if error.validator == "required":
        return [
            Problem(_join(path, key), "missing-key", "this key is needed")
            for key in error.validator_value
            if key not in error.instance
        ]
    if error.validator in ("oneOf", "anyOf"):
        return _one_of(error, path)
    if error.validator in ("enum", "const"):
        allowed = error.validator_value if error.validator == "enum" else [error.validator_value]
        words = ", ".join(str(word) for word in allowed)
        near = difflib.get_close_matches(str(error.instance), [str(w) for w in allowed], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return [Problem(path, "value", f"{error.instance!r} is not one of: {words}{hint}")]
    if error.validator == "type":
        return [Problem(path, "type", _wrong_type(error))]
    if error.validator == "pattern":
        return [Problem(path, "value", f"{error.instance!r} is not {_expects(error)}")]
    if error.validator in ("minProperties", "minItems"):
        return [Problem(path, "empty", "at least one entry is needed")]
    if error.validator == "minimum":
        return [Problem(path, "value", f"{error.instance} is less than {error.validator_value}")]
    return [Problem(path, "value", error.message)]


def _one_of(error: Any, path: str) -> list[Problem]:
    branches = error.validator_value
    if all(set(branch) == {"required"} for branch in branches):
        if not isinstance(error.instance, dict):
            return []  # its type is a problem of its own
        keys = [branch["required"][0] for branch in branches]
        have = [key for key in keys if key in error.instance]
        what = f"{' and '.join(have)} exclude each other" if have else f"one of {' or '.join(keys)} is needed"
        return [Problem(path, "missing-key" if not have else "value", what)]
    # Either one value or a collection of them: follow the branch that the operator's value looks like.
    kind = _TYPE_NAMES.get(type(error.instance).__name__)
    index = next((i for i, branch in enumerate(branches) if branch.get("type") == kind), 0)
    inner = [e for e in error.context or [] if e.schema_path and e.schema_path[0] == index]
    return [problem for e in inner for problem in _problems(e)]


def _expects(error: Any) -> str:
    return str(error.schema["x-expects"])


def _wrong_type(error: Any) -> str:
    if isinstance(error.schema, dict) and "x-expects" in error.schema:
        wanted = str(error.schema["x-expects"])
    else:
        types = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        wanted = " or ".join(_TYPE_WORDS.get(str(word), str(word)) for word in types)
    return f"{error.instance!r} is {_kind(error.instance)}; expected is {wanted}"


def _known(error: Any) -> list[str]:
    return list(error.schema["properties"])


def _join(path: str, key: str) -> str:
    key = key or '""'  # a place has to be named even where the key is empty
    return f"{path}.{key}" if path else key


def _nearest(key: str, known: list[str]) -> str:
    return next(iter(difflib.get_close_matches(key, known, 1, cutoff=0.5)), "")


def _unknown_key(key: str, known: list[str]) -> str:
    near = _nearest(key, known)
    hint = f"did you mean {near!r}? " if near else ""
    return f"unknown key; {hint}known are: {', '.join(known)}"
