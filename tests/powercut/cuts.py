# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks as they were in the middle of changes, booted, and running machines whose power is cut."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import NamedTuple

from tests.safety.host import plan
from tests.tenant.host import must

from .record import SIZES, CutHost, Recorded, convert, permanent
from .replay import Result
from .writes import Disk, Recording

#: Disks that are booted, beside those just before and after GRUB's answer changes.
_MORE = 2


def boot_between(host: CutHost, recorded: Recorded, result: Result) -> None:
    """Boot the disk as it was at the edges of the changes, and have the next run lead to layout B."""
    recording = Recording(recorded.writes)
    edges = [number for number, _ in result.booted[1:]]
    between = [(a + b) // 2 for a, b in itertools.pairwise(edges)][:_MORE]
    for number in sorted({*edges, *between}):
        started = time.monotonic()
        host.folder.mkdir(parents=True, exist_ok=True)
        _disk_at(recorded.base, recording, number, host.folder / "cut.raw")
        host.with_disk(host.folder / "cut.raw")
        host.up()
        name = recorded.names.get(host.line())
        must(name is not None, f"cut after write {number} the host runs with {host.line()}")
        left = _converge(host)
        print(
            f"ok  cut after write {number} of {len(recording.writes)}: boots {name}; {left}the next run leads to B"
            f" ({time.monotonic() - started:.0f} s)",
            flush=True,
        )


def _converge(host: CutHost) -> str:
    """The next run leads to B and leaves nothing of the one before; what that one had left."""
    left = host.run("sh", "-c", "find /boot /etc -name '.carveout-*'").split()
    host.to("B")
    gone = host.run("sh", "-c", "find /boot /etc -name '.carveout-*'").strip()
    must(not gone, f"there is still {gone}")
    host.verify()
    return f"{len(left)} files were left beside, " if left else ""


def _disk_at(base: Path, recording: Recording, number: int, target: Path) -> None:
    convert(base, target, "raw")
    disk = Disk(target)
    for write in recording.writes[:number]:
        if write.size:
            disk.apply(write, recording.data(write))
        disk.flush()


class Cut(NamedTuple):
    """When the power is cut: so many seconds after a run has begun a task."""

    task: str
    seconds: float


CUTS = (
    Cut("Choose the arguments for the next boot only", 3),
    Cut("Make the devices", 4),
    Cut("Make the arguments permanent that were on trial", 5),
    Cut("Make the arguments permanent that were on trial", 12),
    Cut("Record the layout as committed", 2),
)


def cut_runs(host: CutHost) -> None:
    """Cut a machine's power while a run is at work: it boots the old state or the new one; the next run ends it."""
    host.up()
    host.to("A")
    # without what only this boot has: it was a trial
    lines = {"A": permanent(host.line())}
    wanted = "B"
    for cut in CUTS:
        started = time.monotonic()
        old = "A" if wanted == "B" else "B"
        run = host.run_to(plan(SIZES[wanted]))
        found = run.wait_for(
            f"TASK [carveout.memory.boot : {cut.task}", f"TASK [carveout.memory.dax : {cut.task}"
        )
        time.sleep(cut.seconds)
        host.plug_pulled()
        run.kill()
        must(found, f"the run did not come to the task {cut.task}:\n{run.said()[-3000:]}")
        host.up()
        line = host.line()
        names = {text: name for name, text in lines.items()}
        must(line in names or wanted not in lines, f"the host runs with {line}, not with {lines}")
        must("carveout.trial" not in line, f"the host runs a trial again: {line}")
        host.to(wanted)
        host.verify()
        lines[wanted] = permanent(host.line())
        booted = names.get(line) or (wanted if line == lines[wanted] else "")
        must(bool(booted), f"the host ran with {line}, which is none of {lines}")
        print(
            f"ok  power cut {cut.seconds:g} s after the beginning of {cut.task!r}, from {old} to {wanted}:"
            f" booted {booted}, the next run leads to {wanted} ({time.monotonic() - started:.0f} s)",
            flush=True,
        )
        wanted = old
