# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A machine does not outlive the run that started it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

_START = """
import sys
from pathlib import Path
from ansible_collections.carveout.memory.tests.kernel.boot import _run
_run([sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]), 60.0)
"""
_MACHINE = "import os, pathlib, sys, time; pathlib.Path({pid!r}).write_text(str(os.getpid())); time.sleep(60)"
_LIMIT = 30.0


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (util-linux) here")
def test_a_killed_run_leaves_no_machine(tmp_path: Path) -> None:
    pid, console = tmp_path / "pid", tmp_path / "console"
    console.touch()
    runner = subprocess.Popen([sys.executable, "-c", _START, _MACHINE.format(pid=str(pid)), str(console)])
    until = time.monotonic() + _LIMIT
    while not (pid.exists() and pid.read_text(encoding="ascii")) and time.monotonic() < until:
        time.sleep(0.05)
    machine = int(pid.read_text(encoding="ascii"))
    assert _running(machine)
    runner.kill()
    runner.wait()
    while _running(machine) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _running(machine)
