# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pools of huge pages: what a plan may say, what the kernel is told, the accounts, the mounts, the verification."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._expect.hugepages import hugepages
from ansible_collections.carveout.memory.plugins.module_utils._host.files import Reader
from ansible_collections.carveout.memory.plugins.module_utils._host.hugetlb import (
    read_mounts,
    read_pages,
    read_vmemmap,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.model import ForeignArgument, Host
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import (
    apply_absent,
    apply_present,
    plan_absent,
    plan_present,
    up_to_date,
)
from ansible_collections.carveout.memory.plugins.module_utils._host_files import TARGET_MOUNTS, known_files
from ansible_collections.carveout.memory.plugins.module_utils._layout import HugePages, Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import predict
from ansible_collections.carveout.memory.plugins.module_utils._mounts import Mount, unit_name
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem, Stat
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text

HOST = make_host(
    [(0, 3 * GIB, 1), (4 * GIB, 20 * GIB, 1)],
    [(0, 0, 3 * GIB), (0, 4 * GIB, 12 * GIB), (1, 12 * GIB, 20 * GIB)],
)


def pool(**more: Any) -> dict[str, Any]:
    return {"mechanism": "hugetlb", "nodes": {"1": "512MiB"}, **more}


def layout_of(
    pools: dict[str, Any], host: Host = HOST, kernel: Any = "2GiB", previous: Layout | None = None
) -> Layout:
    return make_layout(make_plan(kernel, pools), host, previous)


def refused(pools: dict[str, Any], host: Host = HOST, kernel: Any = "2GiB") -> CarveoutError:
    with pytest.raises(CarveoutError) as caught:
        layout_of(pools, host, kernel)
    return caught.value


@pytest.mark.parametrize(
    ("more", "path", "code", "words"),
    [
        ({"page_size": "4KiB"}, "page_size", "align-invalid", "use 2MiB or 1GiB"),
        ({"nodes": {"1": "rest"}}, "nodes.1", "size-invalid", "give a size"),
        ({"nodes": {"1": "3MiB"}}, "nodes.1", "misaligned", "nearest are 2MiB or 4MiB"),
        ({"nodes": {"1": "1MiB"}}, "nodes.1", "misaligned", "nearest is 2MiB"),
        ({"nodes": {"1": 0}}, "nodes.1", "size-invalid", "more than 0"),
        ({"align": "2MiB"}, "align", "key-of-others", "page_size"),
        ({"devices": []}, "devices", "key-of-others", "has no devices"),
        ({"mounts": [{"path": "mnt"}]}, "mounts[0].path", "mount-path", "absolute path"),
        ({"mounts": [{"path": "/mnt/"}]}, "mounts[0].path", "mount-path", "without a slash"),
        ({"mounts": [{"path": "/mnt/a/../b"}]}, "mounts[0].path", "mount-path", "'..'"),
        ({"mounts": [{"path": "/mnt/a b"}]}, "mounts[0].path", "mount-path", "absolute path"),
        ({"mounts": [{"path": "/usr/pages"}]}, "mounts[0].path", "mount-path", "the system's own"),
        ({"mounts": [{"path": "/run"}]}, "mounts[0].path", "mount-path", "the system's own"),
        ({"mounts": [{"path": "/mnt/a", "size": "1MiB"}]}, "mounts[0].size", "misaligned", "nearest is 2MiB"),
        ({"mounts": [{"path": "/mnt/a", "mode": "0666", "owner": "Bob"}]}, "mounts[0].owner", "value", "account name"),
        (
            {"mounts": [{"path": "/mnt/a", "size": "2MiB"}, {"path": "/mnt/a/b", "size": "2MiB"}]},
            "mounts[1].path", "mount-path", "is mounted at /mnt/a",
        ),
    ],
)  # fmt: skip
def test_plans_that_are_refused(more: dict[str, Any], path: str, code: str, words: str) -> None:
    error = refused({"pages": pool(**more)})
    assert isinstance(error, InvalidInput)
    (problem,) = error.problems
    assert (problem.path, problem.code) == (f"pools.pages.{path}", code)
    assert words in problem.message


def test_keys_of_huge_pages_mean_nothing_elsewhere() -> None:
    error = refused({"a": {"mechanism": "reserved", "nodes": {"1": "1GiB"}, "optimize_vmemmap": True}})
    assert [p.path for p in error.problems] == ["pools.a.optimize_vmemmap"]


def test_arguments_pages_and_accounts() -> None:
    layout = layout_of(
        {
            "guests": {"mechanism": "dax", "nodes": {"0": "4GiB"}, "align": "1GiB"},
            "large": pool(page_size="1GiB", nodes={"0": "1GiB", "1": "3GiB"}, optimize_vmemmap=True),
            "small": pool(nodes={"1": "512MiB"}),
            "more": pool(nodes={"1": "256MiB"}),
        }
    )
    assert layout.arguments == (
        "memmap=4G%4G-1+0xefffffff", "hugepagesz=1G", "hugepages=0:1,1:3", "hugepagesz=2M", "hugepages=1:384",
        "hugetlb_free_vmemmap=on", "dax_hmem.region_idle=1",
    )  # fmt: skip
    assert layout.hugepages == (
        HugePages("large", 0, GIB, 1), HugePages("large", 1, GIB, 3), HugePages("more", 1, 2 * MIB, 128),
        HugePages("small", 1, 2 * MIB, 256),
    )  # fmt: skip
    prediction = predict(HOST, layout.kernel_arguments)
    assert prediction.hugepages == {0: {2 * MIB: 0, GIB: 1}, 1: {2 * MIB: 384, GIB: 3}}
    # huge pages are of the kernel's RAM; of each, all but one page of its struct pages comes back
    assert layout.memory_nodes[1].kernel_after == 8 * GIB
    assert layout.memory_nodes[1].saved == (3 * 4095 + 384 * 7) * 4096
    # 4 GiB give back 64 MiB, one huge page of 1 GiB 4095 of 4096 pages; the 1 GiB pages of DAX have no device
    assert layout.memory_nodes[0].saved == 64 * MIB + 4095 * 4096
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
    assert "hugetlb-vmemmap" in [w.code for w in layout.warnings]
    text = layout_text(HOST, layout)
    assert "  large          hugetlb   node 1        3GiB  3 of 1GiB" in text.splitlines()


def test_a_plan_of_nothing_but_huge_pages() -> None:
    layout = layout_of({"pages": pool(nodes={"1": "25%"})})
    assert not layout.reservations
    assert layout.arguments == ("hugepagesz=2M", "hugepages=1:1024")
    assert layout.memory.saved == 0
    assert "Reservations" not in layout_text(HOST, layout)
    assert layout_of({"pages": pool(nodes={"1": "25%"})}, previous=layout) is layout


def test_pools_of_ranges_leave_room_for_the_pages() -> None:
    pools = {"a": {"mechanism": "reserved", "nodes": {"1": "rest"}}, "pages": pool(nodes={"1": "1GiB"})}
    layout = layout_of(pools)
    assert sum(r.range.size for r in layout.reservations) == 5 * GIB
    error = refused({**pools, "a": {"mechanism": "reserved", "nodes": {"1": "6GiB"}}})
    assert "largest possible size is 5GiB" in str(error) and "1GiB for huge pages" in str(error)
    assert "kernel.memory: 1GiB" in str(error)


@pytest.mark.parametrize(
    ("pools", "kernel", "path", "code"),
    [
        ({"pages": pool(nodes={"1": "7GiB"})}, "2GiB", "pools.pages.nodes.1", "does-not-fit"),
        ({"pages": pool(nodes={"1": "8GiB"})}, 0, "pools.pages.nodes.1", "hugepages-unsure"),
        # seven of eight whole GiB: struct pages and the kernel itself break some
        ({"pages": pool(page_size="1GiB", nodes={"1": "7GiB"})}, "1GiB", "pools.pages.nodes.1", "hugepages-unsure"),
        ({"pages": pool(nodes={"2": "1GiB"})}, "1GiB", "pools.pages.nodes.2", "node-unknown"),
        ({"pages": pool(nodes={"1": "0.01%"})}, "1GiB", "pools.pages.nodes.1", "size-invalid"),
        (
            {"pages": pool(mounts=[{"path": "/mnt/a"}, {"path": "/mnt/b", "size": "2MiB"}])},
            "1GiB", "pools.pages.mounts", "mounts-too-large",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit(pools: dict[str, Any], kernel: Any, path: str, code: str) -> None:
    error = refused(pools, kernel=kernel)
    assert isinstance(error, NotPossible)
    assert [(p.path, p.code) for p in error.problems] == [(path, code)]


def test_fewer_whole_gib_than_asked_for() -> None:
    """What is left of node 1 beside another pool begins and ends inside of a GiB."""
    broken = make_host(
        [(0, 3 * GIB, 1), *((n * GIB + 512 * MIB, n * GIB + 1536 * MIB, 1) for n in range(12, 18))],
        [(0, 0, 3 * GIB), (1, 12 * GIB, 20 * GIB)],
    )
    broken = dataclasses.replace(broken, firmware_map=tuple(
        entry._replace(end=entry.end - 1 * MIB) if entry.start >= 12 * GIB else entry for entry in broken.firmware_map
    ))  # fmt: skip
    error = refused({"pages": pool(page_size="1GiB", nodes={"1": "2GiB"})}, broken, {"0": "1GiB", "1": 0})
    assert [p.code for p in error.problems][:1] == ["hugepages-differ"]
    assert "instead of 2" in str(error)


@pytest.mark.parametrize(
    "argument", ["hugepages=5", "hugepagesz=1G", "default_hugepagesz=1G", "hugetlb_cma=1G"]
)
def test_arguments_of_others_are_named(argument: str) -> None:
    host = dataclasses.replace(
        HOST, cmdline=f"quiet {argument}", foreign=(ForeignArgument(argument, "/etc/default/grub", 7),)
    )
    (problem,) = refused({"pages": pool()}, host).problems
    assert problem.code == "foreign-hugepages"
    assert argument in problem.message and "/etc/default/grub, line 7" in problem.message
    assert layout_of({"a": {"mechanism": "reserved", "nodes": {"1": "1GiB"}}}, host).reservations


def test_older_kernels_take_one_number() -> None:
    old = dataclasses.replace(HOST, kernel_running="5.10.0", kernel_default="5.10.0")
    even = layout_of({"pages": pool(nodes={"0": "512MiB", "1": "512MiB"})}, old)
    assert even.arguments == ("hugepagesz=2M", "hugepages=512")
    (problem,) = refused({"pages": pool()}, old).problems
    assert (problem.code, problem.path) == ("kernel-too-old", "pools.pages.nodes.1")
    assert "5.16 or newer" in problem.message
    (problem,) = refused({"pages": pool(optimize_vmemmap=True)}, old).problems
    assert (problem.code, problem.path) == ("kernel-too-old", "pools.pages.optimize_vmemmap")
    # a newer kernel makes the same pages of the same arguments: no reason to boot anew
    newer = dataclasses.replace(HOST, layouts={even.id: even.to_json()})
    assert layout_of({"pages": pool(nodes={"0": "512MiB", "1": "512MiB"})}, newer, previous=even) is even


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("CONFIG_HUGETLBFS", "pools.pages.mechanism"),
        ("CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP", "pools.pages.optimize_vmemmap"),
    ],
)
def test_kernels_built_without_it(option: str, path: str) -> None:
    host = dataclasses.replace(HOST, kernel_config={option: "n"})
    (problem,) = refused({"pages": pool(optimize_vmemmap=True)}, host).problems
    assert (problem.path, problem.code) == (path, "kernel-config")


MOUNTS = [
    {"path": "/mnt/my-pages", "size": "256MiB", "owner": "nobody", "group": "kvm", "mode": "0770"},
    {"path": "/dev/pages", "size": "128MiB"},
]


def test_mounts_are_kept_and_changes_of_them_noticed() -> None:
    layout = layout_of({"pages": pool(mounts=MOUNTS)})
    assert layout.mounts == (
        Mount("pages", "hugetlbfs", "/mnt/my-pages", 2 * MIB, 256 * MIB, "nobody", "kvm", "0770"),
        Mount("pages", "hugetlbfs", "/dev/pages", 2 * MIB, 128 * MIB),
    )
    assert layout_of({"pages": pool(mounts=[{"path": "/mnt/a"}])}).mounts[0].size == 512 * MIB
    assert layout_of({"pages": pool(mounts=MOUNTS)}, previous=layout) is layout
    assert layout_of({"pages": pool(mounts=MOUNTS[:1])}, previous=layout).id != layout.id


@pytest.mark.parametrize(
    "path", ["/mnt/pages", "/mnt/my-pages/a_b", "/dev/.hidden", "/srv/a.b-c/d"]
)  # fmt: skip
def test_units_are_named_as_systemd_names_them(path: str) -> None:
    if shutil.which("systemd-escape") is None:
        pytest.skip("systemd-escape is not here")
    done = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", path], capture_output=True, text=True, check=True
    )
    assert unit_name(path) == done.stdout.strip()


class Tree(RealSystem):
    """A tree of files; ``busy`` are units that systemctl cannot stop."""

    def __init__(self, root: Path, busy: Sequence[str] = ()) -> None:
        super().__init__(str(root))
        self.busy = busy
        self.commands: list[str] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.commands.append(" ".join(argv))
        if argv[:2] == ["systemctl", "stop"]:
            return Completed(int(argv[2] in self.busy), "", "")
        if argv[:2] == ["systemctl", "is-active"]:
            return Completed(0 if argv[-1] in self.busy else 3, "", "")
        if argv[0] == "getent":
            return Completed(2, "", "")
        return Completed(0, "", "")


def install(tree: Tree, layout: Layout) -> Any:
    plan = plan_present(tree, "0" * 64, lambda: "program", layout, None, None)
    apply_present(tree, plan)
    return plan


def test_mount_units_come_change_and_go(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    both = layout_of({"pages": pool(mounts=MOUNTS)})
    one = layout_of({"pages": pool(mounts=[dict(MOUNTS[0], mode="0700")])})
    assert install(tree, both).unmount == ()
    unit = tmp_path / "etc/systemd/system/mnt-my\\x2dpages.mount"
    assert (
        "Options=pagesize=2M,size=268435456,uid=nobody,gid=kvm,mode=0770,nosuid,nodev\n" in unit.read_text()
    )
    assert "Where=/mnt/my-pages\n" in unit.read_text()
    wants = (tmp_path / TARGET_MOUNTS.lstrip("/")).read_text()
    assert "Wants=dev-pages.mount\nWants=mnt-my\\x2dpages.mount\n" in wants
    assert not up_to_date(known_files(tree), "0" * 64, one, None)

    tree.commands.clear()
    changed = install(tree, one)
    assert changed.unmount == ("mnt-my\\x2dpages.mount", "dev-pages.mount")
    assert tree.commands[0] == "systemctl stop mnt-my\\x2dpages.mount"
    assert "mode=0700" in unit.read_text()
    assert not (tmp_path / "etc/systemd/system/dev-pages.mount").exists()

    apply_absent(tree, plan_absent(tree))
    assert [path for path in known_files(tree) if "mount" in path] == []


def test_a_mount_in_use_stops_everything(tmp_path: Path) -> None:
    layout = layout_of({"pages": pool(mounts=MOUNTS)})
    tree = Tree(tmp_path, busy=["dev-pages.mount"])
    install(tree, layout)
    before = known_files(tree)
    for act in (
        lambda: install(tree, layout_of({"pages": pool()})),
        lambda: apply_absent(tree, plan_absent(tree)),
    ):
        with pytest.raises(NotPossible, match=r"dev-pages\.mount cannot be unmounted"):
            act()
        assert known_files(tree) == before


def test_a_unit_of_others_is_not_overwritten(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system/dev-pages.mount"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Mount]\n")
    with pytest.raises(NotPossible, match="not Carveout's"):
        install(Tree(tmp_path), layout_of({"pages": pool(mounts=MOUNTS)}))
    assert unit.read_text() == "[Mount]\n"
    assert not [path for path in known_files(Tree(tmp_path)) if path.endswith(".mount")]


def test_the_state_of_a_host(tmp_path: Path) -> None:
    for path, text in {
        "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages": "64\n",
        "sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages": "3\n",
        "proc/sys/vm/hugetlb_optimize_vmemmap": "1\n",
        "proc/mounts": "proc /proc proc rw 0 0\n"
        "hugetlbfs /mnt/my\\040pages hugetlbfs rw,nosuid,uid=65534,gid=1,mode=770,pagesize=2M,size=67108864 0 0\n"
        "hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=1024M 0 0\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    class Mounted(Tree):
        def stat(self, path: str) -> Stat | None:
            return Stat(0o40770, 0, 0, 0, 0) if path.startswith(("/mnt", "/dev")) else super().stat(path)

    tree = Mounted(tmp_path)
    reader = Reader(tree)
    assert read_pages(reader) == {"0": {str(2 * MIB): 64}, "1": {str(GIB): 3}}
    assert read_vmemmap(reader) is True
    first, second = read_mounts(reader, tree)
    assert (first["path"], first["page_size"], first["size"], first["mode"]) == (
        "/mnt/my pages", 2 * MIB, 64 * MIB, "0770",
    )  # fmt: skip
    assert (second["page_size"], second["size"]) == (GIB, None)


def test_verification_finds_what_is_short() -> None:
    layout = layout_of({"pages": pool(mounts=MOUNTS[:1], optimize_vmemmap=True)})
    mount = {
        "path": "/mnt/my-pages", "kind": "hugetlbfs", "page_size": 2 * MIB, "size": 256 * MIB,
        "owner": "nobody", "group": "kvm", "mode": "0770",
    }  # fmt: skip
    right = {"hugepages": {"1": {str(2 * MIB): 256}}, "hugetlb_vmemmap": True, "mounts": [mount]}

    def unmet(**state: Any) -> list[str]:
        host = dataclasses.replace(HOST, state={**right, **state})
        return [e.message for e in hugepages(layout, host) if not e.met]

    assert unmet() == []
    assert unmet(hugepages={"1": {str(2 * MIB): 250}}) == [
        "pools.pages.nodes.1: node 1 has 250 pages of 2MiB, the plan says 256"
    ]
    assert unmet(hugetlb_vmemmap=None) == []
    assert unmet(hugetlb_vmemmap=False) == [
        "pools.pages.optimize_vmemmap: giving back the struct pages of huge pages is off, the plan says on"
    ]
    (message,) = unmet(mounts=[])
    assert "nothing with huge pages is mounted at /mnt/my-pages" in message
    assert [m.split(": ", 1)[1] for m in unmet(mounts=[dict(mount, size=None, mode="0755")])] == [
        "/mnt/my-pages has the size no limit, the plan says 256MiB",
        "/mnt/my-pages has the mode 0755, the plan says 0770",
    ]
