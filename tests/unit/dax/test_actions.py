# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps between what a host has and what a layout wants; no kernel, no fake of one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._dax.actions import (
    AddMapping,
    Bind,
    Create,
    Destroy,
    SetAlign,
    idle_state,
    plan_actions,
    plan_removal,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.state import DaxDevice, DaxRegion, DaxState
from ansible_collections.carveout.memory.plugins.module_utils._dax.udev import render_rules
from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

MIB = 1 << 20
GIB = 1 << 30
REGION = Range(4 * GIB, 6 * GIB)


def found(name: str, *extents: Range, driver: str = "device_dax", align: int = 2 * MIB) -> DaxDevice:
    size = sum(extent.size for extent in extents)
    return DaxDevice(name, size, align, extents, driver, 0, f"/dev/{name}", "root", "root", "0600")


def state(*devices: DaxDevice, region: Range = REGION) -> DaxState:
    path = "/sys/devices/platform/hmem.0/dax_region"
    used = sum(device.size for device in devices)
    seed = () if any(device.is_seed for device in devices) else (found("dax0.0", driver=""),)
    return DaxState(
        (DaxRegion(path, region.start, region.end, 2 * MIB, region.size - used, 0, (*seed, *devices)),), {}
    )


def test_a_device_is_created_aligned_mapped_in_order_and_bound(build: Any) -> None:
    first, second = Range(4 * GIB, 4 * GIB + 64 * MIB), Range(5 * GIB, 5 * GIB + 2 * MIB)
    layout = build.layout([REGION], [build.device("vm", second, first)])
    steps = plan_actions(layout, state())
    assert [type(step) for step in steps] == [Create, SetAlign, AddMapping, AddMapping, Bind]
    assert [step.extent for step in steps if isinstance(step, AddMapping)] == [second, first]
    assert plan_actions(layout, idle_state(layout))[1:] == steps[1:]


def test_a_device_is_recognised_by_its_ranges_whatever_its_name(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION)])
    assert plan_actions(layout, state(found("dax7.13", REGION))) == []
    (bind,) = plan_actions(layout, state(found("dax7.13", REGION, driver="")))
    assert isinstance(bind, Bind) and bind.existing is not None and bind.existing.name == "dax7.13"


@pytest.mark.parametrize(
    "there",
    [
        found("dax0.1", Range(4 * GIB, 5 * GIB)),
        found("dax0.1", Range(5 * GIB, 6 * GIB), Range(4 * GIB, 5 * GIB)),
        found("dax0.1", REGION, align=GIB),
        found("dax0.0", Range(4 * GIB, 5 * GIB)),
    ],
    ids=["smaller", "other order", "other align", "the seed"],
)
def test_what_the_layout_does_not_have_is_destroyed_before_anything_is_created(
    build: Any, there: DaxDevice
) -> None:
    steps = plan_actions(build.layout([REGION], [build.device("vm", REGION)]), state(there))
    assert [type(step) for step in steps] == [Destroy, Create, SetAlign, AddMapping, Bind]
    assert isinstance(steps[0], Destroy) and steps[0].device == there


def test_empty_devices_are_cleared_away_but_never_the_seed(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION)])
    orphan = found("dax0.3", driver="")
    steps = plan_actions(layout, state(found("dax0.1", REGION), orphan))
    assert [step.device.name for step in steps] == ["dax0.3"]


def test_devices_in_other_regions_are_nobodys_business(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION)])
    foreign = state(found("dax1.0", Range(8 * GIB, 9 * GIB), driver="kmem"), region=Range(8 * GIB, 9 * GIB))
    both = DaxState((*state(found("dax0.1", REGION)).regions, *foreign.regions), {})
    assert plan_actions(layout, both) == []
    assert [step.device.name for step in plan_removal([layout], both)] == ["dax0.1"]


def test_a_region_of_a_reserved_pool_is_not_touched(build: Any) -> None:
    layout = build.layout([REGION], [], mechanism="reserved")
    assert plan_actions(layout, state(found("dax0.1", REGION))) == []


