# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two runs at once, and programs that come to no end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.carveout.memory.plugins.module_utils._lock import exclusive
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

_HOLDER = """
import sys
from ansible_collections.carveout.memory.plugins.module_utils._lock import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
    open(sys.argv[1] + "/done", "w").close()
"""


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        second = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert not (tmp_path / "done").exists()
        first.communicate()
        with second:
            assert second.stdout and second.stdout.readline() == "held\n"
            assert (tmp_path / "done").exists()
            second.communicate()
    assert os.listdir(tmp_path) == ["done"]


def test_one_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        first.kill()
    with exclusive(str(tmp_path)):
        assert os.listdir(tmp_path) == []


def test_there_is_nothing_to_hold(tmp_path: Path) -> None:
    with exclusive(str(tmp_path / "none")):
        pass


def test_a_program_without_end_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/pid; echo half; wait"
    done = RealSystem(longest=1.5).run(["sh", "-c", script])
    assert done == (124, "half\n", "sh: no end within 1.5 s; it was stopped")
    child = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{child}/stat").exists():
        state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.01)
