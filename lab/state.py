# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is kept about a virtual machine between two commands, and whether it runs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .errors import LabError
from .flavour import DEFAULT, Flavour
from .machine import Machine

_FILE = "state.json"


@dataclass(frozen=True)
class State:
    """The content of state.json; inventories/lab/hosts.py reads it too."""

    name: str
    port: int
    accel: str
    node_memory: tuple[int, ...]
    cpus: int
    image: str
    """digest of the image below its disk"""
    image_disk: str
    kernel_release: str
    key_file: str
    known_hosts: str
    firmware: str = DEFAULT.firmware
    loader: str = DEFAULT.loader

    @property
    def flavour(self) -> Flavour:
        """Its firmware and its boot loader."""
        return Flavour(self.firmware, self.loader)

    def machine(self, directory: Path) -> Machine:
        """The machine that is started from this state."""
        return Machine(
            self.name, directory, self.port, self.accel, self.node_memory, self.cpus, self.firmware
        )

    def on_image(self, digest: str, disk: str, kernel_release: str) -> State:
        """The same machine on another image."""
        return replace(self, image=digest, image_disk=disk, kernel_release=kernel_release)


def read(directory: Path) -> State | None:
    """The state in ``directory``, None when there is none; LabError when it cannot be understood."""
    path = directory / _FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["node_memory"] = tuple(int(size) for size in data["node_memory"])
        return State(**data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{path}: cannot be understood ({error}): `python3 -m lab destroy` removes it"
        ) from error


def write(directory: Path, state: State) -> None:
    """Replace the state at once: a reader sees the old one or the new one."""
    new = directory / f".{_FILE}.{os.getpid()}"
    new.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    new.replace(directory / _FILE)


def running_pid(pid_file: Path, proc: Path = Path("/proc")) -> int | None:
    """The process that runs the machine with this pid file, or None.

    A pid file may be stale and its number may belong to somebody else by now, so the process must be a QEMU that was
    told to write this very file.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        arguments = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    wanted = os.fsencode(pid_file)
    return pid if b"-pidfile" in arguments and wanted in arguments else None