@pytest.mark.parametrize(
    ("there", "code", "words"),
    [
        (state(found("dax0.0", REGION, driver="kmem")), "dax-kmem", ["kmem", "dax_hmem.region_idle=1"]),
        (state(found("dax0.0", REGION, driver="")), "dax-not-idle", ["dax0.0", "dax_hmem.region_idle=1"]),
        (DaxState((), {}), "dax-region-missing", ["the host has none", "memmap=", "CONFIG_DEV_DAX_HMEM"]),
        (
            state(region=Range(4 * GIB, 5 * GIB)),
            "dax-region-missing",
            ["[0x100000000, 0x140000000)", "KASLR"],
        ),
        (
            state(region=Range(8 * GIB, 9 * GIB)),
            "dax-region-missing",
            ["the host has [0x200000000, 0x240000000)"],
        ),
    ],
)
def test_why_the_memory_is_not_there(build: Any, there: DaxState, code: str, words: list[str]) -> None:
    with pytest.raises(NotPossible) as caught:
        plan_actions(build.layout([REGION], [build.device("vm", REGION)]), there)
    (problem,) = caught.value.problems
    assert (problem.path, problem.code) == ("pools.pool0.nodes.0", code)
    assert all(word in problem.message for word in ["[0x100000000, 0x180000000)", *words])


def test_memory_that_the_kernel_has_is_left_alone_when_devices_are_removed(build: Any) -> None:
    layout = build.layout([REGION], [])
    assert plan_removal([layout], state(found("dax0.0", REGION, driver="kmem"))) == []


@pytest.mark.parametrize(
    ("extents", "align", "code"),
    [
        # accepted by the kernel, which then maps the wrong memory
        ([Range(4 * GIB + 2 * MIB, 5 * GIB + 2 * MIB)], GIB, "dax-misaligned"),
        # ignored by 6.12 with success
        ([Range(4 * GIB, 4 * GIB + 3 * MIB)], 2 * MIB, "dax-misaligned"),
        ([Range(4 * GIB, 4 * GIB + 4096)], 4096, "dax-misaligned"),
        ([Range(4 * GIB, 4 * GIB + 4 * MIB)], 4 * MIB, "dax-align"),
        ([Range(4 * GIB, 5 * GIB), Range(5 * GIB - 2 * MIB, 6 * GIB)], 2 * MIB, "dax-overlap"),
        ([Range(4 * GIB, 7 * GIB)], 2 * MIB, "dax-outside"),
        ([], 2 * MIB, "dax-outside"),
    ],
)
def test_what_the_kernel_would_get_wrong_is_refused(
    build: Any, extents: list[Range], align: int, code: str
) -> None:
    layout = build.layout([REGION], [build.device("vm", *extents, align=align)])
    with pytest.raises(InvalidInput) as caught:
        plan_actions(layout, state())
    assert [problem.code for problem in caught.value.problems] == [code]
    assert caught.value.problems[0].path == "pools.pool0.devices[0]"


def test_the_udev_rule_names_every_extent_and_escapes_substitutions(build: Any) -> None:
    device = build.device(
        "vm-a",
        Range(4 * GIB, 5 * GIB),
        Range(5 * GIB + 2 * MIB, 5 * GIB + 4 * MIB),
        owner="svc$",
        mode="0660",
    )
    rules = render_rules(build.layout([REGION], [device]))
    (line,) = [line for line in rules.splitlines() if line.startswith("DRIVER")]
    assert line == (
        'DRIVER=="device_dax", ATTR{size}=="1075838976", ATTR{align}=="2097152", '
        'ATTR{mapping0/start}=="0x100000000", ATTR{mapping0/end}=="0x13fffffff", '
        'ATTR{mapping1/start}=="0x140200000", ATTR{mapping1/end}=="0x1403fffff", '
        'SYMLINK+="carveout/vm-a", OWNER="svc$$", GROUP="root", MODE="0660", TAG+="systemd"'
    )
    assert render_rules(build.layout([REGION], [])) == ""
