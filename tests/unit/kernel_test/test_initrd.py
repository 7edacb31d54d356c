# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The initrd: a cpio archive that other programs read, and a script that a shell accepts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.tests.kernel.initrd import Entry, build, init_script, newc


def test_newc_is_aligned_and_ends() -> None:
    archive = newc([Entry("d", None, 0o755), Entry("d/file", b"12345", 0o644)])
    assert archive.startswith(b"070701")
    assert archive.count(b"070701") == 3
    assert len(archive) % 4 == 0
    assert b"TRAILER!!!\0" in archive


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio here to read the archive with")
def test_cpio_reads_what_was_built(tmp_path: Path) -> None:
    archive = build(b"a busybox", {"dax_hmem": b"a module", "kmem": b"x" * 4097}, "#!/bin/busybox sh\n")
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "bin/busybox").read_bytes() == b"a busybox"
    assert (tmp_path / "modules/kmem.ko").read_bytes() == b"x" * 4097
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "proc").is_dir()


def test_script_is_shell_and_loads_in_order() -> None:
    script = init_script(["device_dax", "dax_hmem region_idle=1"], ["/proc/interrupts"], "echo hello")
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    loads = [line for line in script.splitlines() if line.startswith("insmod")]
    assert loads == ["insmod /modules/device_dax.ko", "insmod /modules/dax_hmem.ko region_idle=1"]
    assert " /proc/interrupts " in script
    assert script.index("section iomem;") < script.index("insmod") < script.index("section iomem-after")
