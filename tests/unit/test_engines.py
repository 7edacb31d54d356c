# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs the playbooks beside ansible-playbook: ansible-runner on faked hosts, execution environments as recipes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.carveout.memory.bench import faked

ansible_runner = pytest.importorskip("ansible_runner")
BIN = Path(sys.executable).parent


def run(folder: Path) -> Any:
    """The main job by ansible-runner on two faked hosts; its folder for one run is below ``folder``."""
    environment = faked.put_before_ssh(folder, 2)
    environment["PATH"] = f"{folder / 'bin'}:{BIN}:{environment['PATH']}"
    (folder / "private/project").mkdir(parents=True, exist_ok=True)
    return ansible_runner.run(
        private_data_dir=str(folder / "private"), inventory=str(folder / "hosts.json"), quiet=True,
        playbook="carveout.memory.site", envvars=environment,
    )  # fmt: skip


def test_ansible_runner_runs_the_main_job_and_knows_what_came_of_it(tmp_path: Path) -> None:
    (host, other) = faked.make_fleet(tmp_path, 2)
    why = faked.can_enter(host)
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    done = run(tmp_path)
    assert (done.status, done.rc) == ("successful", 0), done.stdout.read()
    assert (done.stats["ok"], done.stats["changed"], done.stats["failures"]) == (
        {"h0000": 1, "h0001": 1}, {}, {}
    )  # fmt: skip
    looked = [
        event["event_data"]["res"]
        for event in done.events
        if event["event"] == "runner_on_ok"
        and event["event_data"]["task_action"] == "carveout.memory.settled"
    ]
    assert [result["settled"] for result in looked] == [True, True]

    # one host's kernel was booted otherwise: the run fails for that host alone, and the event says why
    iomem = other / "proc/iomem"
    iomem.write_text(iomem.read_text() + "440000000-47fffffff : System RAM\n")
    done = run(tmp_path)
    assert (done.status, done.rc) == ("failed", 2)
    assert list(done.stats["failures"]) == ["h0001"]
    failed = [
        event["event_data"]["res"]["msg"] for event in done.events if event["event"] == "runner_on_failed"
    ]
    assert any("h0001 is not as its layout" in message for message in failed)


def test_what_an_execution_environment_needs_is_what_the_project_needs(checkout: Path) -> None:
    told = subprocess.run(
        [BIN / "ansible-builder", "introspect", checkout / "collections"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = yaml.safe_load(told)
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["dependencies"]
    listed = (checkout / "meta/requirements.txt").read_text().splitlines()[1:]
    assert sorted(listed) == sorted(line for line in project if not line.startswith("ansible-core"))
    assert {line.split()[0] for line in found["python"]} <= set(listed)
    systems = [line.split()[0] for line in (checkout / "meta/bindep.txt").read_text().splitlines()[1:]]
    assert [line.split()[0] for line in found["system"]] == systems == ["openssh-client", "openssh-clients"]
    packages = (checkout / "tools/system-packages.txt").read_text()
    assert "\nopenssh-client " in packages


def test_the_execution_environment_is_a_recipe_that_ansible_builder_takes(
    checkout: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load((checkout / "execution-environment.yml").read_text())
    (wheel,) = recipe["additional_build_files"]
    version = yaml.safe_load((checkout / "galaxy.yml").read_text())["version"]
    assert wheel["src"] == f"dist/carveout-{version}-py3-none-any.whl"
    core = next(
        line
        for line in tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["dependencies"]
        if line.startswith("ansible-core")
    )
    assert sorted(recipe["dependencies"]["ansible_core"]["package_pip"].split(",")) == sorted(core.split(","))

    shutil.copy(checkout / "execution-environment.yml", tmp_path)
    shutil.copytree(checkout / "meta", tmp_path / "meta")
    (tmp_path / "dist").mkdir()
    (tmp_path / wheel["src"]).write_bytes(b"")
    subprocess.run([BIN / "ansible-builder", "create"], cwd=tmp_path, check=True, capture_output=True)
    dockerfile = (tmp_path / "context/Dockerfile").read_text()
    assert "COPY _build/wheels /tmp/wheels" in dockerfile
    assert (tmp_path / "context/_build/wheels" / Path(wheel["src"]).name).exists()
    assert "openssh-clients [platform:rpm]" in (tmp_path / "context/_build/bindep.txt").read_text()
