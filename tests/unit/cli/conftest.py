# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command in a folder with the inputs that every call finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main
from ansible_collections.carveout.memory.tests.fuzz.samples import DMESG, PLAN

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """``run("plan", ...)`` in a folder with plan.yml and host.json: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARVEOUT_TRACEBACK", raising=False)
    (tmp_path / "dmesg.txt").write_text(DMESG)
    (tmp_path / "plan.yml").write_text(yaml.safe_dump(PLAN))

    def call(*argv: str) -> tuple[int, str, str]:
        try:
            status = main(argv)
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return status, captured.out, captured.err

    status, out, _ = call("host", "--dmesg", "dmesg.txt")
    assert status == 0
    (tmp_path / "host.json").write_text(out)
    return call
