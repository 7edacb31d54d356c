# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory goes to the kernel and back, of every extent, or the kernel's refusal changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._dax.apply import converge, preview
from ansible_collections.carveout.memory.plugins.module_utils._dax.state import read_state
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

MIB = 1 << 20
GIB = 1 << 30
REGION = Range(4 * GIB, 5 * GIB)
EXTENTS = (Range(4 * GIB, 4 * GIB + 256 * MIB), Range(4 * GIB + 512 * MIB, 4 * GIB + 766 * MIB))
#: The last extent ends 2 MiB before a block does.
BLOCKS = [32, 33, 36]


def vm(build: Any, online: str = "", extents: tuple[Range, ...] = EXTENTS) -> Device:
    use = {"use": "system-ram", "online": online} if online else {}
    device = build.device("vm", *extents, **use)
    assert isinstance(device, Device)
    return device


def layout_of(build: Any, *devices: Device) -> Layout:
    layout = build.layout([REGION], devices)
    assert isinstance(layout, Layout)
    return layout


def run(kernel: Any, layout: Layout) -> list[str]:
    told = preview(kernel, layout).actions
    # the fake host is booted for one layout; which one does not matter here
    told = tuple(text for text in told if "/run/carveout" not in text)
    done = converge(kernel, layout, lambda seconds: None).actions
    assert tuple(text for text in done if "/run/carveout" not in text) == told
    assert kernel.policy == "online" and kernel.names_for_kmem == []
    return list(told)


@pytest.mark.parametrize(("online", "zone"), [("movable", "Movable"), ("kernel", "Normal"), ("no", "")])
def test_every_extent_goes_to_the_kernel_and_comes_back(build: Any, online: str, zone: str) -> None:
    there, back = layout_of(build, vm(build, online)), layout_of(build, vm(build))
    kernel = build.kernel(there)
    run(kernel, there)
    assert kernel.blocks == dict.fromkeys(BLOCKS, zone)
    assert run(kernel, there) == [] and kernel.links == {}
    kernel.writes.clear()
    assert run(kernel, back)[:2] == ["take the memory of vm from the kernel", "bind vm to device_dax"]
    assert kernel.blocks == {} and kernel.links == {"vm": "../dax0.1"}
    assert not any(path.endswith(("/create", "/delete")) for path, _ in kernel.writes)
    assert run(kernel, there)[:2] == ["unbind vm from device_dax", "bind vm to kmem"]
    assert kernel.blocks == dict.fromkeys(BLOCKS, zone) and kernel.links == {}


def test_how_it_is_online_changes_without_a_new_device(build: Any) -> None:
    kernel = build.kernel(layout_of(build, vm(build, "kernel")))
    run(kernel, layout_of(build, vm(build, "kernel")))
    kernel.writes.clear()
    assert run(kernel, layout_of(build, vm(build, "movable"))) == ["online the memory of vm (movable)"]
    assert run(kernel, layout_of(build, vm(build, "no"))) == ["take the memory of vm offline"]
    assert {path.split("/")[4] for path, _ in kernel.writes} == {"memory"}
    kernel.blocks[33] = "Normal"
    run(kernel, layout_of(build, vm(build, "movable")))
    assert kernel.blocks == dict.fromkeys(BLOCKS, "Movable")


@pytest.mark.parametrize("wanted", ["devdax", "removed", "smaller"])
@pytest.mark.parametrize("online", ["movable", "kernel"])
def test_what_the_kernel_does_not_let_go_of_stays_as_it_was(build: Any, wanted: str, online: str) -> None:
    there = layout_of(build, vm(build, online))
    kernel = build.kernel(there)
    run(kernel, there)
    before, kernel.pinned = dict(kernel.blocks), {36}
    devices = {"devdax": [vm(build)], "removed": [], "smaller": [vm(build, "movable", EXTENTS[:1])]}[wanted]
    with pytest.raises(
        NotPossible, match=r"cannot (take|destroy) .*\[0x120000000, 0x128000000\).*cannot be moved"
    ):
        converge(kernel, layout_of(build, *devices), lambda seconds: None)
    assert kernel.blocks == before and kernel.devices["dax0.1"].driver == "kmem"
    kernel.pinned.clear()
    run(kernel, layout_of(build, *devices))
    assert set(kernel.blocks) == ({32, 33} if wanted == "smaller" else set())


