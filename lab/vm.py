# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One virtual machine: start, wait, stop, reset. It outlives the command that started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from . import accel, firmware, image, keys, qmp, state, tools
from .access import Access, free_port
from .errors import LabError
from .flavour import DEFAULT, Flavour, check
from .locks import locked
from .machine import DEFAULT_CPUS, DEFAULT_NODE_MEMORY, DEFAULT_PORT, qemu_arguments
from .progress import Progress
from .state import State

_POWER_OFF_LIMIT = 90.0
_HEARTBEAT = 15.0


@dataclass(frozen=True)
class Wishes:
    """What the operator asked for; None where he did not."""

    node_memory: tuple[int, ...] | None = None
    cpus: int | None = None
    port: int | None = None
    accel: str | None = None
    record: bool = False
    """whether every write to the disk is kept, from this start on, in the directory's writes.log"""
    firmware: str | None = None
    loader: str | None = None

    def flavour(self, before: Flavour) -> Flavour:
        """What was asked for; the rest is as before. LabError where the lab has no such machine."""
        return check(Flavour(self.firmware or before.firmware, self.loader or before.loader))


class Vm:
    """The machine ``name``, whose things lie in ``states``/name; images and keys lie in ``cache``."""

    def __init__(self, name: str, states: Path, cache: Path, progress: Progress) -> None:
        self.name = name
        self.directory = states / name
        self._cache = cache
        self._progress = progress

    # ------------------------------------------------------------------------------------------------ looking

    @property
    def console(self) -> Path:
        """What the guest has written to its serial line since `up`."""
        return self.directory / "console.log"

    def pid(self) -> int | None:
        """The QEMU process, None when the machine is off."""
        return state.running_pid(self.directory / "qemu.pid")

    def state(self) -> State:
        """What is known about the machine; LabError when it was never started."""
        found = state.read(self.directory)
        if found is None:
            raise LabError(
                f"there is no machine {self.name}: `python3 -m lab --name {self.name} up` makes it"
            )
        return found

    def access(self) -> Access:
        """The way in; LabError when the machine is off."""
        found = self.state()
        if self.pid() is None:
            raise LabError(f"{self.name} is off: `python3 -m lab --name {self.name} up` starts it")
        return _access(found)

    def status(self) -> dict[str, object]:
        """Facts for `status`; also for a machine that does not exist."""
        found, pid = state.read(self.directory), self.pid()
        facts: dict[str, object] = {
            "name": self.name,
            "exists": found is not None,
            "running": pid is not None,
        }
        if found is not None:
            facts |= {
                "pid": pid,
                "ssh": pid is not None and _access(found).answers(3.0),
                "port": found.port,
                "accel": found.accel,
                "cpus": found.cpus,
                "node_memory": list(found.node_memory),
                "firmware": found.firmware,
                "loader": found.loader,
                "kernel_release": found.kernel_release,
                "image": found.image,
                "directory": str(self.directory),
            }
        return facts

    # ------------------------------------------------------------------------------------------- on, off, new

    def up(self, wishes: Wishes, limit: float) -> None:
        """Start the machine unless it runs, and wait until one can log in."""
        with self._locked():
            if self.pid() is None:
                self._start(wishes)
            else:
                self._check_running(wishes)
        self.wait(limit)

    def _locked(self) -> AbstractContextManager[None]:
        return locked(
            self.directory / "lock",
            lambda: self._progress.step(f"waiting for another command that changes {self.name}"),
        )

    def _check_running(self, wishes: Wishes) -> None:
        now = self.state()
        for key in ("node_memory", "cpus", "port", "accel", "firmware", "loader"):
            wish = getattr(wishes, key)
            if wish not in (None, "auto", getattr(now, key)):
                raise LabError(
                    f"{self.name} runs already, with another {key.replace('_', ' ')}: `down` it first"
                )
        self._progress.step(f"{self.name} runs already")

    def _start(self, wishes: Wishes) -> None:
        before = state.read(self.directory)
        pairs = keys.ensure(self._cache)
        flavour = wishes.flavour(before.flavour if before else DEFAULT)
        if before and flavour != before.flavour:
            raise LabError(f"{self.name} has {before.flavour}: `destroy` it to have {flavour}")
        newest = image.ensure(self._cache, image.recipe_for(pairs, flavour), self._progress)
        kept = self._kept_image(before, newest)
        if kept is None:
            self._fresh_disk(newest, flavour)
            kept = newest
        cpus = wishes.cpus or (before.cpus if before else DEFAULT_CPUS)
        new = State(
            name=self.name,
            port=free_port(wishes.port or (before.port if before else DEFAULT_PORT)),
            accel=accel.choose(wishes.accel or "auto", kept, self._cache, self._progress),
            node_memory=wishes.node_memory or (before.node_memory if before else DEFAULT_NODE_MEMORY),
            cpus=cpus,
            image=kept.digest,
            image_disk=str(kept.disk),
            kernel_release=kept.kernel_release,
            key_file=str(pairs.user.private_file),
            known_hosts=str(self.directory / "known_hosts"),
            firmware=flavour.firmware,
            loader=flavour.loader,
        )
        if wishes.port not in (None, new.port):
            raise LabError(f"--port {wishes.port}: somebody else listens there")
        _access(new).write_known_hosts(pairs.host.public)
        state.write(self.directory, new)
        if self.console.exists():
            self.console.replace(self.directory / "console.old.log")
        self._progress.step(
            f"starting {self.name}: {'KVM' if new.accel == 'kvm' else 'software emulation'}, {cpus} CPUs, nodes of "
            + " and ".join(f"{size / 2**30:g} GiB" for size in new.node_memory)
        )
        # the daemon keeps this directory's sockets; see qemu_arguments
        machine = replace(new.machine(self.directory), record=wishes.record)
        if machine.record:
            machine.writes.write_bytes(b"")
        argv = [tools.find("qemu-system-x86_64"), *qemu_arguments(machine)]
        tools.run(argv, timeout=60, cwd=self.directory)

    def _kept_image(self, before: State | None, newest: image.Image) -> image.Image | None:
        """The image below the disk that is there, None when there has to be a new disk."""
        if before is None or not (self.directory / "disk.qcow2").exists():
            return None
        if before.image == newest.digest:
            return newest
        kept = image.load(self._cache, before.image)
        if kept is None or not kept.disk.exists():
            self._progress.step("the image below this disk is gone: starting from a fresh disk")
            return None
        self._progress.step("note: this disk was made from an older image; `reset` gives a new one")
        return kept

    def _fresh_disk(self, base: image.Image, flavour: Flavour) -> None:
        if flavour.firmware == "uefi":
            firmware.make_variables(self.directory)
        new = self.directory / ".disk.qcow2"
        tools.run(
            [
                tools.find("qemu-img"),
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "raw",
                "-b",
                str(base.disk),
                str(new),
            ]
        )
        new.replace(self.directory / "disk.qcow2")

    def wait(self, limit: float) -> None:
        """Wait until one can log in; LabError after ``limit`` seconds, or when the machine stops."""
        way = self.access()
        start = time.monotonic()
        told = start
        while True:
            if self.pid() is None:
                raise LabError(
                    f"{self.name} stopped while booting; see `python3 -m lab --name {self.name} console`"
                )
            if way.answers(5.0) and _succeeds(
                [*way.ssh("-o", "BatchMode=yes", "-o", "ConnectTimeout=30"), "true"]
            ):
                took = time.monotonic() - start
                after = f" after {took:.0f} s" if took > 5 else ""
                self._progress.step(f"{self.name} answers on 127.0.0.1:{way.port}{after}")
                return
            now = time.monotonic()
            if now - start > limit:
                raise LabError(
                    f"{self.name} has not answered for {limit:.0f} s; its last words: {self.last_words()}"
                )
            if now - told >= _HEARTBEAT:
                told = now
                self._progress.step(f"booting, {now - start:.0f} s; console: {self.last_words()}")
            time.sleep(0.5)

    def last_words(self) -> str:
        """The last line of the console that is not empty."""
        try:
            text = self.console.read_bytes()[-4096:].decode("utf-8", "replace")
        except OSError:
            return "none"
        lines = [_printable(line) for line in text.splitlines()]
        return next((line[:100] for line in reversed(lines) if line), "none")

    def down(self) -> None:
        """Shut the guest down; cut its power when it does not end by itself."""
        with self._locked():
            if self.pid() is None:
                self._progress.step(f"{self.name} is off")
                return
            way = self.access()
            asked = way.answers(5.0)
            if asked:
                # The login may end before its command has: what counts is whether the machine goes off.
                self._progress.step(f"{self.name} shuts down")
                _succeeds(
                    [
                        *way.ssh("-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
                        "systemctl",
                        "--no-block",
                        "poweroff",
                    ]
                )
            if not (asked and _until(lambda: self.pid() is None, _POWER_OFF_LIMIT)):
                self._progress.step(f"{self.name} does not shut down by itself: cutting its power")
                self._kill()
            self._progress.step(f"{self.name} is off")

    def power_cycle(self) -> None:
        """The reset button: the guest is not asked, what it had not written is lost."""
        self.access()
        qmp.execute(self.directory / "qmp.sock", "system_reset")
        self._progress.step(f"{self.name} was reset and boots")

    def reset(self) -> None:
        """Throw the guest's disk away for a fresh one; the machine is off afterwards."""
        with self._locked():
            now = self.state()
            self._kill()
            recipe = image.recipe_for(keys.ensure(self._cache), now.flavour)
            base = image.ensure(self._cache, recipe, self._progress)
            self._fresh_disk(base, now.flavour)
            state.write(self.directory, now.on_image(base.digest, str(base.disk), base.kernel_release))
        self._progress.step(f"{self.name} has a fresh disk and is off")

    def destroy(self) -> None:
        """Cut the machine's power and remove everything that belongs to it."""
        if not self.directory.is_dir():
            self._progress.step(f"there is no machine {self.name}")
            return
        with self._locked():
            self._kill()
            shutil.rmtree(self.directory)
        self._progress.step(f"{self.name} is gone")

    def _kill(self) -> None:
        if self.pid() is None:
            return
        # a QEMU that hangs is ended the hard way
        with suppress(LabError):
            qmp.execute(self.directory / "qmp.sock", "quit")
        if _until(lambda: self.pid() is None, 5.0):
            return
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            if not _until(lambda: self.pid() is None, 10.0):
                raise LabError(f"QEMU, process {pid}, cannot be ended")


def _access(known: State) -> Access:
    return Access(known.port, Path(known.key_file), Path(known.known_hosts))


def _succeeds(argv: list[str]) -> bool:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def _until(true: Callable[[], bool], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _printable(line: str) -> str:
    return "".join(character for character in line if character.isprintable()).strip()
