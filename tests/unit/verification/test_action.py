# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role as Ansible runs it, on this machine as the host: it cannot pass here, and says why in one message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout


def play(folder: Path, variables: dict[str, Any], *hosts: str) -> str:
    """Runs the role on hosts of a local connection; the output, which is never a traceback's."""
    (folder / "hosts.json").write_text(
        json.dumps({"all": {"hosts": {host: {"ansible_connection": "local"} for host in hosts}}}),
        encoding="utf-8",
    )
    task = {"ansible.builtin.import_role": {"name": "carveout.memory.verify"}, "vars": variables}
    book = [{"hosts": "all", "gather_facts": False, "tasks": [task]}]
    (folder / "play.yml").write_text(json.dumps(book), encoding="utf-8")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            folder / "hosts.json",
            folder / "play.yml",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_LOCALHOST_WARNING": "0"},
    )
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_a_host_without_carveout(layout: Layout, tmp_path: Path) -> None:
    if Path("/usr/lib/carveout").exists():
        pytest.skip("this machine is a carved host itself")
    junit = tmp_path / "reports"
    out = play(tmp_path, {"verify_layout": layout.to_json(), "verify_junit": str(junit)}, "h1")
    assert "h1: python3 -B /usr/lib/carveout/carveout-" in out
    assert "(Carveout's site playbook puts the program there)" in out
    assert 'errors="16"' in (junit / "h1.xml").read_text(encoding="utf-8")


def test_refusals(layout: Layout, tmp_path: Path) -> None:
    edited = {**layout.to_json(), "kernel": "6.1.0"}
    out = play(tmp_path, {"verify_layout": edited, "verify_junit": "all.xml"}, "h1")
    assert "h1 cannot be verified: layout.id: the layout's content has the ID" in out
    out = play(tmp_path, {"verify_layout": layout.to_json(), "verify_junit": "all.xml"}, "h1", "h2")
    assert "the hosts of the play would all write" in out
