# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that the command line tool reads: plans, host snapshots, layouts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import RELEASE, Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.releases import version
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan

from .plan_schema import validated_plan
from .plan_yaml import load_plan

_MAX_BYTES = 64 << 20
_T = TypeVar("_T")


def read_text(name: str) -> str:
    """Raises :class:`InvalidInput` where the file cannot be read."""
    try:
        path = Path(name).expanduser()
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidInput.of("", "file-too-large", f"{name}: larger than 64 MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput.of("", "file-unreadable", f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput.of("", "file-unreadable", f"{name}: not UTF-8 text") from None
    except (ValueError, RuntimeError) as error:
        # a NUL in the name, or the home of nobody
        raise InvalidInput.of("", "file-unreadable", f"{name!r}: {error}") from None


def read_json(name: str) -> Any:
    try:
        return json.loads(read_text(name))
    except (ValueError, RecursionError) as error:
        raise InvalidInput.of("", "json-invalid", f"{name}: not JSON: {error}") from None


def read_plan_file(name: str) -> Plan:
    return validated_plan(load_plan(read_text(name), name))


def read_host_file(name: str, kernel: str | None = None) -> Host:
    """``kernel`` plans for another release than the one that boots next on the host."""
    host = _named(name, host_from_json, read_json(name))
    if kernel is not None:
        if not RELEASE.fullmatch(kernel) or version(kernel) is None:
            raise InvalidInput.of(
                "", "kernel-invalid", f"{kernel!r} is not a kernel's release, for example 6.12.107"
            )
        # The configuration that was read belongs to another kernel.
        host = dataclasses.replace(host, kernel_default=kernel, kernel_config={})
    return host


def read_layout_file(name: str) -> Layout:
    return _named(name, Layout.from_json, read_json(name))


def _named(name: str, read: Callable[[Any], _T], data: Any) -> _T:
    """Put the file's name into the messages of a reader."""
    try:
        return read(data)
    except InvalidInput as error:
        raise InvalidInput(
            [Problem(p.path, p.code, f"{p.message} ({name})") for p in error.problems]
        ) from None


def committed_layout(host: Host) -> Layout | None:
    """The layout that the snapshot says is committed on the host; None where it has none of use."""
    if host.committed is None or host.committed not in host.layouts:
        return None
    try:
        return Layout.from_json(host.layouts[host.committed])
    except InvalidInput:
        # Damaged on the host: planned anew, like a host that has none.
        return None


def internal_problem(error: Exception) -> Problem:
    """How a fault of our own is told: without a traceback, but with the way to get one."""
    text = f"internal error: {type(error).__name__}: {error} (set CARVEOUT_TRACEBACK=1 for the place)"
    return Problem("", "internal", text)
