# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thousands of different hosts through ``carveout plan``: speed, growth, and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .hosts import PLAN, host

_MAIN = "import sys; from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main; sys.exit(main())"
_SAMPLE_SECONDS = 0.05


@dataclass
class Run:
    hosts: int
    jobs: int
    wall: float
    cpu: float
    parent_kib: int
    worker_kib: int

    @property
    def cpu_each(self) -> float:
        return self.cpu / self.hosts

    def line(self) -> str:
        return (
            f"{self.hosts:7}{self.jobs:6}{self.wall:9.2f}{self.hosts / self.wall:9.0f}{self.cpu_each * 1000:13.2f}"
            f"{self.parent_kib / 1024:12.1f}{self.worker_kib / 1024:12.1f}"
        )


def report(sizes: tuple[int, ...] = (1000, 5000, 10_000)) -> None:
    """Print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="carveout-bench-") as name:
        folder = Path(name)
        (folder / "plan.yml").write_text(json.dumps(PLAN), encoding="utf-8")
        made = 0
        runs = []
        for size in sizes:
            (folder / "hosts").mkdir(exist_ok=True)
            for number in range(made, size):
                (folder / "hosts" / f"host-{number:05}.json").write_text(
                    json.dumps(host(number)), encoding="utf-8"
                )
            made = size
            if size == sizes[0]:
                runs.append(_planned(folder, size, 1))
            runs.append(_planned(folder, size, 2))
        again = _planned(folder, sizes[-1], 2, keep=True)
    print(
        f"a fleet: hosts of 1 to 8 nodes and 20 to 200 map entries, no two alike; {os.cpu_count()} cores, "
        f"load average {load:.1f} at the start"
    )
    print(
        f"{'hosts':>7}{'jobs':>6}{'wall s':>9}{'hosts/s':>9}{'CPU ms/host':>13}{'parent MiB':>12}{'worker MiB':>12}"
    )
    for run in [*runs, again]:
        print(run.line() + "  (run again: no file changes)" * (run is again))
    first, last = runs[1], runs[-1]
    print(f"1 job / 2 jobs, wall: {runs[0].wall / runs[1].wall:.2f}")
    print(
        f"{last.hosts} / {first.hosts} hosts: CPU per host {last.cpu_each / first.cpu_each:.2f}, memory of the parent "
        f"{last.parent_kib / first.parent_kib:.2f}, of a worker {last.worker_kib / first.worker_kib:.2f}",
        flush=True,
    )


def _planned(folder: Path, size: int, jobs: int, keep: bool = False) -> Run:
    out = folder / "out"
    if out.exists() and not keep:
        for path in out.iterdir():
            path.unlink()
    argv = [
        sys.executable,
        "-c",
        _MAIN,
        "plan",
        "plan.yml",
        "--host",
        "hosts",
        "--out",
        "out",
        "--jobs",
        str(jobs),
    ]
    before = os.times()
    started = time.perf_counter()
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True)
    parent = worker = 0
    while process.poll() is None:
        parent = max(parent, peak_kib(process.pid))
        worker = max([worker, *(peak_kib(child) for child in _children(process.pid))])
        time.sleep(_SAMPLE_SECONDS)
    wall = time.perf_counter() - started
    after = os.times()
    answer = process.stdout.read() if process.stdout else ""
    if process.returncode or not answer.startswith(f"{size} of {size} hosts planned"):
        raise SystemExit(f"planning the fleet ended with {process.returncode}: {answer}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Run(size, jobs, wall, cpu, parent, worker if jobs > 1 else parent)


def peak_kib(pid: int) -> int:
    """VmHWM: what was resident at most."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0  # it has just ended
    return int(found.group(1)) if found else 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
