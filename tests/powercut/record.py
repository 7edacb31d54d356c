# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record what runs of the main job write to a host's disk: a trial, a change at once, and the removal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.lab import qmp
from ansible_collections.carveout.memory.lab.vm import Wishes
from ansible_collections.carveout.memory.plugins.module_utils._arguments import layout_id, split
from tests.safety.host import NODE_MEMORY, SafetyHost, plan
from tests.tenant.host import ROOT, must, our_environment, wait_for

#: Sizes of the pool in the layouts A and B, in MiB.
SIZES = {"A": 512, "B": 256}


@dataclass(frozen=True)
class Recorded:
    """``base`` is the disk before, ``writes`` what was written then.

    ``names`` are the command lines that a boot may have, whole, each with a name; ``layouts`` the arguments by ID.
    """

    base: Path
    writes: Path
    names: Mapping[str, str]
    layouts: Mapping[str, str]

    @staticmethod
    def load(folder: Path) -> Recorded:
        """What :func:`record` left in a folder."""
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        return Recorded(folder / "base.raw", folder / "writes.log", facts["names"], facts["layouts"])


class Run:
    """A playbook that goes on in the background, its output in a file."""

    def __init__(self, words: Sequence[str]) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="carveout-", suffix=".log")  # noqa: SIM115
        environment = our_environment() | {"PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / words[0]), *words[1:]], cwd=ROOT, env=environment,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def said(self) -> str:
        """What it has printed so far."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def wait_for(self, *texts: str, limit: float = 900) -> bool:
        """Whether it printed one of the texts before it ended."""
        deadline = time.monotonic() + limit
        while not any(text in self.said() for text in texts):
            if self._process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def kill(self) -> None:
        """End it and all that it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class CutHost(SafetyHost):
    """The lab's machine whose disk is recorded, or cut off."""

    record = False

    def up(self) -> None:
        self._vm.up(Wishes(node_memory=NODE_MEMORY, record=self.record), 600)

    def down(self) -> None:
        self.hang_up()
        self._vm.down()

    @property
    def folder(self) -> Path:
        return self._vm.directory

    def with_disk(self, disk: Path) -> None:
        """Put this disk (raw) into the machine, which goes off."""
        self.hang_up()
        if not (self.folder / "disk.qcow2").exists():
            self.up()
        self._vm.down()
        new = self.folder / "new.qcow2"
        convert(disk, new, "qcow2")
        new.rename(self.folder / "disk.qcow2")
        disk.unlink()

    def plug_pulled(self) -> None:
        """The power is off: the guest is not asked, and its memory is gone."""
        self.hang_up()
        qmp.execute(self.folder / "qmp.sock", "quit")
        wait_for("the machine's end", 30, lambda: self._vm.pid() is None)

    def run_to(self, wanted: Mapping[str, Any]) -> Run:
        """The main job, begun: what it says can be seen meanwhile."""
        self.hang_up()
        variables = {"carveout_plan": wanted, "carveout_reboot_timeout": 600}
        return Run(self.play_words("carveout.memory.site", variables))

    def line(self) -> str:
        """The command line of the running kernel."""
        return self.run("cat", "/proc/cmdline").strip()

    def to(self, name: str, **others: Any) -> None:
        """The main job to layout A or B; without a trial where ``others`` say so."""
        trial = bool(others.pop("trial", True))
        wanted = plan(SIZES[name]) | {"policy": {"trial_boot": trial}}
        job = self.site(wanted, carveout_trial_minutes=15, **others)
        must(job.ok, f"the main job to {name} failed:\n{job.said[-4000:]}")


def record(host: CutHost, folder: Path) -> Recorded:
    """Carve layout A, then record: B on trial, A at once, and nothing of ours any more."""
    host.up()
    none = host.line()
    host.to("A")
    names = {"none": none, "A": permanent(host.line())}
    _begin(host, folder)
    host.to("B")
    names |= {"trial of B": host.line(), "B": permanent(host.line())}
    host.to("A", trial=False)
    names["A again"] = host.line()
    job = host.play("carveout.memory.rollback", {"carveout_reboot_timeout": 600})
    must(job.ok, f"the rollback failed:\n{job.said[-4000:]}")
    must(host.line() == none, f"the host runs with {host.line()}")
    layouts = {}
    for name in ("A", "B", "A again"):
        arguments = split(names[name])
        first = next(i for i, token in enumerate(arguments) if token.startswith("carveout.layout="))
        layouts[layout_id(arguments) or ""] = " ".join(arguments[first:])
    return _end(host, folder, names, layouts)


def record_plain(host: CutHost, folder: Path) -> Recorded:
    """Record update-grub by itself, on a host without Carveout.

    Its ``cat`` fills the menu that was truncated before; by then somebody else has had the disk synced.
    """
    host.up()
    names = {"none": host.line()}
    _begin(host, folder)
    host.send({"/root/slow/cat": (b'#!/bin/sh\n/usr/bin/sync\nexec /usr/bin/cat "$@"\n', 0o755)})
    host.run("sh", "-c", "PATH=/root/slow:$PATH update-grub")
    return _end(host, folder, names, {})


def _begin(host: CutHost, folder: Path) -> None:
    """Keep the disk as it is, and start the machine again so that every further write is kept."""
    host.down()
    folder.mkdir(parents=True, exist_ok=True)
    convert(host.folder / "disk.qcow2", folder / "base.raw", "raw")
    host.record = True
    host.up()


def _end(host: CutHost, folder: Path, names: Mapping[str, str], layouts: Mapping[str, str]) -> Recorded:
    host.down()
    (host.folder / "writes.log").rename(folder / "writes.log")
    facts = {"names": {line: name for name, line in names.items()}, "layouts": layouts}
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return Recorded.load(folder)


def permanent(line: str) -> str:
    """A trial's command line without what only the trial has."""
    return re.sub(r" carveout\.trial .*", "", line)


def convert(source: Path, target: Path, kind: str) -> None:
    """Another file with the same disk, in the format ``kind``."""
    subprocess.run(["qemu-img", "convert", "-O", kind, str(source), str(target)], check=True)
