# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Valid inputs that the cases are made from."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

DMESG = """\
[    0.000000] Linux version 6.12.107+deb13-amd64 (debian-kernel@lists.debian.org)
[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=/dev/vda quiet
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable
[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000027fffffff] usable
[    0.000000] ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x17fffffff]
[    0.000000] ACPI: SRAT: Node 1 PXM 1 [mem 0x180000000-0x27fffffff]
"""

PLAN: dict[str, Any] = {
    "version": 1,
    "kernel": {"memory": {"0": "2GiB", "1": "1GiB"}},
    "pools": {
        "guests": {
            "mechanism": "dax",
            "nodes": {"0": "1GiB", "1": "rest"},
            "align": {"1": "2MiB"},
            "devices": [
                {"name": "vm-a", "node": 0, "size": "1GiB", "owner": "nobody", "mode": "0660"},
                {"name": "vm-b", "node": 1, "extents": [{"offset": 0, "size": "2MiB"}]},
                {"name": "vm-c", "node": 1, "size": "rest"},
            ],
        },
        "scratch": {"mechanism": "reserved", "nodes": {"1": "256MiB"}},
    },
    "avoid": [{"start": "5GiB", "size": "4KiB"}],
    "policy": {"kaslr": "keep", "trial_boot": False},
}


def host() -> dict[str, Any]:
    """The host of the log above, with every part that a snapshot can have and a committed layout."""
    data: dict[str, Any] = json.loads(json.dumps(host_to_json(host_from_dmesg(DMESG))))
    data["boot_arguments"] = ["quiet", "root=/dev/vda"]
    committed = layout(data)
    data.update(
        boot_arguments=["quiet", "root=/dev/vda", *committed["kernel_arguments"]],
        foreign=[{"argument": "crashkernel=1G", "file": "/etc/default/grub", "line": 7}],
        committed=committed["id"],
        layouts={committed["id"]: committed},
    )
    start, end = committed["reservations"][0]["start"], committed["reservations"][0]["end"]
    data["state"] = {
        "root": True,
        "boot_id": "57c4b957-fed4-4e61-ba23-f0810a4e3b37",
        "iomem": [[0, 4096, "Reserved", 0], [start, end, "Soft Reserved", 0], [start, end, "dax0.0", 1]],
        "meminfo": {"MemTotal": 8 << 30, "HugePages_Total": 0},
        "nodes": {"0": {"MemTotal": 4 << 30}, "1": {"MemTotal": 4 << 30}},
        "vmstat": {"nr_memmap_pages": 512},
        "block_size": 128 << 20,
        "dax": {"regions": [_region(start, end)]},
        "links": {"vm-a": "/dev/dax0.0"},
        "files": {"/etc/carveout/committed": "ab" * 32},
        "problems": [],
    }
    return data


def layout(data: dict[str, Any]) -> dict[str, Any]:
    made = make_layout(validated_plan(PLAN), host_from_json(data))
    found: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return found


def _region(start: int, end: int) -> dict[str, Any]:
    device = {
        "name": "dax0.0", "size": end - start, "align": 2 << 20, "extents": [[start, end]], "driver": "device_dax",
        "target_node": 0, "node_path": "/dev/dax0.0", "owner": "nobody", "group": "root", "mode": "0660",
    }  # fmt: skip
    return {
        "path": "/sys/devices/platform/hmem.0/dax_region", "start": start, "end": end, "align": 2 << 20,
        "available": 0, "target_node": 0, "devices": [device],
    }  # fmt: skip
