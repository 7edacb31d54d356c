# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main job from nothing: a virtual host, its plan, the reboot, the devices, the proof.

``make demo`` runs it. What the operator would type is printed before it is run.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from tools.demo_report import report

ROOT = Path(__file__).resolve().parent.parent
NAME = "lab1"
ARTIFACTS = ROOT / ".lab" / NAME / "artifacts"
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:[\w.]+ : )?(.*?)\]")
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


class Demo:
    """Runs steps and tells what happens and how long it took."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        elapsed = time.monotonic() - self._start
        print(f"[{int(elapsed) // 60:2d}:{int(elapsed) % 60:02d}] {text}", flush=True)

    def lab(self, command: str) -> bool:
        """One lab command; its own progress goes to the terminal."""
        done = subprocess.run([sys.executable, "-m", "lab", "--name", NAME, command], cwd=ROOT, check=False)
        return done.returncode == 0

    def playbook(self) -> dict[str, int] | None:
        """Run site.yml, a line a task; the counts of the recap, None where it failed."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        command = [
            "ansible-playbook", "-i", "inventories/lab", "site.yml", "--limit", NAME,
            "-e", f"carveout_artifacts={ARTIFACTS}", "-e", f"carveout_junit={ARTIFACTS}",
        ]  # fmt: skip
        log = ARTIFACTS / "playbook.log"
        counts: dict[str, int] = {}
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                if task := _TASK.match(line):
                    self.say(f"  {task.group(1)}")
                elif recap := _RECAP.match(line):
                    counts = {
                        "changed": int(recap.group(3)),
                        "failed": int(recap.group(4)) + int(recap.group(5)),
                    }
        if process.wait() != 0 or not counts or counts["failed"]:
            print(log.read_text(encoding="utf-8"), file=sys.stderr)
            return None
        return counts


def main() -> int:
    """0 where the host is carved and verified."""
    demo = Demo()
    demo.say("A virtual host with two NUMA nodes: python3 -m lab up")
    if not demo.lab("up"):
        return 1
    demo.say("The main job: ansible-playbook -i inventories/lab site.yml")
    counts = demo.playbook()
    if counts is None:
        demo.say("It failed; the output above says where. The host: python3 -m lab ssh")
        return 1
    word = (
        "nothing had to change" if counts["changed"] == 0 else f"{counts['changed']} tasks changed the host"
    )
    demo.say(f"Done: {word}.")
    found = {
        kind: json.loads((ARTIFACTS / f"{NAME}.{kind}.json").read_text(encoding="utf-8"))
        for kind in ("before", "layout", "verified")
    }
    print(report(found["before"], found["layout"], found["verified"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
