# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab remembers about a machine, what it does when that is stale, and the inventory made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.lab import cli, paths, state
from ansible_collections.carveout.memory.lab.errors import LabError
from ansible_collections.carveout.memory.lab.machine import GIB
from ansible_collections.carveout.memory.lab.progress import Progress
from ansible_collections.carveout.memory.lab.vm import Vm, Wishes


def known(directory: Path, name: str = "lab1", port: int = 22022) -> state.State:
    return state.State(
        name=name,
        port=port,
        accel="tcg",
        node_memory=(5 * GIB, 4 * GIB),
        cpus=2,
        image="abc",
        image_disk="/cache/images/abc/disk.raw",
        kernel_release="6.12",
        key_file="/cache/keys/user_ed25519",
        known_hosts=str(directory / "known_hosts"),
    )


@pytest.fixture
def lab(tmp_path: Path) -> Vm:
    return Vm("lab1", tmp_path / "states", tmp_path / "cache", Progress())


@pytest.fixture
def process(lab: Vm) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like this machine's QEMU."""
    lab.directory.mkdir(parents=True)
    pid_file = lab.directory / "qemu.pid"
    argv = [sys.executable, "-c", "import time; time.sleep(60)", "-pidfile", str(pid_file)]
    with subprocess.Popen(argv) as running:
        pid_file.write_text(f"{running.pid}\n", encoding="ascii")
        # between fork and exec it still has our own command line
        while state.running_pid(pid_file) is None:
            time.sleep(0.01)
        yield running
        running.kill()


def test_state_survives(tmp_path: Path) -> None:
    assert state.read(tmp_path) is None
    state.write(tmp_path, known(tmp_path))
    assert state.read(tmp_path) == known(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"node_memory": 5}', '{"node_memory": [], "new": 1}'])
def test_a_state_that_cannot_be_understood_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(LabError, match=r"state\.json: cannot be understood .*destroy"):
        state.read(tmp_path)


def test_no_pid_file(tmp_path: Path) -> None:
    assert state.running_pid(tmp_path / "qemu.pid") is None


@pytest.mark.parametrize("content", ["", "nonsense", "-1", "0", "4194305"])
def test_pid_files_of_nobody(content: str, tmp_path: Path) -> None:
    path = tmp_path / "qemu.pid"
    path.write_text(content, encoding="ascii")
    assert state.running_pid(path) is None


def test_a_number_that_belongs_to_somebody_else_by_now(tmp_path: Path) -> None:
    path = tmp_path / "qemu.pid"
    path.write_text(f"{os.getpid()}\n", encoding="ascii")
    assert state.running_pid(path) is None


def test_the_machine_that_runs_is_found(lab: Vm, process: subprocess.Popen[bytes]) -> None:
    assert lab.pid() == process.pid
    process.kill()
    process.wait()
    # the pid file is still there
    assert lab.pid() is None


def test_a_hanging_machine_is_ended_and_removed(lab: Vm, process: subprocess.Popen[bytes]) -> None:
    lab.destroy()
    assert process.wait(timeout=10) == -9
    assert not lab.directory.exists()


def test_destroying_what_is_not_there(lab: Vm) -> None:
    lab.destroy()
    assert not lab.directory.exists()


def test_a_broken_state_does_not_keep_a_machine_from_being_destroyed(lab: Vm) -> None:
    lab.directory.mkdir(parents=True)
    (lab.directory / "state.json").write_text("{", encoding="utf-8")
    lab.destroy()
    assert not lab.directory.exists()


def test_another_memory_needs_a_restart(lab: Vm, process: subprocess.Popen[bytes]) -> None:
    state.write(lab.directory, known(lab.directory))
    with pytest.raises(LabError, match="lab1 runs already, with another node memory: `down` it first"):
        lab.up(Wishes(node_memory=(GIB,)), 1)
    assert process.poll() is None


