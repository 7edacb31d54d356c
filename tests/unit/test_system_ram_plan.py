# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices whose memory the kernel gets back, in the plan's language and in the layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

MIB, GIB = 1 << 20, 1 << 30
HOST = Path(__file__).parent / "data" / "host.json"


def host(**config: str) -> Host:
    data = json.loads(HOST.read_text(encoding="utf-8"))
    data["kernel"]["config"] = config
    return host_from_json(data)


def plan(devices: list[dict[str, Any]], **pool: Any) -> Any:
    pools = {"a": {"mechanism": "dax", "nodes": {"0": "1GiB"}, "devices": devices, **pool}}
    return validated_plan({"version": 1, "kernel": {"memory": "1GiB"}, "pools": pools})


def layout(devices: list[dict[str, Any]], previous: Layout | None = None, **pool: Any) -> Layout:
    return make_layout(plan(devices, **pool), host(), previous)


def refused(devices: list[dict[str, Any]], **pool: Any) -> list[str]:
    with pytest.raises(CarveoutError) as caught:
        layout(devices, **pool)
    return [str(problem) for problem in caught.value.problems]


def test_the_pools_word_counts_where_a_device_says_nothing() -> None:
    devices = [
        {"name": "x", "size": "256MiB"},
        {"name": "y", "size": "256MiB", "online": "kernel"},
        {"name": "z", "size": "256MiB", "use": "devdax"},
    ]
    made = layout(devices, use="system-ram", online=False)
    assert {d.name: (d.use, d.online) for d in made.devices} == {
        "x": ("system-ram", "no"), "y": ("system-ram", "kernel"), "z": ("devdax", ""),
    }  # fmt: skip
    (default,) = layout([{"name": "x", "size": "rest", "use": "system-ram"}]).devices
    assert default.online == "movable"


def test_layouts_of_tenants_alone_say_nothing_of_it_and_others_read_back() -> None:
    made = layout([{"name": "x", "size": "rest", "use": "system-ram", "online": "kernel"}])
    data = json.loads(json.dumps(made.to_json()))
    assert Layout.from_json(data) == made and "system-ram, online: kernel" in layout_text(host(), made)
    assert "use" not in layout([{"name": "x", "size": "rest"}]).to_json()["devices"][0]
    for wrong in ({"use": "devdax", "online": ""}, {"use": "system-ram", "online": "maybe"}):
        data["devices"][0].update(wrong)
        with pytest.raises(CarveoutError, match="not a layout"):
            Layout.from_json(data)


def test_another_use_is_another_layout_with_the_same_arguments_and_places() -> None:
    tenants = layout([{"name": "x", "size": "512MiB"}, {"name": "y", "size": "rest"}])
    kernel = layout(
        [{"name": "x", "size": "512MiB", "use": "system-ram"}, {"name": "y", "size": "rest"}], tenants
    )
    assert kernel.id != tenants.id and kernel.arguments == tenants.arguments
    assert [d.extents for d in kernel.devices] == [d.extents for d in tenants.devices]
    # 512 MiB without deduplication, instead of two pages of struct pages for every 2 MiB
    more = kernel.memory.struct_pages_after - tenants.memory.struct_pages_after
    assert more == 512 * MIB // 64 - 256 * 2 * 4096


def test_what_whole_memory_blocks_leave_out_is_told() -> None:
    made = layout(
        [
            {
                "name": "x",
                "use": "system-ram",
                "extents": [{"offset": 0, "size": "200MiB"}, {"offset": "512MiB", "size": "256MiB"}],
            }
        ]
    )
    (warning,) = [w for w in made.warnings if w.code == "system-ram-blocks"]
    assert warning.message.startswith("the kernel gets 384MiB of device x back and not 456MiB")
    (message,) = refused([{"name": "x", "use": "system-ram", "size": "126MiB"}])
    assert message.startswith("pools.a.devices[0]: ") and "no whole memory block of 128MiB" in message


def test_what_makes_no_sense_is_refused_with_its_place() -> None:
    device = {"name": "x", "size": "rest"}
    assert refused([{**device, "online": "kernel"}])[0].startswith("pools.a.devices[0].online: only devices")
    assert refused([{**device, "use": "ram"}])[0].startswith("pools.a.devices[0].use: ")
    assert refused([{**device, "use": "system-ram", "online": "yes"}])[0].startswith(
        "pools.a.devices[0].online: "
    )
    assert refused([{**device, "use": "system-ram", "unit": "vm.service"}])[0].startswith(
        "pools.a.devices[0].unit: no"
    )
    assert refused([], use="system-ram")[0].startswith("pools.a.use: it is for the pool's devices")


def test_a_kernel_without_the_driver_is_refused() -> None:
    with pytest.raises(CarveoutError, match=r"pools.a.devices\[0\].use: .*CONFIG_DEV_DAX_KMEM"):
        make_layout(
            plan([{"name": "x", "size": "rest", "use": "system-ram"}]),
            host(CONFIG_DEV_DAX="y", CONFIG_DEV_DAX_HMEM="y", CONFIG_DEV_DAX_KMEM="n"),
        )
