# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the boot service looks at before it makes a device: memory at each boot, all else with another kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.bench import faked
from ansible_collections.carveout.memory.plugins.module_utils._boot_check import (
    CHECKED,
    check_kernel,
    check_memory,
)
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._expectations import expectations, unmet
from ansible_collections.carveout.memory.plugins.module_utils._host.augeas_binding import open_augeas
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.tree import read_host
from ansible_collections.carveout.memory.plugins.module_utils._host_files import COMMITTED, VERIFIED
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

NEWER = "6.13.0-test"


class Host:
    """A tree with a layout carved, committed, and verified with the kernel that runs."""

    def __init__(self, tree: Path, layout: Layout) -> None:
        self.tree, self.layout = tree, layout
        self.system = faked.Tree(tree)

    def run(self, release: str) -> None:
        """Boot another kernel; nothing of the boot before is in /run."""
        (self.tree / "proc/sys/kernel/osrelease").write_text(f"{release}\n")
        shutil.rmtree(self.tree / "run", ignore_errors=True)

    def check(self) -> str:
        return check_kernel(self.system, self.layout)

    def iomem(self, line: str) -> None:
        path = self.tree / "proc/iomem"
        path.write_text(path.read_text() + line + "\n")


@pytest.fixture(scope="module")
def carved(tmp_path_factory: pytest.TempPathFactory) -> Host:
    if open_augeas() is None:
        pytest.skip("augeas is not installed")
    tree = tmp_path_factory.mktemp("carved")
    faked.write_machine(tree, (16, 16))
    return Host(tree, faked.carve(tree, faked.PLAN))


@pytest.fixture
def host(carved: Host, tmp_path: Path) -> Host:
    shutil.copytree(carved.tree, tmp_path / "host", symlinks=True)
    return Host(tmp_path / "host", carved.layout)


def test_the_kernel_that_it_was_verified_with_is_not_looked_at(host: Host) -> None:
    host.iomem("440000000-47fffffff : System RAM")
    assert host.check() == ""
    assert host.system.read(CHECKED) is None


def test_another_kernel_is_held_to_the_layout_once_a_boot(host: Host) -> None:
    host.run(NEWER)
    said = host.check()
    assert (
        f"the layout {host.layout.id} was verified with the kernel {faked.KERNEL}; with {NEWER}, which runs"
        in said
    )
    assert host.system.read(CHECKED) == f"{host.layout.id} {NEWER}\n"
    # the record for good is not the boot service's to write
    assert host.system.read(VERIFIED) == f"{host.layout.id} {faked.KERNEL}\n"
    host.iomem("440000000-47fffffff : System RAM")
    assert host.check() == ""
    # but by each boot, and each kernel, anew
    host.run(NEWER)
    with pytest.raises(NotPossible):
        host.check()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("iomem", r"pools.guests.nodes.1: the reservation .* is not clear of kernel memory: System RAM"),
        ("meminfo", r"kernel.memory: the kernel has .* \(MemTotal\), expected is"),
        ("cmdline", r"pools.guests.nodes.0: the argument memmap=.* is missing on the booted command line"),
        ("map", r"the memory map is not the predicted one: \[0x60000000, 0x64000000\) is not System RAM"),
    ],
)
def test_a_kernel_that_makes_something_else_of_it_gets_no_devices(host: Host, what: str, words: str) -> None:
    host.run(NEWER)
    if what == "iomem":
        host.iomem("440000000-47fffffff : System RAM")
    else:
        path = host.tree / f"proc/{'iomem' if what == 'map' else what}"
        text = path.read_text()
        if what == "meminfo":
            text = "MemTotal: 1000000 kB\n"
        elif what == "cmdline":
            text = text.replace(host.layout.kernel_arguments[2] + " ", "")
        else:
            before = "00100000-bfffffff : System RAM\n"
            assert before in text
            text = text.replace(before, "00100000-5fffffff : System RAM\n64000000-bfffffff : System RAM\n")
        path.write_text(text)
    with pytest.raises(NotPossible, match=words) as error:
        host.check()
    last = error.value.problems[-1].message
    assert (
        f"does not hold with {NEWER}, which runs: no device is made; boot the kernel {faked.KERNEL}" in last
    )
    assert "'carveout rollback'" in last
    assert host.system.read(CHECKED) is None


def test_a_layout_that_is_not_committed_is_left_to_the_run_that_boots_it(host: Host) -> None:
    host.run(NEWER)
    host.iomem("440000000-47fffffff : System RAM")
    host.system.remove(COMMITTED)
    assert host.check() == ""


def test_a_host_without_a_record_is_held_to_it_at_each_boot(host: Host) -> None:
    host.system.remove(VERIFIED)
    assert "was verified with no known kernel" in host.check()
    host.system.write(VERIFIED, f"{'0' * 16} {faked.KERNEL}\n")
    host.run(faked.KERNEL)
    assert "was verified with no known kernel" in host.check()


def test_memory_that_is_not_there_gets_no_devices_with_any_kernel(host: Host) -> None:
    check_memory(host.system, host.layout)
    (host.tree / "sys/firmware/memmap/4/end").write_text(f"{(20 << 30) - 1:#x}\n")
    with pytest.raises(NotPossible, match=r"pools.guests.nodes.1: .* is not RAM of node 1 any more") as error:
        check_memory(host.system, host.layout)
    assert "plan anew (the main job does), or go back with 'carveout rollback'" in str(error.value)
    (host.tree / "sys/firmware/memmap/4/end").write_text(f"{(33 << 30) - 1:#x}\n")
    check_memory(host.system, host.layout)


def test_a_snapshot_tells_the_record_and_a_verification_asks_for_it(host: Host) -> None:
    def wanted() -> list[str]:
        told = host_from_json(host_to_json(read_host(host.system, augeas=open_augeas())))
        return [e.message for e in unmet(expectations(host.layout, told, committed=True))]

    assert wanted() == []
    host.run(NEWER)
    assert wanted() == [
        f"pools: the layout was verified with the kernel {faked.KERNEL}, {NEWER} runs; the main job verifies it anew "
        "and records that"
    ]
    host.system.remove(VERIFIED)
    assert wanted()[0].startswith("pools: the layout was verified with no known kernel")
