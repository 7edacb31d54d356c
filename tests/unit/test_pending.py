# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run is told before it looks any closer; with a boot loader and whole hosts in test_fleet_calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._host_files import layout_path, layout_text
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout, Memory
from ansible_collections.carveout.memory.plugins.module_utils._mounts import DMEMFS, HUGETLBFS, Mount
from ansible_collections.carveout.memory.plugins.module_utils._pending import pending
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem

MOUNTS = (Mount("a", HUGETLBFS, "/mnt/a", 2 << 20, 4 << 20), Mount("b", DMEMFS, "/mnt/b", 2 << 20, 4 << 20))
LAYOUT = Layout(
    plan={"version": 1}, kernel="6.12", arguments=(), reservations=(), devices=(), predicted_map=(),
    memory=Memory(), memory_nodes={}, mounts=MOUNTS,
)  # fmt: skip


class Tree(RealSystem):
    """A host below a directory, with a word of systemd's for each unit."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.states = {
            "mnt-a.mount": "active",
            "mnt-b.mount": "active",
            "carveout-dmemfs-owner.service": "active",
        }

    def run(self, argv: Sequence[str]) -> Completed:
        assert list(argv[:2]) == ["systemctl", "is-active"]
        said = [self.states[unit] for unit in argv[2:]]
        return Completed(0 if "active" in said else 3, "".join(f"{word}\n" for word in said), "")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    path = tmp_path / layout_path(LAYOUT.id).lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_text(layout_text(LAYOUT))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("ro quiet\n")
    return Tree(tmp_path)


def told(tree: Tree, layout_id: str | None = LAYOUT.id) -> list[str]:
    return pending(tree, None, read_loader(tree, None), layout_id)


def test_nothing_is_to_be_done(tree: Tree) -> None:
    assert told(tree) == []


@pytest.mark.parametrize("unit", ["mnt-a.mount", "mnt-b.mount", "carveout-dmemfs-owner.service"])
def test_each_mount_has_to_be_there(tree: Tree, unit: str) -> None:
    tree.states[unit] = "inactive"
    assert told(tree) == [f"start {unit}"]


def test_what_cannot_be_told_is_something_to_do(tree: Tree, tmp_path: Path) -> None:
    assert told(tree, None) == ["commit a layout"]
    assert "does not exist" in told(tree, "0" * 16)[0]
    path = tmp_path / layout_path(LAYOUT.id).lstrip("/")
    path.write_text(json.dumps(replace(LAYOUT, kernel="6.13").to_json()))
    assert "holds another layout" in told(tree)[0]
    path.write_text("{")
    assert "is not JSON" in told(tree)[0]


def test_arguments_need_the_library_that_writes_them(tree: Tree, tmp_path: Path) -> None:
    carved = replace(LAYOUT, arguments=("memmap=1G%5G-1+2",), mounts=())
    (tmp_path / layout_path(carved.id).lstrip("/")).write_text(layout_text(carved))
    assert told(tree, carved.id) == ["install python3-augeas"]


def test_the_kernel_that_the_plan_names_has_to_be_there_with_dmemfs(tree: Tree, tmp_path: Path) -> None:
    loader = read_loader(tree, None)
    wanted = ["install the kernel 5.4.119-1"]
    assert pending(tree, None, loader, LAYOUT.id, "5.4.119-1") == wanted
    for path, text in (
        ("boot/vmlinuz-5.4.119-1", ""),
        ("lib/modules/5.4.119-1/modules.dep", ""),
        ("boot/config-5.4.119-1", "# CONFIG_DMEM is not set\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert pending(tree, None, loader, LAYOUT.id, "5.4.119-1") == wanted
    (tmp_path / "boot/config-5.4.119-1").write_text("CONFIG_DMEM=y\nCONFIG_DMEM_FS=m\n")
    assert pending(tree, None, loader, LAYOUT.id, "5.4.119-1") == []
