# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is sent to hosts runs with Python 3.9 and nothing but its standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
CORE = CHECKOUT / "plugins" / "module_utils"
MODULES = CHECKOUT / "plugins" / "modules"
FILES = sorted([*CORE.rglob("*.py"), *MODULES.glob("*.py")])

#: What came after 3.9, by the name it is called or imported by.
NEWER = {
    "aiter", "anext", "bit_count", "pairwise", "batched", "StrEnum", "EnumType", "ExceptionGroup", "BaseExceptionGroup",
    "add_note", "file_digest", "UTC", "TypeAlias", "TypeGuard", "ParamSpec", "Self", "assert_never", "Never",
    "NotRequired", "Required", "override", "tomllib", "stdlib_module_names", "get_annotations", "TaskGroup",
}  # fmt: skip
#: Keyword arguments that came after 3.9.
NEWER_KEYWORDS = {("zip", "strict"), ("dataclass", "slots"), ("dataclass", "kw_only"), ("field", "kw_only")}
BUILT_IN = {
    "str",
    "int",
    "bool",
    "float",
    "bytes",
    "list",
    "dict",
    "tuple",
    "set",
    "frozenset",
    "object",
    "type",
}


def outside_annotations(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: annotations are text (PEP 563)."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield node
                yield from outside_annotations(node)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CHECKOUT / "plugins").as_posix())
def test_python_3_9(path: Path) -> None:
    tree = parsed(path)
    body = [node for node in tree.body if not isinstance(node, ast.Expr)]
    assert not body or (isinstance(body[0], ast.ImportFrom) and body[0].module == "__future__")
    for node in outside_annotations(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name):
            assert node.id not in NEWER, line
        elif isinstance(node, ast.Attribute):
            assert node.attr not in NEWER, line
        elif isinstance(node, ast.alias):
            assert node.name not in NEWER, line
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert not {(called, k.arg) for k in node.keywords} & NEWER_KEYWORDS, line
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            for side in (node.left, node.right):
                assert not (isinstance(side, ast.Constant) and side.value is None), (
                    f"X | None runs in line {line}"
                )
                assert not (isinstance(side, ast.Name) and side.id in BUILT_IN), f"X | Y runs in line {line}"


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """``(level, module)`` of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


@pytest.mark.parametrize(
    "path", sorted(CORE.rglob("*.py")), ids=lambda path: path.relative_to(CORE).as_posix()
)
def test_only_the_standard_library_and_relative_imports(path: Path) -> None:
    depth = len(path.relative_to(CORE).parts)
    for level, module in imported(parsed(path)):
        if level:
            assert level <= depth, f"{module} reaches out of the core"
        else:
            # Augeas is used where the host has it.
            top = module.partition(".")[0]
            assert top in sys.stdlib_module_names or top == "augeas", module


#: Rooms that are pure: no process, no clock, no file, no environment.
PURE = [
    *(CORE / name for name in ("_units.py", "_ranges.py", "_arguments.py", "_layout.py", "_errors.py")),
    *(path for room in ("_model", "_mechanisms", "_planner") for path in (CORE / room).glob("*.py")),
]


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(CORE).as_posix())
def test_pure_rooms_touch_nothing(path: Path) -> None:
    allowed = {
        "__future__", "bisect", "collections.abc", "dataclasses", "functools", "hashlib", "itertools", "json", "re",
            "typing",
    }  # fmt: skip
    tree = parsed(path)
    assert {module for level, module in imported(tree) if not level} <= allowed
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert not called & {"open", "exec", "eval", "print", "input", "__import__"}
