# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pipelines of examples/ci: their own commands, run as their runners do, in a copy of the example fleet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
INSTALL = 'pip install "$CARVEOUT"'
#: What either of them gives where nothing is wrong.
REPORTS = {"compute.txt", "compute.json", "edge.txt", "edge.json", "layouts"}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / "examples" / "ci" / name).read_text(encoding="utf-8"))


def gitlab() -> tuple[dict[str, str], list[str]]:
    """Variables and scripts; a runner gives all lines of a job to one bash."""
    pipeline = read("gitlab-ci.yml")
    job = pipeline["plan"]
    assert job["before_script"] == [INSTALL]
    assert job["artifacts"]["paths"] == ["report/"]
    return pipeline["variables"], ["\n".join(job["script"])]


def github() -> tuple[dict[str, str], list[str]]:
    """Each step has a bash of its own."""
    pipeline = read("github-actions.yml")
    job = pipeline["jobs"]["plan"]
    assert job["defaults"]["run"]["shell"] == "bash"
    first, *scripts = [step["run"] for step in job["steps"] if "run" in step]
    assert first == INSTALL
    return {name: value for name, value in pipeline["env"].items() if name != "CARVEOUT"}, scripts


def run(pipeline: tuple[dict[str, str], list[str]], folder: Path) -> tuple[int, str]:
    """Exit code of the first script that fails, and what was printed."""
    variables, scripts = pipeline
    environment = {
        **os.environ,
        **variables,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    out = ""
    for script in scripts:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        out += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, out
    return 0, out


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "inventories" / "example", tmp_path / "inventories" / "example")
    return tmp_path


@pytest.mark.parametrize("pipeline", [gitlab, github])
def test_a_merge_request_sees_what_changes(pipeline: Any, fleet: Path) -> None:
    status, out = run(pipeline(), fleet)
    assert status == 0, out
    assert {path.name for path in (fleet / "report").iterdir()} == REPORTS
    assert "2 hosts change with a reboot: compute-01, compute-02" in out
    assert "2 hosts change while they run: edge-01, edge-02" in out
    totals = json.loads((fleet / "report" / "compute.json").read_text())["fleet"]
    assert (totals["reboot"], totals["kinds"]["first"], totals["after"]["guests"]) == (3, 1, 132)
    layouts = fleet / "report" / "layouts" / "compute"
    assert json.loads((layouts / "compute-03.json").read_text())["devices"][0]["name"] == "vm-a"


def test_the_summary_of_a_pull_request(fleet: Path) -> None:
    status, out = run(github(), fleet)
    assert status == 0, out
    summary = (fleet / "summary.md").read_text()
    text = (fleet / "report" / "edge.txt").read_text()
    assert f"### edge\n```\n{text}```\n" in summary


@pytest.mark.parametrize("pipeline", [gitlab, github])
def test_a_plan_that_a_host_cannot_do_fails_the_pipeline(pipeline: Any, fleet: Path) -> None:
    plan = fleet / "inventories" / "example" / "plans" / "edge.yml"
    plan.write_text(plan.read_text().replace("24GiB", "48GiB"))
    status, out = run(pipeline(), fleet)
    assert status == 3
    assert "edge-01.json: " in out


def test_the_inventory_of_the_example_has_the_hosts_of_the_snapshots() -> None:
    folder = ROOT / "inventories" / "example"
    groups = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    for name, group in groups.items():
        snapshots = {path.stem for path in (folder / "snapshots" / name).iterdir()}
        assert snapshots == set(group["hosts"])
        assert (folder / "plans" / f"{name}.yml").exists()
