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
_MAX_BYTES = 1 << 20


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
        raise InvalidInput.of("", "yaml-invalid", f"{source}: not YAML: {error}") from None
    if node is None:
        raise InvalidInput.of("", "plan-empty", f"{source}: the plan is empty")
    return _construct(node, "", source, 0)


def _fail(node: yaml.Node, path: str, code: str, source: str, message: str) -> InvalidInput:
    return InvalidInput.of(path, code, f"{message} ({source}, line {node.start_mark.line + 1})")


def _construct(node: yaml.Node, path: str, source: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise _fail(node, path, "yaml-too-deep", source, "nested too deeply for a plan")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise _fail(key_node, path, "key-invalid", source, "a key must be a plain name or number")
            key = _key(key_node, path, source)
            here = f"{path}.{key}" if path else key
            if key in result:
                raise _fail(key_node, here, "key-duplicate", source, "the key stands twice")
            result[key] = _construct(value_node, here, source, depth + 1)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(item, f"{path}[{index}]", source, depth + 1) for index, item in enumerate(node.value)
        ]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, path, source)


def _key(node: yaml.ScalarNode, path: str, source: str) -> str:
    value = _scalar(node, path, source)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _fail(
            node,
            path,
            "key-invalid",
            source,
            f"the key {node.value!r} must be quoted: YAML reads it as {value!r}",
        )
    return str(value)


def _scalar(node: yaml.ScalarNode, path: str, source: str) -> Any:
    text, tag = node.value, node.tag.rpartition(":")[2]
    if tag == "int":
        if _OCTAL.fullmatch(text):
            raise _fail(
                node,
                path,
                "number-octal",
                source,
                f'YAML reads {text} as an octal number; quote it: "{text}"',
            )
        if _SEXAGESIMAL.fullmatch(text):
            raise _fail(
                node,
                path,
                "number-sexagesimal",
                source,
                f'YAML reads {text} as a number of base 60; quote it: "{text}"',
            )
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise _fail(node, path, "yaml-invalid", source, f"{text!r} cannot be read: {error}") from None
