# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that are directories: carved, committed, and asked by the programs that ask real ones (``bench/enter.sh``).

Their memory map, kernel files, boot loader and what Carveout keeps on a host are theirs; the programs are this
machine's. Nothing about them needs a boot, so they show what a run asks, not what a kernel does.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.action.host_files import program
from ansible_collections.carveout.memory.plugins.module_utils._boot import grub_apply
from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._host.augeas_binding import open_augeas
from ansible_collections.carveout.memory.plugins.module_utils._host.tree import read_host
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import apply_present, plan_present
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

CHECKOUT = Path(__file__).resolve().parents[1]
ENTER = CHECKOUT / "bench/enter.sh"
KERNEL = "6.12.1-test"
PLAN: dict[str, Any] = {
    "version": 1,
    "kernel": {"memory": "25%"},
    "pools": {"guests": {"mechanism": "reserved", "nodes": {"0": "rest", "1": "rest"}}},
}
#: GiB of each of the two nodes, by class of hosts.
SHAPES = ((16, 16), (32, 16), (24, 48), (64, 64))

_MKCONFIG = CHECKOUT / "tests/unit/test_boot_data/grub-mkconfig"
_DEFAULTS = 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="console=ttyS0"\n'
#: There is no systemd to ask: of what Carveout asks it, all is well.
_SYSTEMCTL = "#!/bin/sh\nexit 0\n"
_WORDS = {1: "System RAM", 2: "Reserved"}


