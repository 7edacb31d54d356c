# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lab machine with the main job done on it: run commands, give it files, change its plan, look at it."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ansible_collections.carveout.memory.lab import paths, qmp
from ansible_collections.carveout.memory.lab.progress import Progress
from ansible_collections.carveout.memory.lab.vm import Vm, Wishes

ROOT = Path(__file__).resolve().parents[2]
_BOOT_LIMIT = 600.0
#: All files below a few folders: first mode, owner and target of a link of each, then the checksums.
_FILES = r"""
where() { find /etc /boot /usr/lib/carveout /mnt /root -xdev "$@" 2>/dev/null; }
where \( -type f -o -type l \) -printf '%p\t%m %U %G %l\n'
where -type f -exec sha256sum {} + | sed 's/^\([0-9a-f]*\)  \(.*\)$/\2\t\1/'
"""


class TenantError(Exception):
    """Something is not as it has to be, or cannot be tried."""


class Job(NamedTuple):
    """What a playbook said, and whether it succeeded."""

    ok: bool
    said: str


def must(true: bool, what: str) -> None:
    """TenantError with ``what`` where it is not so."""
    if not true:
        raise TenantError(what)


def wait_for(what: str, seconds: float, look: Callable[[], Any]) -> Any:
    """The first true answer of ``look``, asked every second; TenantError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        must(time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s")
        time.sleep(1)
    return found


class Host:
    """The lab's machine ``name`` of this checkout."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._vm = Vm(name, paths.state_root(), paths.cache_root(), Progress())
        # an emulated machine needs a second for every login: one connection is for all
        self._folder = tempfile.TemporaryDirectory(prefix="carveout-")
        self._line: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        self._vm.up(Wishes(), _BOOT_LIMIT)

    def destroy(self) -> None:
        self.hang_up()
        self._vm.destroy()

    def hang_up(self) -> None:
        """End the connection; the next command makes another one."""
        if self._line is not None:
            self._line.kill()
            self._line.wait()
            self._line = None

    def _ssh(self) -> list[str]:
        words = self._vm.access().ssh(
            "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", f"ControlPath={self._folder.name}/ssh"
        )
        if self._line is None or self._line.poll() is not None:
            line = [words[0], "-N", "-o", "ControlMaster=auto", "-o", "ServerAliveInterval=10", *words[1:]]
            self._line = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return words

    def cut_power(self) -> None:
        """As a plug that is pulled: the guest is not asked, and its memory is gone. Then on again."""
        self.hang_up()
        qmp.execute(self._vm.directory / "qmp.sock", "quit")
        wait_for("the machine's end", 30, lambda: self._vm.pid() is None)
        self.up()

    def run(self, *words: str, stdin: bytes = b"", limit: float = 300.0, check: bool = True) -> str:
        """A command's output; TenantError where it fails and ``check`` is true."""
        done = subprocess.run(
            [*self._ssh(), shlex.join(words)], input=stdin, capture_output=True, timeout=limit, check=False
        )
        said = done.stdout.decode(errors="replace")
        if check and done.returncode:
            errors = done.stderr.decode(errors="replace")
            raise TenantError(f"{shlex.join(words)}: status {done.returncode}: {(said + errors).strip()}")
        return said

    def script(self, path: Path, *words: str, limit: float = 600.0) -> Any:
        """What one of our Python scripts prints as JSON, run on the host by its own Python."""
        return json.loads(self.run("python3", "-", *words, stdin=path.read_bytes(), limit=limit))

    def send(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Files by their absolute path, with content and mode."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, (data, mode) in sorted(files.items()):
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))
        self.run("tar", "-x", "-C", "/", "-f", "-", stdin=buffer.getvalue())

    def background(self, command: str) -> int:
        """Start a command of the shell that outlives the login; its process ID."""
        return int(
            self.run("sh", "-c", f"setsid sh -c {shlex.quote('exec ' + command)} </dev/null & echo $!")
        )

    def files(self) -> dict[str, str]:
        """By path all that makes a file or link of the places where boot loaders and Carveout have theirs."""
        found: dict[str, str] = {}
        for path, _, what in (line.partition("\t") for line in self.run("sh", "-c", _FILES).splitlines()):
            found[path] = f"{found.get(path, '')} {what}"
        return found

    def boot_id(self) -> str:
        return self.run("cat", "/proc/sys/kernel/random/boot_id").strip()

    def await_reboot(self, before: str) -> None:
        """Wait for another boot than ``before``, and in it for all devices and mounts."""
        self.await_boot(before)
        self.await_devices()

    def await_boot(self, before: str) -> None:
        """Wait for another boot than ``before``."""

        def rebooted() -> bool:
            try:
                return self.boot_id() != before
            except (TenantError, subprocess.TimeoutExpired):
                self.hang_up()
                return False

        self.hang_up()
        wait_for("the next boot", _BOOT_LIMIT, rebooted)

    def await_devices(self) -> None:
        def reached() -> bool:
            return self.run("systemctl", "is-active", "carveout.target", check=False).strip() == "active"

        wait_for("carveout.target", 120, reached)

    def snapshot(self) -> dict[str, Any]:
        """The host as Carveout measures it."""
        found = self.run("sh", "-c", "exec python3 -B /usr/lib/carveout/carveout-*.pyz host")
        snapshot: dict[str, Any] = json.loads(found)
        return snapshot

    def devices(self) -> dict[str, dict[str, Any]]:
        """By name all that has to be the same after a boot: ranges, align, node, driver, owner, mode."""
        state = self.snapshot()["state"]
        by_node = {
            device["node_path"]: device for region in state["dax"]["regions"] for device in region["devices"]
        }
        wanted = ("extents", "size", "align", "target_node", "driver", "owner", "group", "mode")
        return {
            name: {key: by_node[node][key] for key in wanted} for name, node in sorted(state["links"].items())
        }

    def carve(self, plan: Mapping[str, Any]) -> Job:
        """The main job with this plan."""
        return self.play("carveout.memory.site", {"carveout_plan": plan})

    def verify(self) -> None:
        """Hold the host to its layout; TenantError where it is not kept."""
        done = self.play("carveout.memory.verify", {})
        must(done.ok, f"the host does not verify:\n{done.said}")

    def tenants_text(self, plan: Mapping[str, Any]) -> str:
        """What ``carveout plan --format tenants`` prints for this host."""
        with tempfile.TemporaryDirectory(prefix="carveout-tenant-") as folder:
            files = [Path(folder, name) for name in ("plan.yml", "host.json")]
            for file, data in zip(files, (plan, self.snapshot()), strict=True):
                file.write_text(json.dumps(data), encoding="utf-8")
            words = ["carveout", "plan", str(files[0]), "--host", str(files[1]), "--format", "tenants"]
            done = _ours(words)
        must(done.ok, f"{shlex.join(words)}: {done.said}")
        return done.said

    def play(self, name: str, variables: Mapping[str, Any]) -> Job:
        """A playbook on this host."""
        return _ours(self.play_words(name, variables))

    def play_words(self, name: str, variables: Mapping[str, Any]) -> list[str]:
        """The command that is a playbook on this host."""
        words = ["ansible-playbook", "-i", str(ROOT / "inventories" / "lab"), "--limit", self.name]
        return [*words, "-e", json.dumps({"carveout_hosts": self.name, **variables}), name]


def lab_plan() -> dict[str, Any]:
    """plans/lab.yml and a pool of persistent memory, a new copy each time."""
    plan: dict[str, Any] = yaml.safe_load((ROOT / "plans" / "lab.yml").read_text(encoding="utf-8"))
    plan["pools"]["store"] = {
        "mechanism": "pmem",
        "nodes": {1: "256MiB"},
        "devices": [{"name": "pm-a", "size": "rest"}],
    }
    return plan


def our_environment() -> dict[str, str]:
    """What the Makefile sets, for a command of the environment that this Python belongs to."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8", "PATH": folders}


def started(words: Sequence[str], settings: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """One of our commands, with ``settings`` in its environment."""
    bin_folder = Path(sys.executable).parent
    return subprocess.Popen(
        [str(bin_folder / words[0]), *words[1:]], cwd=ROOT, env=our_environment() | dict(settings or {}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> Job:
    """What it said, when it has ended; it does not outlive us."""
    try:
        said, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Job(process.returncode == 0, said)


def _ours(words: Sequence[str]) -> Job:
    return ended(started(words))
