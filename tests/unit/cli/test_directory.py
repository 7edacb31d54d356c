# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan --host DIRECTORY --out DIRECTORY``: a fleet in one call."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._units import GIB
from ansible_collections.carveout.memory.plugins.plugin_utils import cli_directory

Run = Callable[..., tuple[int, str, str]]
CALL = ("plan", "plan.yml", "--host", "hosts", "--out", "out")


@pytest.fixture
def hosts(run: Run, tmp_path: Path) -> Path:
    """A directory of the host under three names, and of what is no snapshot of a host."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    for name in ("a.json", "b.json", "c.json"):
        (folder / name).write_bytes((tmp_path / "host.json").read_bytes())
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.json").write_text("x")
    os.mkfifo(folder / "pipe.json")
    return folder


def results(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_each_host_gets_its_layout(run: Run, hosts: Path, tmp_path: Path) -> None:
    alone = json.loads(run("plan", "plan.yml", "--host", "host.json", "--format", "json")[1])
    status, out, err = run(*CALL)
    assert (status, out, err) == (
        0,
        "3 of 3 hosts planned (layouts: 3 new); see out/results.jsonl\n",
        "",
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["a.json", "b.json", "c.json", "results.jsonl"]
    assert json.loads((tmp_path / "out" / "b.json").read_text()) == alone
    fine = {"status": 0, "id": alone["id"], "errors": []}
    assert results(tmp_path) == [{"host": name, **fine} for name in ("a.json", "b.json", "c.json")]
    assert run(*CALL)[1] == "3 of 3 hosts planned (layouts: 3 same); see out/results.jsonl\n"


def test_a_host_that_cannot_loses_its_old_layout(run: Run, hosts: Path, tmp_path: Path) -> None:
    assert run(*CALL)[0] == 0
    small = json.loads((hosts / "a.json").read_text())
    small["firmware"]["map"] = [[0, 3 * GIB, 1]]
    (hosts / "a.json").write_text(json.dumps(small))
    (hosts / "c.json").write_text("{}")
    status, out, err = run(*CALL)
    assert (status, out) == (
        4,
        "1 of 3 hosts planned (layouts: 1 same); 1 cannot do it; 1 invalid; see out/results.jsonl\n",
    )
    assert list(dict.fromkeys(line.partition(" ")[0] for line in err.splitlines())) == ["a.json:", "c.json:"]
    assert sorted(os.listdir(tmp_path / "out")) == ["b.json", "results.jsonl"]
    status, out, err = run(*CALL, "--format", "json")
    assert (status, err) == (4, "")
    answer = json.loads(out)
    assert answer["counts"] == {
        "new": 0,
        "changed": 0,
        "same": 1,
        "not_possible": 1,
        "invalid": 1,
        "failed": 0,
    }
    assert answer["hosts"] == results(tmp_path)
    assert answer["errors"] == [error for host in answer["hosts"] for error in host["errors"]]
    assert [host["status"] for host in answer["hosts"]] == [3, 0, 4]


def test_earlier_layouts_are_kept(run: Run, hosts: Path, tmp_path: Path) -> None:
    """By name: for other kernels, which alone would give layouts with other IDs."""
    assert run(*CALL)[0] == 0
    again = ("plan", "plan.yml", "--host", "hosts", "--out", "next", "--kernel", "6.12.200")
    assert run(*again, "--previous", "out")[0] == 0
    assert (tmp_path / "next" / "a.json").read_bytes() == (tmp_path / "out" / "a.json").read_bytes()
    assert "3 changed" in run(*again, "--previous", "out", "--replan")[1]


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("--host", "hosts"), 2, "--host is a directory: --out DIRECTORY is needed"),
        (("--host", "host.json", "--out", "out"), 2, "--out is for a directory of hosts"),
        (("--host", "hosts", "--out", "out", "--previous", "host.json"), 2, "--previous must be one too"),
        (("--host", "hosts", "--out", "out", "--jobs", "0"), 2, "'0' is not a number from 1 to 1024"),
        (("--host", "hosts", "--out", "hosts"), 4, "--out and --host are one directory"),
        (("--host", "hosts", "--out", "plan.yml"), 4, "plan.yml: not a directory"),
        (("--host", "hosts", "--out", "plan.yml/out"), 4, "plan.yml/out: Not a directory"),
        (("--host", "empty", "--out", "out"), 4, "empty: no snapshot in it"),
    ],
)
def test_what_is_refused(
    run: Run, hosts: Path, tmp_path: Path, argv: tuple[str, ...], status: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    answer, _, err = run("plan", "plan.yml", *argv)
    assert answer == status
    assert words in err
    assert not (tmp_path / "out").exists()


def test_a_second_run_into_the_same_directory(run: Run, hosts: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        status, _, err = run(*CALL)
    finally:
        os.close(descriptor)
    assert status == 4
    assert "another carveout plans into it" in err
    assert os.listdir(tmp_path / "out") == []


def test_a_layout_that_cannot_be_written(run: Run, hosts: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "b.json").mkdir(parents=True)
    status, out, err = run(*CALL)
    assert status == 4
    assert err == "b.json: out/b.json: Is a directory\n"
    assert out.startswith("2 of 3 hosts planned")


def test_many_problems_are_shown_up_to_a_number(
    run: Run, hosts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_directory, "_SHOWN", 1)
    for name in ("a.json", "b.json", "c.json"):
        (hosts / name).write_text("{}")
    status, _, err = run(*CALL)
    assert status == 4
    assert [line[:6] for line in err.splitlines()] == ["a.json", "... th"]
    assert len(results(tmp_path)) == 3


def test_several_processes_give_the_same(run: Run, hosts: Path, tmp_path: Path) -> None:
    for number in range(40):
        (hosts / f"{number:02}.json").write_bytes((hosts / "a.json").read_bytes())
    (hosts / "17.json").write_text("{}")
    assert run(*CALL, "--jobs", "1")[0] == 4
    one = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert run("plan", "plan.yml", "--host", "hosts", "--out", "many", "--jobs", "3")[0] == 4
    many = {path.name: path.read_bytes() for path in (tmp_path / "many").iterdir()}
    assert one == many
    assert len(one) == 43