def test_the_kernel_gives_back_before_anything_else_changes(build: Any) -> None:
    other = build.device("other", Range(4 * GIB + 256 * MIB, 4 * GIB + 512 * MIB))
    there = layout_of(build, other, vm(build, "movable"))
    kernel = build.kernel(there)
    run(kernel, there)
    kernel.pinned = {32}
    with pytest.raises(NotPossible):
        converge(kernel, layout_of(build), lambda seconds: None)
    assert [device.driver for device in kernel.devices.values()] == ["", "device_dax", "kmem"]


@pytest.mark.parametrize("fail_at", range(24))
@pytest.mark.parametrize("existing", [True, False], ids=["existing", "new"])
def test_a_change_that_is_cut_short_is_finished_by_the_next_run(
    build: Any, fail_at: int, existing: bool
) -> None:
    first = layout_of(build, *([vm(build)] if existing else []))
    kernel = build.kernel(first)
    run(kernel, first)
    for devices, blocks in (([vm(build, "movable")], BLOCKS), ([vm(build)], []), ([], [])):
        kernel.writes.clear()
        kernel.fail_at = fail_at
        try:
            converge(kernel, layout_of(build, *devices), lambda seconds: None)
        except (NotPossible, OSError):
            kernel.fail_at = -1
            converge(kernel, layout_of(build, *devices), lambda seconds: None)
        assert sorted(kernel.blocks) == blocks
        assert all(zone == "Movable" for zone in kernel.blocks.values())
        assert set(kernel.devices) == {"dax0.0", *(["dax0.1"] if devices else [])}


def test_a_driver_that_does_not_take_it_is_noticed(build: Any) -> None:
    layout = layout_of(build, vm(build, "movable"))
    kernel = build.kernel(layout)
    kernel.probe_fails = True
    with pytest.raises(NotPossible, match="driver is none instead of kmem"):
        converge(kernel, layout, lambda seconds: None)
    assert set(kernel.devices) == {"dax0.0"} and kernel.names_for_kmem == [] and kernel.policy == "online"


def test_an_extent_without_a_whole_block_is_refused_before_any_change(build: Any) -> None:
    extents = (EXTENTS[0], Range(4 * GIB + 386 * MIB, 4 * GIB + 640 * MIB - 2 * MIB))
    layout = layout_of(build, vm(build, "movable", extents))
    kernel = build.kernel(layout)
    with pytest.raises(NotPossible, match="holds no whole memory block of this host") as caught:
        converge(kernel, layout, lambda seconds: None)
    assert caught.value.problems[0].path == "pools.pool0.devices[0]" and kernel.writes == []


def test_a_device_that_is_open_does_not_go_to_the_kernel(build: Any) -> None:
    kernel = build.kernel(layout_of(build, vm(build)))
    run(kernel, layout_of(build, vm(build)))
    kernel.open_files["/proc/77/fd/3"] = "/dev/dax0.1"
    with pytest.raises(NotPossible, match="is in use by"):
        converge(kernel, layout_of(build, vm(build, "movable")), lambda seconds: None)
    assert kernel.devices["dax0.1"].driver == "device_dax" and kernel.blocks == {}


def test_the_snapshot_shows_the_blocks(build: Any) -> None:
    layout = layout_of(build, vm(build, "movable"))
    kernel = build.kernel(layout)
    run(kernel, layout)
    kernel.blocks[33] = ""
    device = read_state(kernel).to_json()["regions"][0]["devices"][1]
    assert device["blocks"] == [
        [4 * GIB, 4 * GIB + 128 * MIB, "online", "Movable"],
        [4 * GIB + 128 * MIB, 4 * GIB + 256 * MIB, "offline", ""],
        [4 * GIB + 512 * MIB, 4 * GIB + 640 * MIB, "online", "Movable"],
    ]
