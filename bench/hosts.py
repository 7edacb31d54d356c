# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of hosts that do not exist: each number gives the same one every time, no two are equal."""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB

KIB = 1 << 10
KERNELS = (
    "5.14.0-503.el9.x86_64",
    "6.1.0-50-amd64",
    "6.12.117+deb13-amd64",
    "6.19.3-1-amd64",
    "7.2.13+deb14-amd64",
)
#: How many nodes the hosts of a fleet have, and how many entries their maps: mostly two sockets.
_SHAPES = ((1, 20), (2, 30), (2, 40), (2, 60), (2, 90), (2, 120), (4, 120), (8, 200))

#: What every host of the fleet can do: large and small pages, devices, a share, what is left.
PLAN: dict[str, Any] = {
    "version": 1,
    "kernel": {"memory": "12%"},
    "pools": {
        "guests": {
            "mechanism": "dax",
            "align": "1GiB",
            "nodes": {"0": "rest"},
            "devices": [
                {
                    "name": "vm-a",
                    "node": 0,
                    "size": "8GiB",
                    "owner": "libvirt-qemu",
                    "group": "kvm",
                    "mode": "0660",
                },
                {"name": "vm-b", "node": 0, "size": "4GiB"},
                {"name": "vm-c", "node": 0, "size": "rest"},
            ],
        },
        "scratch": {"mechanism": "reserved", "nodes": {"0": "2GiB"}},
    },
}


def plan_for(nodes: int) -> dict[str, Any]:
    """The same on every node of a host."""
    share: dict[str, Any] = {str(node): "rest" for node in range(nodes)}
    guests = {**PLAN["pools"]["guests"], "nodes": share}
    return {**PLAN, "pools": {**PLAN["pools"], "guests": guests}}


def host(number: int, nodes: int | None = None, entries: int | None = None) -> dict[str, Any]:
    """The snapshot ``number``; without ``nodes`` and ``entries`` of one of the shapes of a fleet."""
    chance = random.Random(number)
    if nodes is None or entries is None:
        nodes, entries = _SHAPES[number % len(_SHAPES)]
    low = _low_memory(chance, max(4, entries // 3))
    per_node, more = divmod(entries - len(low), nodes)
    firmware, srat = low, [[0, 0, 0xA0000], [0, MIB, 4 * GIB]]
    start = 4 * GIB
    for node in range(nodes):
        size = chance.choice((48, 64, 96, 128, 192, 256, 384)) * GIB - (4 * GIB if node == 0 else 0)
        firmware += _high_memory(chance, start, size, per_node + (more if node == nodes - 1 else 0))
        srat.append([node, start, start + size])
        start += size
    kernel = chance.choice(KERNELS)
    return {
        "schema": 1,
        "architecture": "x86_64",
        "firmware": {"map": firmware, "boot": "efi", "srat": srat, "hmat": False},
        "kernel": {
            "running": kernel,
            "default": kernel,
            "config": {
                "CONFIG_NODES_SHIFT": "10",
                **dict.fromkeys(("CONFIG_DEV_DAX", "CONFIG_DEV_DAX_HMEM"), "m"),
            },
        },
        "cmdline": f"BOOT_IMAGE=/vmlinuz-{kernel} root=UUID={number:08x} ro quiet console=ttyS0,115200",
        "boot_arguments": [f"root=UUID={number:08x}", "ro", "quiet", "console=ttyS0,115200"],
        "foreign": [],
        "committed": None,
        "layouts": {},
        "state": _state(firmware, srat, nodes),
    }


def _low_memory(chance: random.Random, count: int) -> list[list[int]]:
    """Below 4 GiB, as EFI leaves it: small pieces of its own between pieces of RAM, then PCI."""
    found = [[0, 0x9F000, 1], [0x9F000, MIB, 2], [MIB, 1200 * MIB, 1]]
    position = 1200 * MIB
    while len(found) < count - 1:
        size = chance.randint(1, 2000) * 4 * KIB
        found.append([position, position + size, chance.choice((2, 3, 4)) if len(found) % 2 else 1])
        position += size
    return [*found, [0xE0000000, 0xF0000000, 2]]


def _high_memory(chance: random.Random, start: int, size: int, count: int) -> list[list[int]]:
    """One node: nearly all of it in one piece, and pieces of firmware near its end."""
    end = start + size
    found: list[list[int]] = []
    for index in range(count - 1):
        piece = chance.randint(1, 20_000) * 4 * KIB
        found.append([end - piece, end, 1 if index % 2 else 2])
        end -= piece
    return [[start, end, 1], *reversed(found)]


def _state(firmware: list[list[int]], srat: list[list[int]], nodes: int) -> dict[str, Any]:
    """What a host says of itself while it runs, as ``carveout host --root /`` writes it."""
    words = {1: "System RAM", 2: "Reserved", 3: "ACPI Tables", 4: "ACPI Non-volatile Storage"}
    total = sum(end - start for start, end, kind in firmware if kind == 1)
    return {
        "root": True,
        "boot_id": "6131ab82-39c5-4699-aaf4-25dfa8ad2c17",
        "augeas": True,
        "iomem": [[start, end, words[kind], 0] for start, end, kind in firmware],
        "meminfo": {"MemTotal": total, "MemFree": total // 2, "HugePages_Total": 0, "Hugepagesize": 2 * MIB},
        "nodes": {str(node): {"MemTotal": total // nodes, "HugePages_Total": 0} for node in range(nodes)},
        "vmstat": {"nr_memmap_pages": 0, "nr_memmap_boot_pages": total // (256 * KIB)},
        "block_size": 2 << 30,
        "dax": {"regions": []},
        "links": {},
        "loader": {
            "kind": "grub",
            "problem": "",
            "drop_in": "/etc/default/grub.d/zz-carveout.cfg",
            "drop_in_text": "",
            "owned": [],
        },
        "files": {},
        "problems": [],
    }
