# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What users read: ansible-doc shows every module and role in full, and the README shows what is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def ansible_doc(*arguments: str) -> Any:
    program = Path(sys.executable).with_name("ansible-doc")
    done = subprocess.run(
        [str(program), "--json", *arguments],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_every_module_is_documented() -> None:
    found = ansible_doc(*(f"carveout.memory.{name}" for name in MODULES))
    assert {"host_info", "memory_plan", "kernel_cmdline", "dax_devices"} <= set(MODULES)
    for name in MODULES:
        page = found[f"carveout.memory.{name}"]
        assert page["doc"]["short_description"] and page["doc"]["description"]
        assert {"check_mode", "diff_mode", "idempotent"} <= set(page["doc"]["attributes"]), name
        assert all(option["description"] for option in page["doc"].get("options", {}).values())
        assert yaml.safe_load(page["examples"]), name
        assert page["return"], name


def test_every_role_is_documented() -> None:
    found = ansible_doc("--type", "role", *(f"carveout.memory.{name}" for name in ROLES))
    for name in ROLES:
        points = found[f"carveout.memory.{name}"]["entry_points"]
        assert points["main"]["short_description"], name


def test_the_readme_shows_the_plan_of_the_lab() -> None:
    plan = (ROOT / "plans" / "lab.yml").read_text(encoding="utf-8").rstrip()
    assert f"```yaml\n{plan}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")


GUIDES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("name", GUIDES)
def test_links_lead_somewhere(name: str) -> None:
    guide = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)\)", guide.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (guide.parent / link).exists()] == []


@pytest.mark.parametrize("name", GUIDES)
def test_what_the_guides_name_exists(name: str) -> None:
    targets = set((ROOT / "Makefile").read_text(encoding="utf-8").split())
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["make"]:
            assert f"{words[1]}:" in targets, line
        for word in words:
            if word.startswith(("playbooks/", "tests/unit/")):
                assert (ROOT / word).exists(), line
