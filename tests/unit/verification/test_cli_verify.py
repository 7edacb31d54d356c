# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout verify``: texts, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main


@pytest.fixture
def files(layout: Layout, carved: dict[str, Any], tmp_path: Path) -> list[str]:
    (tmp_path / "layout.json").write_text(json.dumps(layout.to_json()), encoding="utf-8")
    (tmp_path / "host.json").write_text(json.dumps(carved), encoding="utf-8")
    return ["--layout", str(tmp_path / "layout.json"), "--host", str(tmp_path / "host.json")]


def test_met(layout: Layout, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"met     pools: the booted command line names the layout {layout.id}"
    assert lines[-1] == f"layout {layout.id}: {len(lines) - 1} expectations, all met"


def test_not_met_is_5(
    layout: Layout, carved: dict[str, Any], files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    carved["state"]["links"].pop("vm-d")
    Path(files[-1]).write_text(json.dumps(carved), encoding="utf-8")
    assert main(["verify", *files]) == 5
    out = capsys.readouterr().out
    assert "NOT MET pools.guests.devices[3]: the device vm-d has no link /dev/carveout/vm-d" in out
    assert out.endswith("expectations, 1 not met\n")
    assert main(["verify", *files, "--format", "json"]) == 5
    answer = json.loads(capsys.readouterr().out)
    assert (answer["id"], answer["met"]) == (layout.id, False)
    assert [e for e in answer["expectations"] if not e["met"]] == [
        {
            "name": "device vm-d link",
            "path": "pools.guests.devices[3]",
            "expected": "/dev/dax1.2",
            "measured": "none",
            "met": False,
            "message": "pools.guests.devices[3]: the device vm-d has no link /dev/carveout/vm-d, it should lead to "
            "/dev/dax1.2",
        }
    ]


def test_the_commit_is_an_expectation_on_request(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *files, "--committed"]) == 5
    assert "NOT MET pools: no layout is committed" in capsys.readouterr().out


def test_invalid_inputs_are_4(
    carved: dict[str, Any], files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    carved["state"] = {}
    Path(files[-1]).write_text(json.dumps(carved), encoding="utf-8")
    assert main(["verify", *files, "--format", "json"]) == 4
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert (error["path"], error["code"]) == ("state.iomem", "state-missing")
    Path(files[1]).write_text("{}", encoding="utf-8")
    assert main(["verify", *files]) == 4
    assert "not a layout" in capsys.readouterr().err
