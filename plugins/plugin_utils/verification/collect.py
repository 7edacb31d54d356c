# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one host shows: one command for the snapshot that the shared expectations judge, one for the raw texts."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host_files import program_path
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

from .raw import Raw, parse_raw, raw_texts_command


class Unusable(Exception):
    """A host that cannot be verified at all; the message says why and what would help."""


class Unreachable(Unusable):
    """Nothing that is on the host, or not on it, would help."""


@dataclass(frozen=True)
class Evidence:
    """``name`` is the host's in the inventory."""

    name: str
    layout: Layout
    host: Host
    raw: Raw


def given_layouts(folder: str) -> dict[str, Path]:
    """The layout files of a directory by host."""
    return {path.name.removesuffix(".json"): path for path in sorted(Path(folder).glob("*.json"))}


def collect(host: Any, folder: str | None) -> Evidence:
    """Ask a testinfra host, twice in all.

    The expected layout is the controller's where ``folder`` has one for each host, so that no host vouches for
    itself; else the one committed on the host, whose ID has to fit its content.
    """
    local = host.backend.get_connection_type() == "local"
    name = "localhost" if local else host.backend.get_hostname()
    snapshot = _snapshot(host, name)
    layout = _given(folder, name) if folder else _committed(snapshot, name)
    raw = _run(host, name, raw_texts_command(layout))
    try:
        return Evidence(name, layout, snapshot, parse_raw(raw))
    except ValueError as error:
        raise Unusable(f"{name}: its raw texts are none of a kernel's: {error}") from None


def _run(host: Any, name: str, command: str) -> str:
    try:
        done = host.run(command)
    except RuntimeError as error:
        # testinfra says so where ssh, or Ansible, did not get there
        raise Unreachable(f"{name}: it cannot be reached: {_last_words(error)}") from None
    if done.rc != 0:
        said = done.stderr_bytes.decode("utf-8", "replace").strip() or "it says nothing"
        raise Unusable(f"{name}: {command[:120]} ended with status {done.rc}: {said}")
    return str(done.stdout_bytes.decode("utf-8", "replace"))


def _last_words(error: RuntimeError) -> str:
    """Of ssh, whose result is what the error carries; else of the error."""
    said = getattr(error.args[0] if error.args else None, "stderr_bytes", b"").decode("utf-8", "replace")
    lines = (said.strip() or str(error)).strip().splitlines()
    return lines[-1] if lines else "it does not say why"


def _snapshot(host: Any, name: str) -> Host:
    try:
        text = _run(host, name, shlex.join(["python3", "-B", program_path(), "host"]))
    except Unreachable:
        raise
    except Unusable as error:
        raise Unusable(f"{error} (Carveout's site playbook puts the program there)") from None
    try:
        return host_from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{name}: its snapshot is not JSON: {error}") from None
    except CarveoutError as error:
        raise Unusable(f"{name}: its snapshot cannot be used: {error}") from None


def _given(folder: str, name: str) -> Layout:
    path = given_layouts(folder).get(name)
    if path is None:
        raise Unusable(f"{name}: {folder} has no {name}.json, the layout that the host is held to")
    try:
        return Layout.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise Unusable(f"{name}: {path} cannot be read: {error}") from None
    except CarveoutError as error:
        raise Unusable(f"{name}: {path}: {error}") from None


def _committed(host: Host, name: str) -> Layout:
    if host.committed is None:
        raise Unusable(f"{name}: no layout is committed on the host, there is nothing to hold it to")
    if host.committed not in host.layouts:
        raise Unusable(f"{name}: the layout {host.committed} is committed, but it is not stored on the host")
    try:
        return Layout.from_json(host.layouts[host.committed])
    except CarveoutError as error:
        raise Unusable(f"{name}: the committed layout: {error}") from None
