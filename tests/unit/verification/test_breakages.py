# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every way to break a carved host is noticed and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from judging import device, messages

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout

MIB, GIB = 1 << 20, 1 << 30
NODE_0, NODE_1 = "memmap=2G%4G-1+0xefffffff", "memmap=2816M%6400M-1+0xefffffff"
SCRATCH = "memmap=256M%6G-1+2"


def _replace(snapshot: dict[str, Any], old: str, new: str) -> None:
    """On both command lines."""
    assert old in snapshot["cmdline"]
    snapshot["cmdline"] = snapshot["cmdline"].replace(old, new)
    line = " ".join(snapshot["boot_arguments"]).replace(old, new)
    snapshot["boot_arguments"] = line.split()


def _booted_only(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(snapshot: dict[str, Any]) -> None:
        assert old in snapshot["cmdline"]
        snapshot["cmdline"] = snapshot["cmdline"].replace(old, new)

    return change


def _set(name: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda snapshot: device(snapshot, name).update(values)


def _add_iomem(start: int, end: int, name: str, depth: int) -> Callable[[dict[str, Any]], None]:
    return lambda snapshot: snapshot["state"]["iomem"].append([start, end, name, depth])


def _drop_device(snapshot: dict[str, Any]) -> None:
    region = snapshot["state"]["dax"]["regions"][0]
    region["devices"] = [d for d in region["devices"] if d["name"] != "dax0.2"]
    del snapshot["state"]["links"]["vm-b"]


def _swap_extents(snapshot: dict[str, Any]) -> None:
    device(snapshot, "dax1.1")["extents"].reverse()


def _swap_links(snapshot: dict[str, Any]) -> None:
    links = snapshot["state"]["links"]
    links["vm-a"], links["vm-b"] = links["vm-b"], links["vm-a"]


def _kmem(snapshot: dict[str, Any]) -> None:
    snapshot["state"]["dax"]["regions"][0]["devices"] = []
    snapshot["state"]["dax"]["regions"][0]["devices"].append(
        {
            "name": "dax0.0",
            "size": 2 * GIB,
            "align": 2 * MIB,
            "extents": [[4 * GIB, 6 * GIB]],
            "driver": "kmem",
            "target_node": 0,
            "node_path": "",
            "owner": "",
            "group": "",
            "mode": "",
        }
    )
    snapshot["state"]["iomem"].append([4 * GIB, 6 * GIB, "System RAM (kmem)", 2])
    snapshot["state"]["meminfo"]["MemTotal"] += 2 * GIB
    snapshot["state"]["nodes"]["0"]["MemTotal"] += 2 * GIB
    snapshot["state"]["links"].clear()


def _orphan(snapshot: dict[str, Any]) -> None:
    orphan = dict(device(snapshot, "dax0.0"), name="dax0.7")
    snapshot["state"]["dax"]["regions"][0]["devices"].append(orphan)


def _ram_limited(snapshot: dict[str, Any]) -> None:
    snapshot["state"]["meminfo"]["MemTotal"] = 400 * MIB
    snapshot["state"]["nodes"] = {"0": {"MemTotal": 400 * MIB}}


def _ram_elsewhere(snapshot: dict[str, Any]) -> None:
    lines = snapshot["state"]["iomem"]
    (whole,) = [line for line in lines if line[2] == "System RAM" and line[0] < GIB < line[1]]
    lines.remove(whole)
    lines += [[whole[0], GIB, *whole[2:]], [GIB + 64 * MIB, whole[1], *whole[2:]]]


BREAKAGES: dict[str, tuple[Callable[[dict[str, Any]], None], list[str]]] = {
    "argument missing": (
        _booted_only(f"{SCRATCH} ", ""),
        [f"pools.scratch.nodes.1: the argument {SCRATCH} is missing on the booted command line"],
    ),
    "argument twice": (
        _booted_only(SCRATCH, f"{SCRATCH} {SCRATCH}"),
        [
            f"pools.scratch.nodes.1: the argument {SCRATCH} stands twice on the booted command line, it should once",
            "pools.guests.nodes.1: on the booted command line the arguments stand in the wrong order: "
            f"after {SCRATCH} comes {SCRATCH}, the plan says {NODE_1}",
        ],
    ),
    "wrong order": (
        _booted_only(f"{NODE_0} {SCRATCH}", f"{SCRATCH} {NODE_0}"),
        [
            "pools.guests.nodes.0: on the booted command line the arguments stand in the wrong order: "
            f"after {{id}} comes {SCRATCH}, the plan says {NODE_0}"
        ],
    ),
    "run interrupted": (
        _booted_only(SCRATCH, f"quiet {SCRATCH}"),
        [
            "pools.scratch.nodes.1: on the booted command line the arguments stand in the wrong order: "
            f"after {NODE_0} comes quiet, the plan says {SCRATCH}"
        ],
    ),
    "argument after --": (
        _booted_only("dax_hmem.region_idle=1", "-- dax_hmem.region_idle=1"),
        ["pools.guests.mechanism: the argument dax_hmem.region_idle=1 is missing on the booted command line"],
    ),
    "another layout booted": (
        _booted_only("{id}", "carveout.layout=0123456789abcdef"),
        ["pools: the booted command line names the layout 0123456789abcdef, the plan's is {digest}"],
    ),
    "no layout boots next": (
        lambda s: s.update(boot_arguments=["root=/dev/vda1", "ro", "dax_hmem.region_idle=1"]),
        [
            "pools: the entry that boots next names no layout, the plan's is {digest}",
            f"pools.guests.nodes.0: the argument {NODE_0} is missing on the entry that boots next",
            f"pools.scratch.nodes.1: the argument {SCRATCH} is missing on the entry that boots next",
            f"pools.guests.nodes.1: the argument {NODE_1} is missing on the entry that boots next",
        ],
    ),
    "kernel memory in a reservation": (
        _add_iomem(5 * GIB, 5 * GIB + 128 * MIB, "System RAM", 0),
        [
            "pools.guests.nodes.0: the reservation [0x100000000, 0x180000000) is not clear of kernel memory: "
            "System RAM [0x140000000, 0x148000000) lies in it"
        ],
    ),
    "kernel image in a reservation": (
        _add_iomem(6 * GIB + MIB, 6 * GIB + 16 * MIB, "Kernel code", 1),
        [
            "pools.scratch.nodes.1: the reservation [0x180000000, 0x190000000) is not clear of the kernel's image: "
            "Kernel code [0x180100000, 0x181000000) lies in it"
        ],
    ),
    "handed to kmem": (
        _kmem,
        [
            "pools.guests.nodes.0: the reservation [0x100000000, 0x180000000) is not clear of kernel memory: "
            "System RAM (kmem) [0x100000000, 0x180000000) lies in it",
            "kernel.memory: the kernel has 5.84 GiB (MemTotal), expected is 3.67 GiB to 4 GiB",
            "kernel.memory.0: on node 0 the kernel has 4.86 GiB (MemTotal), expected is 2.69 GiB to 3 GiB",
            "pools.guests.devices[0]: the device vm-a has the driver kmem, the plan says device_dax",
            "pools.guests.devices[1]: the device vm-b does not exist: no DAX device maps any of "
            "[0x140000000, 0x180000000)",
        ],
    ),
    "not reserved": (
        lambda s: s["state"]["iomem"].remove([6 * GIB, 6 * GIB + 256 * MIB, "Reserved", 0]),
        ["pools.scratch.nodes.1: /proc/iomem shows [0x180000000, 0x190000000) as nothing, the plan says Reserved"],
    ),
    "RAM elsewhere": (
        _ram_elsewhere,
        [
            "kernel.memory: the memory map is not the predicted one: [0x40000000, 0x44000000) is not System RAM",
        ],
    ),
    "RAM limited": (
        _ram_limited,
        [
            "kernel.memory: the kernel has 400 MiB (MemTotal), expected is 3.67 GiB to 4 GiB",
            "kernel.memory.0: on node 0 the kernel has 400 MiB (MemTotal), expected is 2.69 GiB to 3 GiB",
            "kernel.memory.1: on node 1 the kernel has no memory, expected is 748 MiB to 1 GiB",
        ],
    ),
    "size": (
        _set("dax0.1", size=512 * MIB, extents=[[4 * GIB, 4 * GIB + 512 * MIB]]),
        [
            "pools.guests.devices[0]: the device vm-a has the extents [0x100000000, 0x120000000), the plan says "
            "[0x100000000, 0x140000000)",
            "pools.guests.devices[0]: the device vm-a has size 512MiB, the plan says 1GiB",
        ],
    ),
    "emptied": (
        _set("dax0.1", size=0, extents=[]),
        [
            "pools.guests.devices[0]: the device vm-a has the extents none, the plan says [0x100000000, 0x140000000)",
            "pools.guests.devices[0]: the device vm-a has size 0B, the plan says 1GiB",
        ],
    ),
    "align": (
        _set("dax0.1", align=4096),
        ["pools.guests.devices[0]: the device vm-a has align 4KiB, the plan says 1GiB"],
    ),
    "driver": (
        _set("dax0.1", driver="kmem"),
        ["pools.guests.devices[0]: the device vm-a has the driver kmem, the plan says device_dax"],
    ),
    "unbound": (
        _set("dax0.1", driver="", node_path="", owner="", group="", mode=""),
        [
            "pools.guests.devices[0]: the device vm-a has no driver, the plan says device_dax",
            "pools.guests.devices[0]: the device vm-a has no file below /dev, the plan says /dev/dax0.1",
        ],
    ),
    "node": (
        _set("dax0.1", target_node=1),
        ["pools.guests.devices[0]: the device vm-a has its memory on node 1, the plan says 0"],
    ),
    "mode": (
        _set("dax0.1", mode="0600"),
        ["pools.guests.devices[0]: the device vm-a has mode 0600, the plan says 0660"],
    ),
    "owner and group": (
        _set("dax0.1", owner="root", group="root"),
        [
            "pools.guests.devices[0]: the device vm-a has the owner root, the plan says nobody",
            "pools.guests.devices[0]: the device vm-a has the group root, the plan says daemon",
        ],
    ),
    "link missing": (
        lambda s: s["state"]["links"].pop("vm-d"),
        [
            "pools.guests.devices[3]: the device vm-d has no link /dev/carveout/vm-d, it should lead to /dev/dax1.2",
        ],
    ),
    "links swapped": (
        _swap_links,
        [
            "pools.guests.devices[0]: the device vm-a has the link /dev/carveout/vm-a to /dev/dax0.2, it should "
            "lead to /dev/dax0.1",
            "pools.guests.devices[1]: the device vm-b has the link /dev/carveout/vm-b to /dev/dax0.1, it should "
            "lead to /dev/dax0.2",
        ],
    ),
    "device missing": (
        _drop_device,
        [
            "pools.guests.devices[1]: the device vm-b does not exist: no DAX device maps any of "
            "[0x140000000, 0x180000000)"
        ],
    ),
    "extents swapped": (
        _swap_extents,
        [
            "pools.guests.devices[2]: the device vm-c has the extents [0x1c0000000, 0x1d0000000) "
            "[0x190000000, 0x1a0000000), the plan says [0x190000000, 0x1a0000000) [0x1c0000000, 0x1d0000000)"
        ],
    ),
    "orphan": (
        _orphan,
        ["pools.guests.nodes.0: in its DAX region stands dax0.7 of 0B, which no plan asked for"],
    ),
    "stray link": (
        lambda s: s["state"]["links"].update({"old": "/dev/dax9.1"}),
        ["pools: below /dev/carveout stands old, which no plan asked for"],
    ),
    "no region": (
        lambda s: s["state"]["dax"]["regions"][1].update(start=7 * GIB),
        ["pools.guests.nodes.1: of the reservation [0x190000000, 0x240000000) the kernel made part of a DAX region"],
    ),
    "layout not stored": (
        lambda s: s.update(layouts={}),
        ["pools: the layout {digest} is not stored in /etc/carveout/layouts"],
    ),
    "boot service": (
        lambda s: s["state"]["files"].pop("/etc/systemd/system/carveout-dax.service"),
        [
            "pools: the boot service that makes the devices is missing: /etc/systemd/system/carveout-dax.service",
        ],
    ),
    "not root": (
        lambda s: s["state"].update(iomem=[]),
        [
            "pools.guests.nodes.0: what is in [0x100000000, 0x180000000) is not known, /proc/iomem was not read as "
            "root",
            "pools.scratch.nodes.1: what is in [0x180000000, 0x190000000) is not known, /proc/iomem was not read as "
            "root",
            "pools.guests.nodes.1: what is in [0x190000000, 0x240000000) is not known, /proc/iomem was not read as "
            "root",
            "kernel.memory: where System RAM lies is not known, /proc/iomem was not read as root",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKAGES)
def test_every_breakage_is_noticed_and_named(layout: Layout, carved: dict[str, Any], name: str) -> None:
    change, expected = BREAKAGES[name]
    words = {"{id}": layout.kernel_arguments[0], "{digest}": layout.id}
    carved["cmdline"] = carved["cmdline"].replace(layout.kernel_arguments[0], "{id}")
    change(carved)
    carved["cmdline"] = carved["cmdline"].replace("{id}", layout.kernel_arguments[0])
    for word, value in words.items():
        expected = [text.replace(word, value) for text in expected]
    found = messages(layout, carved)
    assert [text for text in expected if text not in found] == []
    # and nothing else than the breakage: what follows from a lost region or device is all its own
    if name != "handed to kmem":
        assert found == expected
