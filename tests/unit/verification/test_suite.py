# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The suite as it is run, a pytest of its own, against a host that the programs of a directory play."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.run import SuiteError, run_suite

SUITE = "ansible_collections.carveout.memory.plugins.plugin_utils.verification"
LOCAL = {"ansible_connection": "local"}

Play = Callable[[dict[str, Any]], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Lets this machine show a snapshot, and the raw texts that go with it, to whoever asks as the suite does."""
    programs = tmp_path / "bin"
    for name, text in {
        # a python3 other than the one that runs the suite
        "python3": f'exec cat "{tmp_path}/snapshot"',
        "tail": f'exec cat "{tmp_path}/texts"',
        "readlink": f'exec cat "{tmp_path}/links/${{3##*/}}"',
        "stat": f'exec cat "{tmp_path}/files/${{5##*/}}"',
        "suite-python": f'exec "{sys.executable}" "$@"',
    }.items():
        programs.mkdir(exist_ok=True)
        (programs / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setattr(sys, "executable", str(programs / "suite-python"))

    def show(carved: dict[str, Any]) -> None:
        state = carved["state"]
        (tmp_path / "snapshot").write_text(json.dumps(carved), encoding="utf-8")
        iomem = "".join(f"{'  ' * depth}{s:x}-{e - 1:x} : {name}\n" for s, e, name, depth in state["iomem"])
        total = state["meminfo"]["MemTotal"] >> 10
        texts = f"==> /proc/cmdline <==\n{carved['cmdline']}\n\n==> /proc/iomem <==\n{iomem}\n"
        (tmp_path / "texts").write_text(
            f"{texts}==> /proc/meminfo <==\nMemTotal: {total} kB\n", encoding="utf-8"
        )
        for folder in ("links", "files"):
            (tmp_path / folder).mkdir(exist_ok=True)
        devices = {d["name"]: d for region in state["dax"]["regions"] for d in region["devices"]}
        for name, target in state["links"].items():
            device = devices[target.removeprefix("/dev/")]
            (tmp_path / "links" / name).write_text(target, encoding="utf-8")
            facts = ("character special file", device["mode"].lstrip("0"), device["owner"], device["group"])
            (tmp_path / "files" / name).write_text("|".join(facts), encoding="utf-8")

    return show


def test_a_carved_host_passes_and_the_report_is_complete(
    layout: Layout, carved: dict[str, Any], play: Play, tmp_path: Path
) -> None:
    play(carved)
    junit = tmp_path / "reports" / "h1.xml"
    result = run_suite({"h1": LOCAL}, {"h1": layout.to_json()}, junit=str(junit))
    assert (result.passed, result.failures) == (True, ()), result.output
    assert result.tests == 12
    assert result.hosts["h1"]["id"] == layout.id
    assert len(result.hosts["h1"]["expectations"]) > 50
    assert all(expectation["met"] for expectation in result.hosts["h1"]["expectations"])
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("carveout", "16", "0")
    assert "test_expectations[ansible://h1-devices]" in {c.get("name") for c in suite.iter("testcase")}


def test_what_is_broken_is_said_by_the_expectations_and_by_the_raw_reads(
    layout: Layout, carved: dict[str, Any], play: Play, tmp_path: Path
) -> None:
    carved["state"]["dax"]["regions"][0]["devices"][1]["mode"] = "0666"
    carved["cmdline"] = carved["cmdline"].replace(" dax_hmem.region_idle=1", "")
    play(carved)
    junit = tmp_path / "out.xml"
    result = run_suite({"h1": LOCAL}, {"h1": layout.to_json()}, junit=str(junit))
    assert not result.passed
    assert [
        failure.split(", not")[0] for failure in result.failures if "raw /proc/cmdline" not in failure
    ] == [
        "pools.guests.mechanism: the argument dax_hmem.region_idle=1 is missing on the booted command line",
        "pools.guests.devices[0]: the device vm-a has mode 0666, the plan says 0660",
        "pools.guests.devices[0]: raw stat: /dev/carveout/vm-a has the mode 0666, the plan says 0660",
    ]
    assert any(
        "raw /proc/cmdline does not hold the plan's arguments" in failure for failure in result.failures
    )
    assert 'failures="4"' in junit.read_text(encoding="utf-8")


def test_without_given_layouts_the_committed_one_counts(
    layout: Layout, carved: dict[str, Any], play: Play
) -> None:
    play(carved)
    result = run_suite({"h1": LOCAL}, None)
    assert not result.passed
    assert result.failures == ("h1: no layout is committed on the host, there is nothing to hold it to",)
    carved["committed"] = layout.id
    play(carved)
    assert run_suite({"h1": LOCAL}, None, committed=True).passed
    carved["layouts"] = {}
    play(carved)
    (failure,) = run_suite({"h1": LOCAL}, None).failures
    assert failure == f"h1: the layout {layout.id} is committed, but it is not stored on the host"


def test_a_host_that_does_not_answer_as_it_should(layout: Layout, carved: dict[str, Any], play: Play) -> None:
    play(carved)
    (Path(sys.executable).parent / "python3").write_text("#!/bin/sh\necho no such program >&2\nexit 2\n")
    result = run_suite({"h1": LOCAL}, {"h1": layout.to_json()})
    assert not result.passed
    (failure,) = result.failures
    assert "ended with status 2: no such program" in failure
    assert "site playbook" in failure
    for snapshot, said in (("{", "is not JSON"), ("{}", "its snapshot cannot be used: schema: is missing")):
        (Path(sys.executable).parent / "python3").write_text(f"#!/bin/sh\necho '{snapshot}'\n")
        (failure,) = run_suite({"h1": LOCAL}, {"h1": layout.to_json()}).failures
        assert said in failure
    (Path(sys.executable).parent / "python3").write_text(
        "#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' '['\n"
    )
    (failure,) = run_suite({"h1": LOCAL}, {"h1": layout.to_json()}).failures
    assert "its snapshot is not JSON" in failure


def test_raw_texts_that_no_kernel_wrote(
    layout: Layout, carved: dict[str, Any], play: Play, tmp_path: Path
) -> None:
    play(carved)
    (tmp_path / "texts").write_text("==> /proc/iomem <==\nzz-yy : System RAM\n", encoding="utf-8")
    (failure,) = run_suite({"h1": LOCAL}, {"h1": layout.to_json()}).failures
    assert failure.startswith("h1: its raw texts are none of a kernel's: ")


def test_options_and_plugins_of_the_surroundings_do_not_count(
    layout: Layout, carved: dict[str, Any], play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    monkeypatch.setenv("PYTEST_PLUGINS", "there_is_no_such_plugin")
    play(carved)
    assert run_suite({"h1": LOCAL}, {"h1": layout.to_json()}).passed


def test_no_host_is_no_success(layout: Layout) -> None:
    with pytest.raises(SuiteError, match="no host to verify"):
        run_suite({}, None)
    with pytest.raises(SuiteError, match="layouts of hosts that are not tested: h2"):
        run_suite({"h1": LOCAL}, {"h1": layout.to_json(), "h2": layout.to_json()})


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": {"h1": LOCAL}}}), encoding="utf-8")
    return path


def pytest_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an operator calls it, in a folder without configuration."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", SUITE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )


def test_an_operators_own_run_needs_hosts(tmp_path: Path, inventory: Path) -> None:
    unmatched = pytest_run(tmp_path, "--hosts=ansible://web*", f"--ansible-inventory={inventory}")
    assert unmatched.returncode == 4
    assert "carveout: no host to verify" in unmatched.stderr
    inventory.write_text('{"all": {"hosts": {}}}', encoding="utf-8")
    empty = pytest_run(tmp_path, "--hosts=ansible://all", f"--ansible-inventory={inventory}")
    assert empty.returncode not in (0, 5)
    assert "No inventory was parsed" in empty.stdout


def test_an_operators_own_run(
    layout: Layout, carved: dict[str, Any], play: Play, inventory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "layouts"
    folder.mkdir()
    (folder / "h1.json").write_text(json.dumps(layout.to_json()), encoding="utf-8")
    play(carved)
    options = ("--hosts=ansible://all", f"--ansible-inventory={inventory}", f"--carveout-layouts={folder}")
    passed = pytest_run(tmp_path, *options)
    assert passed.returncode == 0, passed.stdout
    assert "12 passed" in passed.stdout
    (folder / "h1.json").rename(folder / "h2.json")
    refused = pytest_run(tmp_path, *options)
    assert refused.returncode == 4
    assert "layouts of hosts that are not tested: h2" in refused.stderr
