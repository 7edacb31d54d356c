# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading a plan from YAML without YAML 1.1's surprises.

PyYAML reads ``0660`` as 432, ``1:30`` as 90, takes the last of two equal keys, and ``no`` as False.
A plan with any of these is refused with its line.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput

_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_MAX_DEPTH = 12
#: Aliases can make a short text very large.
_MAX_NODES = 10_000
_MAX_BYTES = 1 << 20
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def load_plan(text: str, source: str) -> Any:
    """The document as plain Python data.

    ``source`` names the file in messages. Raises :class:`InvalidInput` with line and column.
    """
    if len(text) > _MAX_BYTES:
        raise InvalidInput.of("", "yaml-too-large", f"{source}: the plan is larger than 1 MiB")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidInput.of("", "yaml-invalid", f"{source}{place}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        words = " ".join(str(error).split())
        raise InvalidInput.of("", "yaml-invalid", f"{source}: not YAML: {words}") from None
    plan = None if node is None else _Builder(source).build(node, "", 0)
    if plan is None:
        raise InvalidInput.of("", "plan-empty", f"{source}: the plan is empty")
    return plan


class _Builder:
    """Plain data from YAML's nodes; ``source`` names the file in messages."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._count = 0
        self._scalars = yaml.SafeLoader("")

    def _fail(self, node: yaml.Node, path: str, code: str, message: str) -> InvalidInput:
        return InvalidInput.of(path, code, f"{message} ({self._source}, line {node.start_mark.line + 1})")

    def build(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._count += 1
        if depth > _MAX_DEPTH:
            raise self._fail(node, path, "yaml-too-deep", "nested too deeply for a plan")
        if self._count > _MAX_NODES:
            raise self._fail(
                node, path, "yaml-too-large", f"more than {_MAX_NODES} values, aliases counted in full"
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in _COLLECTIONS:
            raise self._fail(node, path, "yaml-tag", f"the tag {node.tag!r} has no meaning in a plan")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        return [self.build(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            here = f"{path}.{key}" if path else key
            if key in result:
                raise self._fail(key_node, here, "key-duplicate", "the key stands twice")
            result[key] = self.build(value_node, here, depth + 1)
        return result

    def _key(self, node: yaml.Node, path: str) -> str:
        if node.tag == "tag:yaml.org,2002:merge":
            raise self._fail(
                node, path, "key-invalid", "merging with << is not done in plans; write the keys out"
            )
        if not isinstance(node, yaml.ScalarNode):
            raise self._fail(node, path, "key-invalid", "a key must be a plain name or number")
        value = self._scalar(node, path)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            words = f"the key {node.value!r} must be quoted: YAML reads it as {value!r}"
            raise self._fail(node, path, "key-invalid", words)
        return str(value)

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        text, tag = node.value, node.tag.rpartition(":")[2]
        if tag == "int" and _OCTAL.fullmatch(text):
            words = f'YAML reads {text} as an octal number; quote it: "{text}"'
            raise self._fail(node, path, "number-octal", words)
        if tag in ("int", "float") and _SEXAGESIMAL.fullmatch(text):
            words = f'YAML reads {text} as a number of base 60; quote it: "{text}"'
            raise self._fail(node, path, "number-sexagesimal", words)
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError, IndexError, AttributeError):
            # PyYAML's constructors meet explicit tags that do not fit (!!bool x) unprepared.
            words = f"{text!r} cannot be read as {node.tag!r}"
            raise self._fail(node, path, "yaml-tag", words) from None
        if value is not None and not isinstance(value, (str, int, float)):
            words = f"YAML reads {text!r} as a {type(value).__name__}; put it in quotes if text is meant"
            raise self._fail(node, path, "yaml-type", words)
        return value
