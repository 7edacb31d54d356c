# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ready-made hooks of a rollout by real Ansible, without a rollout around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
HOOKS = ROOT / "playbooks/tasks/hooks"


def play(folder: Path, *hooks: str, programs: Path | None = None, **variables: Any) -> tuple[int, str]:
    """Runs the hooks, the next also where one fails; status and output."""
    tasks = [
        {"block": [{"ansible.builtin.include_tasks": str(HOOKS / f"{hook}.yml")}],
         "rescue": [{"ansible.builtin.debug": {"msg": f"{hook} failed"}}]}
        for hook in hooks
    ]  # fmt: skip
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [
            BIN / "ansible-playbook", "-i", "node-1,", "-c", "local",
            "-e", json.dumps({"ansible_python_interpreter": sys.executable, **variables}), folder / "play.yml",
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={
            **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{programs or BIN}{os.pathsep}{os.environ['PATH']}",
        },
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr
