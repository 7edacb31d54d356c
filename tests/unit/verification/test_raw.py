# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Raw reads: the command really runs in a shell, and each check notices what it is for."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._mounts import Mount
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.raw import (
    TOUCH,
    Raw,
    Resource,
    parse_raw,
    raw_command,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.raw_checks import (
    check_command_line,
    check_device_files,
    check_memory_map,
    check_own_files,
    check_total,
    check_touched,
)

GIB = 1 << 30


def raw_text(carved: dict[str, Any]) -> str:
    """What the command prints on the carved host."""
    state = carved["state"]
    devices = {d["name"]: d for region in state["dax"]["regions"] for d in region["devices"]}
    lines = ["==> /proc/cmdline <==", carved["cmdline"], "", "==> /proc/iomem <=="]
    lines += [f"{'  ' * depth}{s:08x}-{e - 1:08x} : {name}" for s, e, name, depth in state["iomem"]]
    lines += ["", "==> /proc/meminfo <==", f"MemTotal:       {state['meminfo']['MemTotal'] >> 10} kB"]
    lines += ["MemFree:          1000 kB", "==> device files <=="]
    for name, target in state["links"].items():
        device = devices[target.removeprefix("/dev/")]
        kind = "character special file"
        lines.append(f"{name}|{target}|{kind}|{device['mode'][1:]}|{device['owner']}|{device['group']}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def raw(carved: dict[str, Any]) -> Raw:
    return parse_raw(raw_text(carved))


def test_a_carved_host_passes_every_raw_check(layout: Layout, raw: Raw) -> None:
    assert check_command_line(layout, raw) == []
    assert check_memory_map(layout, raw) == []
    assert check_total(layout, raw) == []
    assert check_device_files(layout, raw) == []
    assert check_own_files(layout, raw) == []
    assert len(raw.iomem) > 10
    assert raw.mem_total == (4 * GIB >> 10) - 168 * 1024


def test_the_command_runs_and_its_output_is_understood() -> None:
    done = subprocess.run(
        ["sh", "-c", raw_command(["no-such-device"])], capture_output=True, text=True, check=True
    )
    found = parse_raw(done.stdout)
    with open("/proc/cmdline", encoding="utf-8") as file:
        assert found.cmdline == file.read().strip()
    assert found.mem_total > 0
    assert found.iomem
    assert found.files["no-such-device"].target in ("", "/dev/carveout/no-such-device")
    assert "No such file" in found.files["no-such-device"].kind


def test_what_others_than_root_may_write_of_ours(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "etc/carveout/layouts").mkdir(parents=True)
    (tmp_path / "etc/carveout/committed").write_text("x")
    (tmp_path / "etc/carveout/fine").symlink_to("committed")
    (tmp_path / "etc/carveout").chmod(0o755)
    (tmp_path / "etc/carveout/committed").chmod(0o646)
    (tmp_path / "etc/carveout/layouts").chmod(0o775)

    def writable() -> tuple[str, ...]:
        command = (
            raw_command([]).replace("/etc/", f"{tmp_path}/etc/").replace("/usr/lib/", f"{tmp_path}/usr/")
        )
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        return tuple(sorted(path.removeprefix(str(tmp_path)) for path in parse_raw(done.stdout).writable))

    mine = ("/etc/carveout", "/etc/carveout/committed", "/etc/carveout/layouts")
    assert writable() == (mine[1:] if os.geteuid() == 0 else mine)
    if os.geteuid() == 0:
        (tmp_path / "etc/carveout/committed").chmod(0o644)
        os.chown(tmp_path / "etc/carveout/layouts", 1, 0)
        (tmp_path / "etc/carveout/layouts").chmod(0o755)
        assert writable() == ("/etc/carveout/layouts",)
    (message,) = check_own_files(layout, parse_raw("==> writable files <==\n/etc/carveout/committed\n"))
    assert message.startswith("files: raw find: others than root can write /etc/carveout/committed, which")


def test_no_devices_need_no_loop() -> None:
    assert "for link" not in raw_command([])


def test_the_command_line_is_compared_as_text(layout: Layout, raw: Raw) -> None:
    run = " ".join(layout.kernel_arguments)
    assert check_command_line(layout, raw._replace(cmdline=f"{run}")) == []
    for wrong in (run.replace(" ", "  ", 1), run + "x", f"x{run}", run.rpartition(" ")[0], ""):
        (message,) = check_command_line(layout, raw._replace(cmdline=wrong))
        assert message.startswith("pools: raw /proc/cmdline does not hold the plan's arguments")


def test_the_line_may_name_another_layout_where_the_host_notes_this_one(layout: Layout, raw: Raw) -> None:
    other = raw.cmdline.replace(layout.id, "0123456789abcdef")
    assert len(check_command_line(layout, raw._replace(cmdline=other))) == 1
    assert len(check_command_line(layout, raw._replace(cmdline=other, noted="0" * 16))) == 1
    assert check_command_line(layout, raw._replace(cmdline=other, noted=layout.id)) == []
    assert len(check_command_line(layout, raw._replace(cmdline=other + "x", noted=layout.id))) == 1


def test_ram_in_a_reservation_is_seen_at_its_very_edges(layout: Layout, raw: Raw) -> None:
    for first, last in ((4 * GIB - 1, 4 * GIB), (6 * GIB - 1, 6 * GIB - 1), (3 * GIB, 7 * GIB)):
        lines = (*raw.iomem, Resource(first, last, "System RAM (kmem)"))
        assert any(
            text.startswith("pools.guests.nodes.0: raw /proc/iomem has 'System RAM (kmem)'")
            for text in check_memory_map(layout, raw._replace(iomem=lines))
        )
    outside = (*raw.iomem, Resource(4 * GIB - 4096, 4 * GIB - 1, "System RAM"))
    assert check_memory_map(layout, raw._replace(iomem=outside)) == []


def test_a_device_without_its_line_has_no_driver_or_other_extents(layout: Layout, raw: Raw) -> None:
    gone = tuple(line for line in raw.iomem if line.name != "dax1.1")
    assert check_memory_map(layout, raw._replace(iomem=gone)) == [
        "pools.guests.devices[2]: raw /proc/iomem has nothing for the device vm-c (dax1.1), the plan says "
        "[0x190000000, 0x1a0000000) [0x1c0000000, 0x1d0000000)"
    ]


def test_zeros_are_what_other_users_see(layout: Layout, raw: Raw) -> None:
    hidden = tuple(Resource(0, 0, line.name) for line in raw.iomem)
    assert check_memory_map(layout, raw._replace(iomem=hidden)) == [
        "pools: raw /proc/iomem shows no addresses, it was not read as root"
    ]


@pytest.mark.parametrize("total", [GIB >> 10, 5 * GIB >> 10, 0])
def test_a_total_out_of_bounds(layout: Layout, raw: Raw, total: int) -> None:
    (message,) = check_total(layout, raw._replace(mem_total=total))
    assert message.startswith(
        f"kernel.memory: raw /proc/meminfo has a MemTotal of {total >> 10} MiB, expected are "
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vm-a|/dev/dax0.1|", "vm-a|/dev/carveout/vm-a|", "/dev/carveout/vm-a does not lead to a device /dev/dax*"),
        ("|660|", "|666|", "raw stat: /dev/carveout/vm-a has the mode 0666, the plan says 0660"),
        ("|nobody|", "|root|", "raw stat: /dev/carveout/vm-a has the owner root, the plan says nobody"),
        ("|daemon", "|root", "raw stat: /dev/carveout/vm-a has the group root, the plan says daemon"),
        ("dax0.1|character special", "dax0.1|regular", "/dev/carveout/vm-a is no character device but: regular file"),
    ],
)  # fmt: skip
def test_device_files(layout: Layout, carved: dict[str, Any], old: str, new: str, message: str) -> None:
    text = raw_text(carved)
    assert old in text
    (found,) = check_device_files(layout, parse_raw(text.replace(old, new)))
    assert found.startswith("pools.guests.devices[0]: ")
    assert message in found


def test_memory_that_the_plan_gives_back_is_no_ram_in_a_reservation(layout: Layout, raw: Raw) -> None:
    devices = tuple(
        dataclasses.replace(d, use="system-ram", online="movable") if d.name == "vm-c" else d
        for d in layout.devices
    )
    changed = dataclasses.replace(layout, devices=devices)
    given = next(d for d in devices if d.name == "vm-c")
    ram = tuple(Resource(e.start, e.end - 1, "System RAM (kmem)") for e in given.extents)
    files = {name: file for name, file in raw.files.items() if name != "vm-c"}
    host = raw._replace(iomem=raw.iomem + ram, files=files, mem_total=raw.mem_total + (given.size >> 10))
    assert check_memory_map(changed, host) == [] and check_total(changed, host) == []
    assert check_device_files(changed, host) == []
    assert len(check_memory_map(layout, host)) > 1 and check_total(layout, host)
    (message,) = check_device_files(changed, host._replace(files=raw.files))
    assert "/dev/carveout/vm-c is there" in message


MAGIC = "2ace90c6"


@pytest.mark.parametrize(
    ("kind", "pool", "said"),
    [
        (MAGIC, {"registered_pages": "512", "free_dpages": "3"}, "touched"),
        (MAGIC, {}, "touched"),
        (MAGIC, {"registered_pages": "0", "free_dpages": "0"}, "empty"),
        (MAGIC, {"registered_pages": "512", "free_dpages": "0"}, "full"),
        ("ef53", {"registered_pages": "512", "free_dpages": "3"}, "no dmemfs is mounted"),
    ],
)
def test_a_file_is_touched_unless_the_pool_is_empty(
    tmp_path: Path, kind: str, pool: dict[str, str], said: str
) -> None:
    """The real command over a folder that stands in for a mount, with a stat that says what it is."""
    files, tools, state = (tmp_path / name for name in ("my files", "bin", "pool"))
    for folder in (files, tools, state):
        folder.mkdir()
    (tools / "stat").write_text(f"#!/bin/sh\necho {kind}\n")
    (tools / "stat").chmod(0o755)
    for name, text in pool.items():
        (state / name).write_text(text + "\n")
    command = raw_command([], [(str(files), 2 << 20)]).replace("/sys/kernel/debug/dmem", str(state))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=environment)
    assert parse_raw(done.stdout).touched == {str(files): said}
    assert list(files.iterdir()) == []


def test_a_file_that_cannot_be_touched_is_told(tmp_path: Path, layout: Layout, raw: Raw) -> None:
    mount = Mount("guests", "dmemfs", "/mnt/guests", 2 << 20, GIB)
    mounted = dataclasses.replace(layout, mounts=(mount,))
    for said, wrong in (("touched", ""), ("full", ""), ("empty", "the pool is empty"), ("SIGBUS", "SIGBUS")):
        found = check_touched(mounted, raw._replace(touched={"/mnt/guests": said}))
        assert found == (
            [f"pools.guests.mount: a file of /mnt/guests cannot be used: {wrong}"] if wrong else []
        )
    assert check_touched(mounted, raw) == [
        "pools.guests.mount: a file of /mnt/guests cannot be used: not tried"
    ]
    # a program that gets no memory says nothing: the folder is not there any more
    done = subprocess.run(
        ["python3", "-c", TOUCH, str(tmp_path / "gone"), "4096"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "touched" not in done.stdout
