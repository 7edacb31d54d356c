# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``playbooks/verify.yml`` over a fleet: real Ansible and the real suite, and hosts that a program named ssh plays."""

from __future__ import annotations

import copy
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

ROOT = Path(__file__).resolve().parents[3]
#: The command is what comes last, the host one of the words before; it finds that host's programs first.
SSH = """#!/bin/sh
for command; do :; done
for word; do [ -d "{hosts}/$word" ] && name=$word; done
[ -n "$name" ] || {{ echo "ssh: connect to host gone: No route to host" >&2; exit 255; }}
PATH="{hosts}/$name:$PATH" exec sh -c "$command"
"""
PROGRAMS = {
    "python3": 'exec cat "{host}/snapshot"',
    "tail": 'exec cat "{host}/texts"',
    "readlink": 'exec cat "{host}/links/${{3##*/}}"',
    "stat": 'exec cat "{host}/files/${{5##*/}}"',
}

Show = Callable[[str, dict[str, Any]], None]
Play = Callable[..., subprocess.CompletedProcess[str]]


def program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """Adds a host that shows a snapshot, and the raw texts that go with it."""

    def make(name: str, carved: dict[str, Any]) -> None:
        host, state = tmp_path / "hosts" / name, carved["state"]
        for folder in ("links", "files", "metrics"):
            (host / folder).mkdir(parents=True)
        for file, text in PROGRAMS.items():
            program(host / file, f"#!/bin/sh\n{text.format(host=host)}\n")
        (host / "snapshot").write_text(json.dumps(carved), encoding="utf-8")
        iomem = "".join(f"{'  ' * depth}{s:x}-{e - 1:x} : {name}\n" for s, e, name, depth in state["iomem"])
        texts = f"==> /proc/cmdline <==\n{carved['cmdline']}\n\n==> /proc/iomem <==\n{iomem}\n"
        total = f"MemTotal: {state['meminfo']['MemTotal'] >> 10} kB\n"
        (host / "texts").write_text(f"{texts}==> /proc/meminfo <==\n{total}", encoding="utf-8")
        devices = {d["name"]: d for region in state["dax"]["regions"] for d in region["devices"]}
        for link, target in state["links"].items():
            device = devices[target.removeprefix("/dev/")]
            (host / "links" / link).write_text(target, encoding="utf-8")
            facts = ("character special file", device["mode"].lstrip("0"), device["owner"], device["group"])
            (host / "files" / link).write_text("|".join(facts), encoding="utf-8")

    return make


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs the playbook on hosts by name, or a script that does."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "hosts").mkdir()
    program(programs / "ssh", SSH.format(hosts=tmp_path / "hosts"))
    # a python3 other than those of the hosts
    program(programs / "suite-python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')

    def run(names: list[str], *more: str, script: str = "") -> subprocess.CompletedProcess[str]:
        common = {
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "ansible_ssh_transfer_method": "piped",
            "ansible_ssh_retries": 0,
            "carveout_metrics_of": str(tmp_path / "hosts"),
        }
        inventory = {"all": {"hosts": {name: {} for name in names}, "vars": common}}
        # YAML, too
        (tmp_path / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")
        path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        argv = ["ansible-playbook", "-i", "hosts.yml", str(ROOT / "playbooks" / "verify.yml"), *more]
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script or shlex.join(argv)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={
                **os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_PIPELINING": "1", "TMPDIR": str(tmp_path),
                "FLEET": str(tmp_path),
            },
        )  # fmt: skip

    return run


METRICS = ("-e", "carveout_metrics={{ carveout_metrics_of }}/{{ inventory_hostname }}/metrics")


def test_a_fleet_with_every_kind_of_host(
    layout: Layout, carved: dict[str, Any], show: Show, play: Play, tmp_path: Path
) -> None:
    carved["committed"] = layout.id
    show("h1", copy.deepcopy(carved))
    carved["state"]["dax"]["regions"][0]["devices"][1]["mode"] = "0666"
    show("h2", carved)
    show("h3", {**carved, "committed": None})
    done = play(["h1", "h2", "h3", "gone"], "-e", "carveout_report=report", *METRICS)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "4 hosts: 1 as committed, 1 deviating, 2 not verified" in done.stdout
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [(host["host"], host["verdict"]) for host in data["hosts"]] == [
        ("h1", "fine"),
        ("h2", "deviates"),
        ("h3", "unknown"),
        ("gone", "unknown"),
    ]
    messages = {host["host"]: " ".join(host["failures"]) for host in data["hosts"]}
    assert "the device vm-a has mode 0666, the plan says 0660" in messages["h2"]
    assert "no layout is committed on the host" in messages["h3"]
    assert messages["gone"] == "gone: it cannot be reached: ssh: connect to host gone: No route to host"
    suites = ElementTree.parse(tmp_path / "report" / "report.xml").getroot().findall("testsuite")
    assert [suite.get("errors") for suite in suites] == ["0", "0", "1", "1"]
    drift = {}
    for name in ("h1", "h2", "h3"):
        file = tmp_path / "hosts" / name / "metrics" / "carveout.prom"
        assert file.stat().st_mode & 0o777 == 0o644
        assert [path.name for path in file.parent.iterdir()] == ["carveout.prom"]
        families = {family.name: family for family in text_string_to_metric_families(file.read_text())}
        drift[name] = families["carveout_drift"].samples[0].value
    assert drift == {"h1": 0, "h2": 1, "h3": 1}
    assert list(tmp_path.glob("carveout-verify-*")) == []


def test_a_fleet_that_is_as_committed(
    layout: Layout, carved: dict[str, Any], show: Show, play: Play, tmp_path: Path
) -> None:
    carved["committed"] = layout.id
    for name in ("h1", "h2"):
        show(name, carved)
    done = play(["h1", "h2", "gone"], "--limit", "h1,h2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 hosts: 2 as committed" in done.stdout
    # neither metrics nor a report where none is asked for
    assert list(tmp_path.glob("hosts/*/metrics/*")) == []
    assert not (tmp_path / "report").exists()
    assert list(tmp_path.glob("carveout-verify-*")) == []


def test_metrics_that_cannot_be_left_fail(
    layout: Layout, carved: dict[str, Any], show: Show, play: Play
) -> None:
    carved["committed"] = layout.id
    show("h1", carved)
    done = play(["h1"], "-e", "carveout_metrics=/nowhere/at/all")
    assert done.returncode == 2
    assert "/nowhere/at/all is no directory; is it node_exporter's" in done.stdout
    assert "1 hosts: 1 as committed" in done.stdout


def test_the_scheduled_pipeline(
    layout: Layout, carved: dict[str, Any], show: Show, play: Play, tmp_path: Path
) -> None:
    """The script of the example for GitLab, as its runner runs it: one bash for all lines."""
    pipeline = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    job = pipeline["drift"]
    carved["committed"] = layout.id
    show("h1", carved)
    script = "\n".join(job["script"])
    assert play(["h1"], script=script).returncode == 0
    done = play(["h1", "gone"], script=script)
    assert done.returncode == 2
    junit = ElementTree.parse(tmp_path / job["artifacts"]["reports"]["junit"]).getroot()
    assert [suite.get("errors") for suite in junit.findall("testsuite")] == ["0", "1"]