def test_status_of_a_machine_that_is_off(lab: Vm) -> None:
    assert lab.status() == {"name": "lab1", "exists": False, "running": False}
    lab.directory.mkdir(parents=True)
    state.write(lab.directory, known(lab.directory))
    status = lab.status()
    assert (status["exists"], status["running"], status["ssh"]) == (True, False, False)
    assert status["node_memory"] == [5 * GIB, 4 * GIB]


def test_last_words(lab: Vm) -> None:
    assert lab.last_words() == "none"
    lab.directory.mkdir(parents=True)
    lab.console.write_bytes(b"Loading \x1bLinux \xff\r\n\x07 \r\n\r\n")
    assert lab.last_words() == "Loading Linux \ufffd"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ssh", "true"], "there is no machine lab1: `python3 -m lab --name lab1 up` makes it"),
        (["down"], "there is no machine lab1"),
        (["power-cycle"], "there is no machine lab1"),
        (["reset"], "there is no machine lab1"),
        (["console"], "there is no machine lab1"),
        (["wait"], "there is no machine lab1"),
        (["--name", "../x", "status"], "--name '../x'"),
        (["up", "--node-memory", "4GB"], "--node-memory 4GB"),
        (["up", "--cpus", "0"], "--cpus 0"),
        (["up", "--port", "65536"], "--port 65536"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(paths, "state_root", lambda: tmp_path / ".lab")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"lab: {message}")
    assert error.count("\n") == 1
    assert list(tmp_path.glob(".lab/*/*.qcow2")) == []


def test_status_is_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "state_root", lambda: tmp_path)
    assert cli.main(["--name", "x", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "x", "exists": False, "running": False}


def test_a_relative_cache_home_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert paths.cache_root() == Path.home() / ".cache/carveout/lab"
    monkeypatch.setenv("XDG_CACHE_HOME", "/absolute")
    assert paths.cache_root() == Path("/absolute/carveout/lab")


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Path:
    """A checkout with nothing but the inventory."""
    script = tmp_path / "copy" / "inventories" / "lab" / "hosts.py"
    script.parent.mkdir(parents=True)
    source = checkout / "inventories/lab/hosts.py"
    script.write_bytes(source.read_bytes())
    script.chmod(source.stat().st_mode)
    return script


def ask(script: Path, *arguments: str, cache: str = "/c") -> dict[str, dict[str, object]]:
    environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": cache}
    done = subprocess.run(
        [str(script), *arguments], capture_output=True, text=True, check=True, env=environment
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_inventory_without_a_machine_names_the_one_to_come(copy: Path) -> None:
    answer = ask(copy, "--list")
    assert answer["lab"] == {"hosts": ["lab1"]}
    checkout = copy.parents[2]
    assert answer["_meta"] == {
        "hostvars": {
            "lab1": {
                "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1",
                "ansible_port": 22022,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": "/c/carveout/lab/keys/user_ed25519",
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={checkout}/.lab/lab1/known_hosts"
                " -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
                " -o ServerAliveInterval=15 -o ServerAliveCountMax=8",
            }
        }
    }


def test_inventory_has_every_machine(copy: Path) -> None:
    for name, port in (("lab2", 40001), ("lab1", 40000)):
        directory = copy.parents[2] / ".lab" / name
        directory.mkdir(parents=True)
        state.write(directory, known(directory, name, port))
    # neither a machine
    (copy.parents[2] / ".lab" / "left-over").mkdir()
    answer = ask(copy, "--list")
    assert answer["lab"] == {"hosts": ["lab1", "lab2"]}
    assert ask(copy, "--host", "lab2")["ansible_port"] == 40001
    assert ask(copy, "--host", "lab2") == answer["_meta"]["hostvars"]["lab2"]  # type: ignore[index]
    assert ask(copy, "--host", "unknown") == {}


def test_inventory_names_a_state_it_cannot_read(copy: Path) -> None:
    directory = copy.parents[2] / ".lab" / "lab1"
    directory.mkdir(parents=True)
    (directory / "state.json").write_text("{}", encoding="utf-8")
    done = subprocess.run([str(copy), "--list"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "state.json: cannot be understood" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
