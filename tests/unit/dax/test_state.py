# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading DAX state from a tree of files as sysfs has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._dax.state import read_state
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

GIB = 1 << 30


def put(root: Path, path: str, text: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def link(root: Path, path: str, target: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(target)


def device(root: Path, parent: str, name: str, size: int, resource: int, align: int = 2 << 20) -> str:
    path = f"{parent}/{name}"
    put(root, f"{path}/size", f"{size}\n")
    put(root, f"{path}/resource", f"{resource:#x}\n")
    put(root, f"{path}/align", f"{align}\n")
    put(root, f"{path}/target_node", "1\n")
    link(root, f"/sys/bus/dax/devices/{name}", f"../../../{path.removeprefix('/sys/')}")
    return path


def region(root: Path, parent: str, size: int, available: int | None = None) -> None:
    put(root, f"{parent}/dax_region/id", "0\n")
    put(root, f"{parent}/dax_region/size", f"{size}\n")
    put(root, f"{parent}/dax_region/align", "2097152\n")
    if available is not None:
        put(root, f"{parent}/dax_region/available_size", f"{available}\n")


@pytest.mark.parametrize(
    "parent",
    ["/sys/devices/platform/hmem.0", "/sys/devices/platform/hmem_platform.0/hmem.0"],
    ids=["6.x", "7.2"],
)
def test_a_region_with_an_idle_seed_and_a_device_of_two_extents(tmp_path: Path, parent: str) -> None:
    region(tmp_path, parent, 2 * GIB, available=GIB)
    device(tmp_path, parent, "dax0.0", 0, 4 * GIB)
    path = device(tmp_path, parent, "dax0.1", GIB, 5 * GIB)
    half = GIB // 2
    # sysfs: the end is inclusive, page_offset counts pages; the order of the names is not that of the pages
    for name, start, offset in (("mapping0", 5 * GIB + half, half // 4096), ("mapping10", 4 * GIB + half, 0)):
        put(tmp_path, f"{path}/{name}/start", f"{start:#x}\n")
        put(tmp_path, f"{path}/{name}/end", f"{start + half - 1:#x}\n")
        put(tmp_path, f"{path}/{name}/page_offset", f"{offset:#x}\n")
    link(tmp_path, f"{path}/driver", "../../../../bus/dax/drivers/device_dax")
    put(tmp_path, "/dev/dax0.1", "")
    (tmp_path / "dev/dax0.1").chmod(0o640)
    put(tmp_path, "/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    put(tmp_path, "/etc/group", "root:x:0:\n")
    link(tmp_path, "/dev/carveout/vm-a", "../dax0.1")

    state = read_state(RealSystem(str(tmp_path)))
    (found,) = state.regions
    assert (found.path, found.range, found.available) == (
        f"{parent}/dax_region",
        Range(4 * GIB, 6 * GIB),
        GIB,
    )
    seed, made = found.devices
    assert (seed.name, seed.size, seed.extents, seed.driver, seed.node_path) == ("dax0.0", 0, (), "", "")
    assert made.extents == (Range(4 * GIB + half, 5 * GIB), Range(5 * GIB + half, 6 * GIB))
    assert (made.driver, made.mode, made.target_node) == ("device_dax", "0640", 1)
    assert state.links == {"vm-a": "/dev/dax0.1"}
    shown = json.loads(json.dumps(state.to_json()))
    assert shown["regions"][0]["devices"][1]["extents"] == [list(extent) for extent in made.extents]
    assert shown["regions"][0]["end"] == 6 * GIB


def test_static_regions_and_hosts_without_dax(tmp_path: Path) -> None:
    assert read_state(RealSystem(str(tmp_path))).to_json() == {"regions": []}
    parent = "/sys/devices/platform/e820_pmem/ndbus0/region0/dax0.0"
    region(tmp_path, parent, GIB)
    device(tmp_path, parent, "dax0.0", GIB, 4 * GIB)
    (found,) = read_state(RealSystem(str(tmp_path))).regions
    assert (found.range, found.available) == (Range(4 * GIB, 5 * GIB), 0)
    assert found.devices[0].extents == (Range(4 * GIB, 5 * GIB),)


@pytest.mark.parametrize("attribute", ["dax0.0/size", "dax0.0/resource", "dax0.0/align", "dax_region/size"])
@pytest.mark.parametrize("text", ["", "many\n", "\x00", "1 2\n"])
def test_what_is_not_a_number_is_named(tmp_path: Path, attribute: str, text: str) -> None:
    parent = "/sys/devices/platform/hmem.0"
    region(tmp_path, parent, GIB, available=GIB)
    device(tmp_path, parent, "dax0.0", 0, 4 * GIB)
    put(tmp_path, f"{parent}/{attribute}", text)
    with pytest.raises(NotPossible, match=f"{parent}/{attribute} holds"):
        read_state(RealSystem(str(tmp_path)))


def test_an_attribute_that_is_missing_is_named(tmp_path: Path) -> None:
    parent = "/sys/devices/platform/hmem.0"
    region(tmp_path, parent, GIB, available=GIB)
    device(tmp_path, parent, "dax0.0", 0, 4 * GIB)
    (tmp_path / parent.lstrip("/") / "dax0.0/align").unlink()
    with pytest.raises(NotPossible, match=r"dax0\.0/align is missing"):
        read_state(RealSystem(str(tmp_path)))
