# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machine: from a configuration to QEMU's command line."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.lab import qmp
from ansible_collections.carveout.memory.lab.access import Access, free_port
from ansible_collections.carveout.memory.lab.errors import LabError
from ansible_collections.carveout.memory.lab.machine import (
    GIB,
    Machine,
    check_name,
    parse_node_memory,
    qemu_arguments,
)

QEMU = shutil.which("qemu-system-x86_64")


def machine(directory: Path, **changes: object) -> Machine:
    values: dict[str, object] = {
        "name": "lab1",
        "directory": directory,
        "port": 22022,
        "accel": "tcg",
    } | changes
    return Machine(**values)  # type: ignore[arg-type]


def options(arguments: list[str], name: str) -> list[str]:
    return [value for key, value in pairwise(arguments) if key == name]


def test_each_node_has_its_memory_and_its_share_of_the_cpus() -> None:
    arguments = qemu_arguments(machine(Path("/x"), node_memory=(5 * GIB, 4 * GIB), cpus=3))
    assert options(arguments, "-object")[:2] == [
        "memory-backend-ram,id=m0,size=5368709120,reserve=off",
        "memory-backend-ram,id=m1,size=4294967296,reserve=off",
    ]
    assert options(arguments, "-numa") == [
        "node,nodeid=0,cpus=0,cpus=2,memdev=m0",
        "node,nodeid=1,cpus=1,memdev=m1",
    ]
    assert options(arguments, "-m") == ["9216M"]
    assert options(arguments, "-smp") == ["3,sockets=3,cores=1,threads=1"]


def test_a_node_may_be_without_cpus() -> None:
    arguments = qemu_arguments(machine(Path("/x"), node_memory=(GIB, GIB, GIB), cpus=2))
    assert options(arguments, "-numa")[2] == "node,nodeid=2,memdev=m2"


def test_ssh_is_reachable_on_the_loopback_only() -> None:
    (network,) = options(qemu_arguments(machine(Path("/x"), port=2345)), "-netdev")
    assert network == "user,id=net0,hostfwd=tcp:127.0.0.1:2345-:22"


def test_a_dead_kernel_is_reset_and_leaves_its_last_words_in_a_file() -> None:
    arguments = qemu_arguments(machine(Path("/x")))
    assert "i6300esb" in options(arguments, "-device")
    assert options(arguments, "-action") == ["watchdog=reset"]
    (store,) = [value for value in options(arguments, "-object") if "id=erst" in value]
    assert "mem-path=/x/erst.bin,share=on" in store


def test_a_reboot_is_a_reboot() -> None:
    assert "-no-reboot" not in qemu_arguments(machine(Path("/x")))


def test_kvm_shows_the_real_cpu() -> None:
    arguments = qemu_arguments(machine(Path("/x"), accel="kvm"))
    assert options(arguments, "-accel") == ["kvm"]
    assert options(arguments, "-cpu") == ["host"]


def test_a_comma_in_a_path_stays_in_the_path() -> None:
    arguments = qemu_arguments(machine(Path("/a,b")))
    assert any("file=/a,,b/disk.qcow2" in drive for drive in options(arguments, "-drive"))


def test_same_name_same_uuid() -> None:
    one, again, other = (
        machine(Path(path), name=name) for path, name in [("/x", "a"), ("/y", "a"), ("/x", "b")]
    )
    assert one.uuid == again.uuid != other.uuid


@pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed")
def test_qemu_takes_the_command_line_and_obeys_its_sockets(tmp_path: Path) -> None:
    # longer than the 107 bytes that a socket's path may have, with a comma and a space
    directory = tmp_path / ("deep, " + "x" * 120)
    directory.mkdir()
    here = machine(directory, port=free_port(0))
    create = [shutil.which("qemu-img") or "qemu-img", "create", "-q", "-f", "qcow2", str(here.disk), "1M"]
    subprocess.run(create, check=True)
    assert QEMU is not None
    # -S: nothing runs, so this costs no time
    subprocess.run([QEMU, *qemu_arguments(here), "-S"], cwd=directory, check=True, timeout=60)
    try:
        status = qmp.execute(directory / "qmp.sock", "query-status")
        assert isinstance(status, dict) and status["status"] == "prelaunch"
        with pytest.raises(LabError, match="no-such-command"):
            qmp.execute(directory / "qmp.sock", "no-such-command")
    finally:
        qmp.execute(directory / "qmp.sock", "quit")
    for _ in range(100):
        if not here.pid_file.exists():
            break
        time.sleep(0.05)
    with pytest.raises(LabError, match=r"QEMU does not answer on qmp\.sock"):
        qmp.execute(directory / "qmp.sock", "query-status")


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("5GiB,4GiB", (5 * GIB, 4 * GIB)), ("4096MiB", (4 * GIB,)), ("1GiB, 1TiB", (GIB, 1024 * GIB))],
)
def test_node_memory(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_node_memory(text) == sizes


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "'' is no size"),
        ("5GB", "'5GB' is no size"),
        ("4GiB,", "'' is no size"),
        ("-1GiB", "'-1GiB' is no size"),
        ("1025MiB", "not a multiple of 128MiB"),
        ("512MiB,4GiB", "at least 1GiB"),
        (",".join(["1GiB"] * 9), "1 to 8 nodes"),
    ],
)
def test_bad_node_memory(text: str, what: str) -> None:
    with pytest.raises(LabError, match=what):
        parse_node_memory(text)


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a-", "a b", "a" * 64, "a\n", "ä"])
def test_bad_names(name: str) -> None:
    with pytest.raises(LabError, match="--name"):
        check_name(name)


def test_a_taken_port_is_left_alone() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = free_port(port)
        assert other != port
        assert not Access(other, Path("/key"), Path("/known")).answers(1.0)


def test_ssh_checks_the_host_key(tmp_path: Path) -> None:
    way = Access(2222, Path("/key"), tmp_path / "known hosts")
    way.write_known_hosts("ssh-ed25519 AAAA")
    assert way.known_hosts.read_text(encoding="ascii") == "[127.0.0.1]:2222 ssh-ed25519 AAAA\n"
    ssh = shutil.which("ssh")
    if ssh is None:
        pytest.skip("ssh is not installed")
    # -G: what ssh understood of it
    command = way.ssh()
    shown = subprocess.run(
        [command[0], "-G", *command[1:]], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    assert settings["stricthostkeychecking"] in ("true", "yes")
    assert settings["identitiesonly"] == "yes"
    assert settings["identityfile"] == "/key"
    assert (settings["user"], settings["hostname"], settings["port"]) == ("root", "127.0.0.1", "2222")
    assert settings["userknownhostsfile"].strip('"') == str(way.known_hosts)
