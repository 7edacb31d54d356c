# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The recording of a disk's writes, as QEMU makes it, and the disk after some of them."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.powercut.writes import Disk, Recording, Write


def recorded(folder: Path, *commands: str) -> Recording:
    """What QEMU records of these commands of qemu-io on a disk of 1 MiB."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    (folder / "disk").write_bytes(bytes(1 << 20))
    (folder / "log").write_bytes(b"")
    monitor = [{"execute": "qmp_capabilities"}]
    for command in commands:
        line = f'qemu-io disk0 "{command}"'
        monitor.append({"execute": "human-monitor-command", "arguments": {"command-line": line}})  # type: ignore[dict-item]
    monitor.append({"execute": "quit"})
    drive = (
        f"if=none,id=disk0,driver=blklogwrites,cache=writeback,log-super-update-interval=1,file.driver=raw"
        f",file.file.driver=file,file.file.filename={folder}/disk,log.driver=file,log.filename={folder}/log"
    )
    subprocess.run(
        [qemu, "-M", "none", "-display", "none", "-qmp", "stdio", "-drive", drive],
        input="".join(map(json.dumps, monitor)).encode(), capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return Recording(folder / "log")


def test_what_qemu_recorded_is_read_back(tmp_path: Path) -> None:
    recording = recorded(tmp_path, "write -P 5 4096 512", "write -P 6 8192 1024", "flush", "write -P 7 0 512")
    writes = [write for write in recording.writes if write.size]
    assert [(write.start, write.size) for write in writes] == [(4096, 512), (8192, 1024), (0, 512)]
    assert [set(recording.data(write)) for write in writes] == [{5}, {6}, {7}]
    flushes = [index for index, write in enumerate(recording.writes) if write.flush]
    assert flushes
    assert flushes[0] == 2
    disk = Disk(tmp_path / "again")
    for write in writes:
        disk.apply(write, recording.data(write))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "disk").read_bytes()[: 8192 + 1024]


def test_what_was_not_flushed_may_be_lost_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"\0" * 4)
    disk = Disk(path)
    disk.apply(Write(0, 1, 0, False), b"f")
    disk.flush()
    for place, data in ((0, b"a"), (1, b"b"), (0, b"c")):
        disk.apply(Write(place, 1, 0, False), data)
    seen = set()
    chance = random.Random(1)
    for _ in range(100):
        with disk.some(chance):
            seen.add(path.read_bytes())
        assert path.read_bytes() == b"cb\0\0"
    assert seen == {a + b + b"\0\0" for a in (b"f", b"a", b"c") for b in (b"\0", b"b")}


def test_something_else_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(512))
    with pytest.raises(ValueError, match="no recording"):
        Recording(tmp_path / "log")
