# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m bench.remote``: the main job on a fleet with nothing to do, beside the usual way to do the same.

Hosts are directories (:mod:`.faked`) behind a real sshd on loopback, so both sides pay the same for a connection and
for a call, and the processors of all hosts and of the controller are this machine's. Each way has a copy of the same
hosts, carved in its own way already, and both run in turn: what counts are the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import faked
from .fleet import peak_kib
from .sshd import SshdError, sshd

_FORKS = 20
_SAMPLE_SECONDS = 0.2
WAYS = {"Carveout": "carveout.memory.site", "the usual way": str(faked.CHECKOUT / "bench/plain.yml")}


@dataclass
class Run:
    way: str
    hosts: int
    wall: float
    peak_kib: int
    calls: int

    @property
    def each(self) -> float:
        return self.wall / self.hosts

    def line(self) -> str:
        return (
            f"{self.way:15}{self.hosts:6}{self.wall:9.1f}{self.each * 1000:9.0f}{self.peak_kib / 1024:11.1f}"
            f"{self.calls / self.hosts:12.1f}"
        )


def main() -> int:
    """Print the table; 1 where it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--hosts", type=int, nargs="+", default=[50, 200], help="sizes of the fleet, in order"
    )
    sizes = sorted(parser.parse_args().hosts)
    print(
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start, {_FORKS} forks",
        flush=True,
    )
    print(f"{'':15}{'hosts':>6}{'wall s':>9}{'ms/host':>9}{'peak MiB':>11}{'calls/host':>12}", flush=True)
    runs = []
    # not in /tmp of a user's own: sshd and ssh want short paths
    with tempfile.TemporaryDirectory(prefix="carveout-fleet-") as name:
        folder = Path(name)
        try:
            _make(folder, sizes[-1])
            with sshd(folder) as variables:
                for size in sizes:
                    for way in WAYS:
                        runs.append(_timed(folder, way, size, variables))
                        print(runs[-1].line(), flush=True)
        except SshdError as error:
            print(error, file=sys.stderr)
            return 1
    _ratios(runs, sizes)
    return 0


def _ratios(runs: list[Run], sizes: list[int]) -> None:
    found = {(run.way, run.hosts): run for run in runs}
    ours, usual = WAYS
    for size in sizes:
        ratio = found[usual, size].each / found[ours, size].each
        print(f"{size} hosts, the usual way / Carveout, time per host: {ratio:.2f}")
    for way in WAYS:
        first, last = found[way, sizes[0]], found[way, sizes[-1]]
        print(
            f"{last.hosts} / {first.hosts} hosts, {way}: time per host {last.each / first.each:.2f}, "
            f"memory {last.peak_kib / first.peak_kib:.2f}"
        )


def _make(folder: Path, count: int) -> None:
    """Two copies of each host: h0000 is Carveout's, p0000 was carved by a line in its configuration."""
    hosts = faked.make_fleet(folder, count)
    why = faked.can_enter(hosts[0])
    if why:
        raise SshdError(f"hosts cannot be faked here: {why}")
    (folder / "plan.json").write_text(json.dumps(faked.PLAN), encoding="utf-8")
    for host in hosts:
        shutil.copytree(host, _usual(host), symlinks=True)
        grub = _usual(host) / "root/etc/default/grub"
        arguments = " ".join(_reserved(host)["arguments"])
        grub.write_text(grub.read_text().replace("console=ttyS0", f"console=ttyS0 {arguments}"))


def _usual(host: Path) -> Path:
    return host.with_name(host.name.replace("h", "p"))


def _reserved(host: Path) -> dict[str, list[str]]:
    """What the usual way has to be told of a host: its arguments, and the lines that the kernel then shows."""
    (stored,) = (host / "root/etc/carveout/layouts").glob("*.json")
    layout = json.loads(stored.read_text(encoding="utf-8"))
    lines = (host / "proc/iomem").read_text().splitlines()
    ranges = [(r["start"], r["end"]) for r in layout["reservations"]]
    return {
        "arguments": layout["kernel_arguments"][1:],
        "ranges": [
            line
            for line in lines
            for first, last in [(int(word, 16) for word in line.split(" : ")[0].split("-"))]
            if any(first <= start and end - 1 <= last for start, end in ranges)
        ],
    }


def _timed(folder: Path, way: str, size: int, variables: dict[str, object]) -> Run:
    hosts = sorted(folder.glob("h[0-9]*"))[:size]
    described: dict[str, Any] = {host.name: {} for host in hosts}
    if way != "Carveout":
        described = {_usual(host).name: _reserved(host) for host in hosts}
    inventory = {"hosts": described, "vars": {**variables, "carveout_plan": str(folder / "plan.json")}}
    (folder / "hosts.json").write_text(json.dumps({"all": inventory}), encoding="utf-8")
    for name in described:
        (folder / name / "calls").write_text("")
    with tempfile.TemporaryDirectory(prefix="cm-") as sockets, (folder / "log").open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            ["ansible-playbook", "-i", folder / "hosts.json", f"--forks={_FORKS}", WAYS[way]],
            cwd=faked.CHECKOUT, stdout=log, stderr=log,
            env={
                **os.environ, "ANSIBLE_CONFIG": str(faked.CHECKOUT / "ansible.cfg"), "LC_ALL": "C.UTF-8",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            },
        )  # fmt: skip
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_kib(process.pid))
            time.sleep(_SAMPLE_SECONDS)
        wall = time.perf_counter() - started
    said = (folder / "log").read_text()
    if process.returncode or said.count("changed=0 ") != size:
        raise SystemExit(f"{way} on {size} hosts ended with {process.returncode}:\n{said[-3000:]}")
    calls = sum(len((folder / name / "calls").read_text().splitlines()) for name in described)
    return Run(way, size, wall, peak, calls)


if __name__ == "__main__":
    sys.exit(main())
