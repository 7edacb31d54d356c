# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of two nodes as it is after it has booted a layout; tests take a copy and break it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

MIB, GIB = 1 << 20, 1 << 30

PLAN = {
    "version": 1,
    "kernel": {"memory": {"0": "2GiB", "1": "1GiB"}},
    "pools": {
        "guests": {
            "mechanism": "dax",
            "nodes": {"0": "2GiB", "1": "rest"},
            "align": {"0": "1GiB", "1": "2MiB"},
            "devices": [
                {
                    "name": "vm-a",
                    "node": 0,
                    "size": "1GiB",
                    "owner": "nobody",
                    "group": "daemon",
                    "mode": "0660",
                },
                {"name": "vm-b", "node": 0, "size": "rest"},
                {
                    "name": "vm-c",
                    "node": 1,
                    "extents": [{"offset": 0, "size": "256MiB"}, {"offset": "768MiB", "size": "256MiB"}],
                },
                {"name": "vm-d", "node": 1, "size": "512MiB"},
            ],
        },
        "scratch": {"mechanism": "reserved", "nodes": {"1": "256MiB"}},
    },
}

BEFORE: dict[str, Any] = {
    "schema": 1,
    "architecture": "x86_64",
    "firmware": {
        "map": [
            [0, 0x9FC00, 1], [0x9FC00, 0xA0000, 2], [0xF0000, 0x100000, 2], [0x100000, 0xBFFDD000, 1],
            [0xBFFDD000, 0xC0000000, 2], [4 * GIB, 10 * GIB, 1],
        ],
        "boot": "bios",
        "srat": [[0, 0, 0xA0000], [0, 0x100000, 3 * GIB], [0, 4 * GIB, 6 * GIB], [1, 6 * GIB, 10 * GIB]],
        "hmat": False,
    },
    "kernel": {"running": "6.12.117", "default": "6.12.117", "config": {}},
    "cmdline": "BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro quiet",
    "boot_arguments": ["root=/dev/vda1", "ro", "quiet"],
    "foreign": [],
    "committed": None,
    "layouts": {},
    "state": {},
}  # fmt: skip


@pytest.fixture(scope="session")
def layout() -> Layout:
    return make_layout(validated_plan(copy.deepcopy(PLAN)), host_from_json(copy.deepcopy(BEFORE)))


@pytest.fixture
def carved(layout: Layout) -> dict[str, Any]:
    """The snapshot of the host with the layout booted, its devices made and nothing committed yet."""
    host = copy.deepcopy(BEFORE)
    run = list(layout.kernel_arguments)
    host["cmdline"] = " ".join([host["cmdline"], *run])
    host["boot_arguments"] = [*host["boot_arguments"], *run]
    host["layouts"] = {layout.id: layout.to_json()}
    host["state"] = {
        "root": True,
        "iomem": _iomem(layout),
        "meminfo": {"MemTotal": 4 * GIB - 168 * MIB},
        "nodes": {"0": {"MemTotal": 3 * GIB - 148 * MIB}, "1": {"MemTotal": GIB - 20 * MIB}},
        "dax": {"regions": _regions(layout)},
        "links": {device.name: f"/dev/{name}" for device, name in _names(layout)},
        "files": {
            "/usr/lib/carveout/carveout-0.1.0.pyz": "0" * 64,
            "/etc/systemd/system/carveout-dax.service": "0" * 64,
            "/etc/systemd/system/carveout.target": "0" * 64,
            "/etc/systemd/system/multi-user.target.wants/carveout.target": "0" * 64,
        },
        "kdump": {},
    }
    return host


def _names(layout: Layout) -> list[tuple[Any, str]]:
    """Each device with the name that the kernel gave it: a region for each node."""
    counts: dict[int, int] = {}
    names = []
    for device in layout.devices:
        counts[device.node] = counts.get(device.node, 0) + 1
        names.append((device, f"dax{device.node}.{counts[device.node]}"))
    return names


def _regions(layout: Layout) -> list[dict[str, Any]]:
    regions = []
    for index, reservation in enumerate(r for r in layout.reservations if r.mechanism == "dax"):
        seed = {
            "name": f"dax{reservation.node}.0", "size": 0, "align": 2 * MIB, "extents": [], "driver": "",
            "target_node": reservation.node, "node_path": "", "owner": "", "group": "", "mode": "",
        }  # fmt: skip
        devices = [
            {
                "name": name, "size": device.size, "align": device.align,
                "extents": [list(extent) for extent in device.extents], "driver": "device_dax",
                "target_node": device.node, "node_path": f"/dev/{name}", "owner": device.owner,
                "group": device.group, "mode": device.mode,
            }
            for device, name in _names(layout)
            if device.node == reservation.node
        ]  # fmt: skip
        regions.append(
            {
                "path": f"/sys/devices/platform/hmem.{index}/dax_region",
                "start": reservation.start,
                "end": reservation.end,
                "align": 2 * MIB,
                "available": 0,
                "target_node": reservation.node,
                "devices": [seed, *devices],
            }
        )
    return regions


def _iomem(layout: Layout) -> list[list[Any]]:
    words = {1: "System RAM", 2: "Reserved", 0xEFFFFFFF: "Soft Reserved"}
    lines: list[list[Any]] = [[0, 0x1000, "Reserved", 0]]
    for start, end, kind in layout.predicted_map:
        lines.append([max(start, 0x1000), end, words[kind], 0])
        if start == 0x100000:
            lines.append([0x1600000, 0x2600000, "Kernel code", 1])
        lines += [
            [*extent, name, 1]
            for device, name in _names(layout)
            for extent in device.extents
            if start <= extent.start < end
        ]
    return lines