class Tree(RealSystem):
    """The directory as a host whose grub-mkconfig is a script."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self._tree = root
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.ran.append(list(argv))
        wants = self._tree / "etc/systemd/system/multi-user.target.wants"
        if argv[0].endswith("grub-mkconfig"):
            return super().run(["sh", str(_MKCONFIG), str(self._tree), *argv[1:]])
        if list(argv[:2]) == ["systemctl", "enable"]:
            wants.mkdir(parents=True, exist_ok=True)
            (wants / argv[2]).symlink_to(f"/etc/systemd/system/{argv[2]}")
        if list(argv[:2]) == ["systemctl", "disable"]:
            (wants / argv[-1]).unlink(missing_ok=True)
        if argv[0] == "rmdir":
            return super().run([*argv[:-1], f"{self._tree}{argv[-1]}"])
        return Completed(0, "", "")


def can_enter(host: Path) -> str:
    """Empty, or why this machine cannot fake a host: it takes mount namespaces, overlayfs and python3-augeas."""
    command = "/usr/bin/python3 -c 'import augeas'"
    done = subprocess.run([ENTER, host, command], capture_output=True, text=True, check=False)
    return done.stderr.strip().split("\n")[-1] if done.returncode else ""


def make_fleet(folder: Path, count: int) -> list[Path]:
    """``count`` hosts below the folder, of the classes in turn."""
    hosts = [folder / f"h{number:04}" for number in range(count)]
    for number, host in enumerate(hosts):
        if number < len(SHAPES):
            make_host(host, SHAPES[number])
        else:
            shutil.copytree(hosts[number % len(SHAPES)], host, symlinks=True)
        (host / "proc/random/boot_id").write_text(f"00000000-0000-4000-8000-{number:012}\n")
    return hosts


def put_before_ssh(folder: Path, hosts: int) -> dict[str, str]:
    """The plan, an inventory, and a program ``ssh`` that leads to the hosts of the folder; the environment for it."""
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin/ssh").exists():
        (folder / "bin/ssh").symlink_to(CHECKOUT / "bench/ssh.sh")
    (folder / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    names: dict[str, Any] = {f"h{number:04}": {} for number in range(hosts)}
    variables = {"ansible_user": "root", "carveout_plan": str(folder / "plan.json")}
    (folder / "hosts.json").write_text(
        json.dumps({"all": {"hosts": names, "vars": variables}}), encoding="utf-8"
    )
    return {
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        "FLEET": str(folder),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }


def make_host(host: Path, shape: tuple[int, int]) -> None:
    """One host that is as its committed layout says."""
    tree = host / "tree"
    write_machine(tree, shape)
    carve(tree, PLAN)
    _as_entered(host, tree)


def carve(tree: Path, plan: dict[str, Any]) -> Layout:
    """What the main job does to a host, with the boot that it asks for."""
    system, augeas = Tree(tree), open_augeas()
    layout = make_layout_for(tree, plan)
    state = read_loader(system, augeas)
    after = grub_apply.apply(system, augeas, grub_apply.plan(state, augeas, layout.kernel_arguments))
    content = program()
    digest = hashlib.sha256(content).hexdigest()
    text = content.decode("utf-8", "surrogateescape")
    files = plan_present(system, digest, lambda: text, layout, layout.id, None, verified=KERNEL)
    apply_present(system, files)
    _put(tree, "proc/cmdline", after.command_line + "\n")
    write_booted(tree, layout)
    return layout


def make_layout_for(tree: Path, plan: dict[str, Any]) -> Layout:
    """The layout that a plan gives on the host."""
    return make_layout(validated_plan(copy.deepcopy(plan)), read_host(Tree(tree), augeas=open_augeas()))


def _put(tree: Path, path: str, content: str | bytes) -> None:
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_machine(tree: Path, shape: tuple[int, int]) -> None:
    """A host without Carveout: its memory, its kernel, its boot loader."""
    first = (shape[0] + 1) * GIB
    last = first + shape[1] * GIB
    firmware = [
        (0, 0x9FC00, 1), (0x9FC00, 0xA0000, 2), (MIB, 3 * GIB, 1), (3 * GIB, 4 * GIB, 2), (4 * GIB, last, 1)
    ]  # fmt: skip
    for number, (start, end, kind) in enumerate(firmware):
        for name, text in (("start", f"{start:#x}"), ("end", f"{end - 1:#x}"), ("type", _WORDS[kind])):
            _put(tree, f"sys/firmware/memmap/{number}/{name}", f"{text}\n")
    _put(tree, "sys/firmware/acpi/tables/SRAT", _srat((0, 0, first), (1, first, last)))
    _put(tree, "proc/sys/kernel/osrelease", f"{KERNEL}\n")
    _put(tree, "proc/cmdline", f"BOOT_IMAGE=/boot/vmlinuz-{KERNEL} root=UUID=1 ro console=ttyS0 quiet\n")
    _put(tree, f"boot/config-{KERNEL}", "CONFIG_NODES_SHIFT=10\nCONFIG_RANDOMIZE_BASE=y\n")
    _put(tree, "etc/default/grub", _DEFAULTS)
    _put(
        tree,
        "usr/sbin/grub-mkconfig",
        "#!/bin/sh\n# ${sysconfdir}/default/grub.d/\nexec sh /boot/mkconfig '' \"$@\"\n",
    )
    _put(tree, "usr/sbin/update-grub", "#!/bin/sh\nexec grub-mkconfig -o /boot/grub/grub.cfg\n")
    _put(tree, "usr/bin/systemctl", _SYSTEMCTL)
    _put(tree, "boot/mkconfig", _MKCONFIG.read_bytes())
    for name in ("update-grub", "grub-mkconfig"):
        (tree / "usr/sbin" / name).chmod(0o755)
    (tree / "usr/bin/systemctl").chmod(0o755)
    for place in ("boot/grub", "etc/default/grub.d"):
        (tree / place).mkdir(parents=True)
    Tree(tree).run(["grub-mkconfig"])


def _srat(*ranges: tuple[int, int, int]) -> bytes:
    """The ACPI table: memory of nodes (ACPI 6.5, 5.2.16.2)."""
    body = b"".join(struct.pack("<BBIHQQIIQ", 1, 40, n, 0, a, b - a, 0, 1, 0) for n, a, b in ranges)
    head = struct.pack("<4sIBB6s8sI4sIIQ", b"SRAT", 48 + len(body), 3, 0, b"T", b"T", 1, b"T", 1, 1, 0)
    table = bytearray(head + body)
    table[9] = -sum(table) & 0xFF
    return bytes(table)


def write_booted(tree: Path, layout: Layout) -> None:
    """What a kernel shows that was booted with the layout."""
    lines = [
        f"{max(start, 0x1000):08x}-{end - 1:08x} : {_WORDS[kind]}\n"
        for start, end, kind in layout.predicted_map
    ]
    _put(tree, "proc/iomem", "".join(["00000000-00000fff : Reserved\n", *lines]))
    kernel, nodes = layout.memory.kernel_after, layout.memory_nodes
    pages = layout.memory.struct_pages_after
    _put(tree, "proc/meminfo", f"MemTotal: {(kernel - pages - 64 * MIB) >> 10} kB\n")
    _put(tree, "proc/vmstat", "nr_free_pages 1000\n")
    for node, memory in nodes.items():
        total = memory.kernel_after - memory.struct_pages_after - 32 * MIB
        _put(tree, f"sys/devices/system/node/node{node}/meminfo", f"Node {node} MemTotal: {total >> 10} kB\n")


def _as_entered(host: Path, tree: Path) -> None:
    """The same files where ``enter.sh`` wants them."""
    moves = {"usr": "usr", "sys/firmware": "firmware", "sys/devices/system/node": "node", "proc": "proc"}
    for old, new in moves.items():
        (tree / old).rename(host / new)
    shutil.rmtree(tree / "sys")
    (host / "proc/sys/kernel/osrelease").rename(host / "proc/osrelease")
    (host / "proc/random").mkdir()
    tree.rename(host / "root")
    for place in ("usr", "proc", "sys", "dev", "tmp", "root", "run", "var/tmp"):
        (host / "root" / place).mkdir(parents=True, exist_ok=True)
    for place in ("bin", "sbin", "lib", "lib64"):
        (host / "root" / place).symlink_to(f"usr/{place}")
    etc = host / "root/etc"
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\n")
    # python finds libaugeas by it
    shutil.copyfile("/etc/ld.so.cache", etc / "ld.so.cache")
