# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of ``python -m tests.tenant`` that need no lab: the tiny guest, and what is read of others' words."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout, Memory
from ansible_collections.carveout.memory.plugins.module_utils._mounts import HUGETLBFS, Mount
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.tenant_text import tenants_text
from tests.tenant import again, guest_memory, guests, host, live, payload

SEED, STEP, SIZE = 0x5EED1234, 4096, 32 * MIB
BOARD = (
    "-machine",
    "pc,usb=off,vmport=off",
    "-nodefaults",
    "-no-user-config",
    "-vga",
    "none",
    "-display",
    "none",
)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, payload.Report]:
    """The memory of a guest that was, and what it said."""
    folder = tmp_path_factory.mktemp("guest")
    memory, image = folder / "memory", folder / "payload"
    image.write_bytes(payload.image(SEED, STEP))
    memory.touch()
    backend = f"memory-backend-file,id=memory,mem-path={memory},size={SIZE},share=on"
    words = ["qemu-system-x86_64", "-accel", "tcg", *BOARD, "-m", f"{SIZE // MIB}M", "-object", backend]
    words += ["-machine", "memory-backend=memory", "-serial", "stdio", "-kernel", str(image)]
    words += ["-device", f"isa-debug-exit,iobase={payload.EXIT_PORT},iosize=1"]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr
    return memory, payload.read_report(done.stdout)


def test_the_guest_reports_its_memory_and_leaves_its_words_in_it(guest: tuple[Path, payload.Report]) -> None:
    memory, report = guest
    assert report.wrong == 0
    assert SIZE - MIB <= report.end <= SIZE
    data = memory.read_bytes()
    for address in range(payload.FIRST, report.end, STEP):
        assert int.from_bytes(data[address : address + 4], "little") == payload.word(address, SEED)


@pytest.mark.parametrize("damaged", [0, 1])
def test_the_host_finds_the_words_that_are_right_and_those_that_are_not(
    guest: tuple[Path, payload.Report], tmp_path: Path, damaged: int
) -> None:
    memory, report = guest
    copy = tmp_path / "copy"
    data = bytearray(memory.read_bytes())
    data[payload.FIRST + STEP] ^= damaged
    copy.write_bytes(data)
    with copy.open("r+b") as file:
        numbers = [*map(str, (SEED, payload.FIRST, report.end, STEP))]
        words = [sys.executable, guest_memory.__file__, "self", str(copy), str(SIZE), "words", *numbers]
        done = subprocess.run(words, capture_output=True, text=True, pass_fds=[file.fileno()], check=True)
    count = (report.end - payload.FIRST) // STEP
    assert json.loads(done.stdout) == {"compared": count, "wrong": damaged}


def test_a_silent_guest_is_no_report() -> None:
    with pytest.raises(ValueError, match="the guest said nothing to be understood: 'SeaBIOS"):
        payload.read_report("SeaBIOS (version 1.16)\n")


def test_the_options_are_taken_from_what_is_printed() -> None:
    device = Device("vm-a", "guests", 0, GIB, (Range(8 * GIB, 10 * GIB),), "pools.guests.devices[0]")
    mount = Mount("pages", HUGETLBFS, "/mnt/pages", 2 * MIB, 64 * MIB)
    layout = Layout({}, "6.12", ("a=1",), (), (device,), (), Memory(), {})
    one, two = guests.uses(tenants_text(dataclasses.replace(layout, mounts=(mount,))))
    assert (one.name, one.path, one.size) == ("vm-a", "/dev/carveout/vm-a", 2 * GIB)
    assert one.options[:2] == ("-m", "2048M") and one.options[-1] == "memory-backend=vm-a"
    assert (two.name, two.path, two.size) == ("/mnt/pages", "/mnt/pages", 64 * MIB)


def test_kexec_is_called_as_documented() -> None:
    lines = again.documented_lines()
    assert lines.startswith("line=$(cat /proc/cmdline)\n") and lines.endswith("\nsystemctl kexec\n")
    assert "kexec -s -l " in lines


def test_a_changed_plan_keeps_what_it_does_not_name() -> None:
    devices = {device["name"]: device for device in host.lab_plan()["pools"]["guests"]["devices"]}
    made = live.plan(
        {"name": "vm-e", "node": 1, "size": "1GiB"}, {"name": "vm-x", "size": "2MiB"}, without=("vm-d",)
    )
    changed = {device["name"]: device for device in made["pools"]["guests"]["devices"]}
    assert sorted(changed) == ["vm-a", "vm-b", "vm-c", "vm-e", "vm-x"]
    assert changed["vm-a"] == devices["vm-a"] and changed["vm-e"]["size"] == "1GiB" != devices["vm-e"]["size"]
