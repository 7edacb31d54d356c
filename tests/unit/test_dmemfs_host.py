# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dmemfs on recorded hosts: what their snapshots tell, and how a layout is held against them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host, make_plan
from test_hugetlb import Tree, install

from ansible_collections.carveout.memory.plugins.module_utils._expect.dmemfs import dmemfs
from ansible_collections.carveout.memory.plugins.module_utils._expect.memory import memory
from ansible_collections.carveout.memory.plugins.module_utils._expect.reservations import reservations
from ansible_collections.carveout.memory.plugins.module_utils._host.dmemfs import parse_regions
from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host.tree import read_host
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import up_to_date
from ansible_collections.carveout.memory.plugins.module_utils._host_files import (
    TARGET_MOUNTS,
    known_files,
    mount_texts,
    unit_texts,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

CONFIG = {"CONFIG_DMEM": "y", "CONFIG_DMEM_FS": "y", "CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS": "y"}


class Recorded(RealSystem):
    """A captured host: its files below a folder, its log for who runs dmesg."""

    log = ""

    def run(self, argv: Sequence[str]) -> Completed:
        return Completed(0, self.log, "") if list(argv) == ["dmesg"] else Completed(127, "", "not there")


def captured(shared_data: Path, tmp_path: Path, args: str) -> Host:
    """A recorded host of 8 and 4 GiB, read as it would be when running."""
    every = json.loads((shared_data / "dmemfs_hosts.json").read_text())
    one = next(host for host in every if host["args"] == args)
    for name, text in one["files"].items():
        target = tmp_path / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    (tmp_path / "mnt").mkdir()
    system = Recorded(str(tmp_path))
    system.log = one["files"]["dmesg"]
    host = read_host(system, machine="x86_64")
    known = host_from_dmesg(system.log)
    return dataclasses.replace(host, node_ranges=known.node_ranges, kernel_config=CONFIG)


def unmet_of(layout: Layout, host: Host) -> list[str]:
    """Of what a recorded host can be judged by: it was booted without an ID and has no files of ours."""
    found = [*dmemfs(layout, host), *memory(layout, host), *reservations(layout, host)]
    assert [e for e in found if e.met]
    return [e.message for e in found if not e.met]


@pytest.fixture
def pool_of_two_gib(shared_data: Path, tmp_path: Path) -> tuple[Layout, Host]:
    host = captured(shared_data, tmp_path, "dmem=2G transparent_hugepage=never")
    clean = dataclasses.replace(host, cmdline="quiet")
    mount = {"path": "/mnt/x", "mode": "0750"}
    pool = {"mechanism": "dmemfs", "nodes": {"0": "2GiB", "1": "2GiB"}, "mount": mount}
    plan = make_plan("2GiB", {"files": pool}, policy={"transparent_huge_pages": "never"})
    layout = make_layout(plan, clean)
    assert layout.arguments == ("memmap=1G%0-77+78", "dmem=2G", "transparent_hugepage=never")
    mounted = {
        "path": "/mnt/x", "kind": "dmemfs", "page_size": 0, "size": None,
        "owner": "root", "group": "root", "mode": "0750",
    }  # fmt: skip
    assert [m["kind"] for m in host.state["mounts"]] == ["dmemfs"]
    return layout, dataclasses.replace(host, state={**host.state, "mounts": [mounted]})


def test_a_recorded_host_meets_its_plan(pool_of_two_gib: tuple[Layout, Host]) -> None:
    layout, host = pool_of_two_gib
    assert unmet_of(layout, host) == []
    assert host_from_json(json.loads(json.dumps(host_to_json(host)))) == host


def test_what_is_wrong_with_a_pool_is_found(pool_of_two_gib: tuple[Layout, Host]) -> None:
    layout, host = pool_of_two_gib

    def after(**changes: Any) -> list[str]:
        state = {**host.state, **{k: v for k, v in changes.items() if k in host.state}}
        inner = {k: v for k, v in changes.items() if k not in host.state}
        pool = {**state["dmemfs"]["pool"], **{k: v for k, v in inner.items() if k in state["dmemfs"]["pool"]}}
        rest = {k: v for k, v in inner.items() if k not in pool}
        state["dmemfs"] = {**state["dmemfs"], "pool": pool, **rest}
        return unmet_of(layout, dataclasses.replace(host, state=state))

    assert after(registered=0) == [
        "pools.files.mechanism: the dmem pool holds 0 B: it is empty, and a program that touches a file of it never "
        "gets on"
    ]
    assert after(log=[[0x1F8000000, 0x278000000, 0]]) == [
        "pools.files.nodes.1: the kernel says that [0x2f8000000, 0x378000000) on node 1 is not registered"
    ]
    assert after(log=[*host.state["dmemfs"]["log"], [1 << 40, 2 << 40, 1]]) == [
        "pools.files.mechanism: the kernel says that it registered [0x10000000000, 0x20000000000) on node 1, which is "
        "not the layout's"
    ]
    assert after(transparent_huge_pages="madvise") == [
        "policy.transparent_huge_pages: transparent huge pages are 'madvise', with which files of dmemfs cannot be "
        "touched, the plan says never"
    ]
    assert after(mounts=[]) == [
        r"pools.files.mount: no dmemfs is mounted at /mnt/x; 'systemctl status mnt-x.mount' tells why"
    ]
    assert after(page_size=4096)[0] == "pools.files.mount: /mnt/x has the page size 4KiB, the plan says 2MiB"
    assert after(pages={"0": 1024, "1": 1000}) == [
        "pools.files.nodes.1: node 1 has 2000MiB for files of /mnt/x, the plan says 2GiB"
    ]
    assert after(log=None) == []
    state = {**host.state, "dmemfs": {"pool": None, "log": None, "transparent_huge_pages": "never"}}
    assert unmet_of(layout, dataclasses.replace(host, state=state)) == [
        "pools.files.mechanism: the kernel 5.4.119-19 shows no trace of dmemfs: neither debugfs nor its log tells what "
        "dmem= came to"
    ]


def test_a_recorded_host_without_the_argument_meets_nothing(
    pool_of_two_gib: tuple[Layout, Host], shared_data: Path, tmp_path: Path
) -> None:
    """Its kernel has dmemfs mounted over an empty pool."""
    layout, _ = pool_of_two_gib
    without = captured(shared_data, tmp_path / "other", "")
    said = unmet_of(layout, without)
    assert any("it is empty, and a program that touches a file of it never gets on" in text for text in said)
    assert any("on node 1 the kernel has" in text for text in said)


def test_only_a_log_that_reaches_back_is_believed() -> None:
    line = "[0.1] dmem: register region [0x100000000 - 0x1c0000000] on node 0.\n"
    assert parse_regions(line) is None
    assert parse_regions("[0.0] dmem: pre-defined region: 93\n" + line) == [[4 * GIB, 7 * GIB, 0]]


def layout_with(mount: Any) -> Layout:
    host = make_host(
        [(0, 3 * GIB, 1), (4 * GIB, 12 * GIB, 1)], [(0, 0, 12 * GIB)],
        kernel_running="5.4.119", kernel_default="5.4.119", kernel_config=CONFIG,
    )  # fmt: skip
    pool = {"mechanism": "dmemfs", "nodes": {"0": "2GiB"}, "page_size": "1GiB", "mount": mount}
    return make_layout(make_plan("2GiB", {"files": pool}, policy={"transparent_huge_pages": "never"}), host)


def test_units_of_a_mount_come_change_and_go(tmp_path: Path) -> None:
    """dmemfs takes nothing but the page size: owner and mode are set behind the mount."""
    tree, units = Tree(tmp_path), tmp_path / "etc/systemd/system"
    assert install(tree, layout_with("/mnt/files")).unmount == ()
    unit = (units / "mnt-files.mount").read_text()
    assert "What=dmemfs\nWhere=/mnt/files\nType=dmemfs\nOptions=pagesize=1G,nosuid,nodev\n" in unit
    assert "Wants=carveout-dmemfs.service carveout-dmemfs-owner.service\n" in unit
    assert "After=carveout-dmemfs.service\nBefore=carveout.target\n" in unit
    module = (units / "carveout-dmemfs.service").read_text()
    assert "ExecStart=-/sbin/modprobe dmemfs\n" in module
    # else it comes after sysinit.target, and that after every mount: a cycle, which systemd breaks anywhere
    assert "DefaultDependencies=no\n" in module
    owner = (units / "carveout-dmemfs-owner.service").read_text()
    assert "ExecStart=/bin/chown -- root:root /mnt/files\nExecStart=/bin/chmod -- 0755 /mnt/files\n" in owner
    wants = (tmp_path / TARGET_MOUNTS.lstrip("/")).read_text()
    assert wants.endswith("[Unit]\nWants=mnt-files.mount\nWants=carveout-dmemfs-owner.service\n")

    other = layout_with({"path": "/mnt/files", "group": "kvm", "mode": "0770"})
    assert not up_to_date(known_files(tree), "0" * 64, other, None)
    assert install(tree, other).unmount == ("carveout-dmemfs-owner.service",)
    assert "chown -- root:kvm" in (units / "carveout-dmemfs-owner.service").read_text()

    without = layout_of_nothing()
    assert set(install(tree, without).unmount) == {
        "mnt-files.mount", "carveout-dmemfs.service", "carveout-dmemfs-owner.service"
    }  # fmt: skip
    assert not list(units.glob("*dmemfs*")) and not list(units.glob("*.mount"))


def layout_of_nothing() -> Layout:
    host = make_host([(0, 3 * GIB, 1), (4 * GIB, 12 * GIB, 1)], [(0, 0, 12 * GIB)])
    return make_layout(make_plan("2GiB", {"a": {"mechanism": "reserved", "nodes": {"0": "1GiB"}}}), host)


def test_units_are_in_an_order_that_systemd_can_keep(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    texts = {**unit_texts(), **mount_texts(layout_with("/mnt/files"))}
    units = {tmp_path / path.rpartition("/")[2]: text for path, text in texts.items() if ".d/" not in path}
    for unit, text in units.items():
        unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    assert "cycle" not in done.stderr, done.stderr
    assert not [line for line in done.stderr.splitlines() if "mnt-files" in line], done.stderr
