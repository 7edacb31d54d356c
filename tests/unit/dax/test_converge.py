# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Making devices on the fake kernel, which fails where and how a test wants it to."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._dax.actions import AddMapping, plan_actions
from ansible_collections.carveout.memory.plugins.module_utils._dax.apply import (
    Outcome,
    converge,
    preview,
    preview_reboot,
    remove,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.nodes import found_devices, node_faults
from ansible_collections.carveout.memory.plugins.module_utils._dax.state import read_state
from ansible_collections.carveout.memory.plugins.module_utils._dax.steps import carry_out
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

MIB = 1 << 20
GIB = 1 << 30
UNIT = 2 * MIB
REGION = Range(4 * GIB, 5 * GIB)


def no_pause(seconds: float) -> None:
    """Nothing happens on the fake kernel while one waits."""


def run(kernel: Any, layout: Layout) -> Outcome:
    return converge(kernel, layout, no_pause)


@st.composite
def partitions(draw: st.DrawFn, names: str = "abcd") -> list[tuple[str, list[Range]]]:
    """Devices of one region: its pieces dealt to devices in any order, some to none."""
    units = REGION.size // UNIT
    cuts = sorted(draw(st.sets(st.integers(1, units - 1), max_size=9)))
    bounds = [0, *cuts, units]
    pieces = [Range(REGION.start + a * UNIT, REGION.start + b * UNIT) for a, b in pairwise(bounds)]
    owners = draw(st.lists(st.sampled_from([*names, ""]), min_size=len(pieces), max_size=len(pieces)))
    devices: dict[str, list[Range]] = {}
    for index in draw(st.permutations(range(len(pieces)))):
        if owners[index]:
            devices.setdefault(owners[index], []).append(pieces[index])
    return list(devices.items())


def devices_of(build: Any, parts: list[tuple[str, list[Range]]]) -> list[Device]:
    return [build.device(name, *extents, owner="daemon", group="kvm", mode="0660") for name, extents in parts]


def assert_stands(kernel: Any, layout: Layout) -> None:
    """Everything is as the layout says, and nothing else is in its regions."""
    state = read_state(kernel)
    found = found_devices(layout, state)
    assert set(found) == {device.name for device in layout.devices}
    assert {device.driver for device in found.values()} <= {"device_dax"}
    assert node_faults(layout, state) == []
    names = {device.name for device in found.values()} | {f"dax{index}.0" for index in kernel.regions}
    assert set(kernel.devices) == names
    assert all(kernel.devices[f"dax{index}.0"].size == 0 for index in kernel.regions)


@given(wanted=partitions(), there=partitions(names="axyz"))
def test_from_any_devices_to_any_other_and_then_nothing_is_left_to_do(
    build: Any, wanted: list[tuple[str, list[Range]]], there: list[tuple[str, list[Range]]]
) -> None:
    layout = build.layout([REGION], devices_of(build, wanted))
    kernel = build.kernel(layout)
    carry_out(kernel, plan_actions(build.layout([REGION], devices_of(build, there)), read_state(kernel)))

    expected = preview(kernel, layout).actions
    assert run(kernel, layout).actions == expected
    assert_stands(kernel, layout)
    written = len(kernel.writes)
    assert run(kernel, layout).actions == ()
    assert preview(kernel, layout).actions == ()
    assert len(kernel.writes) == written


@settings(max_examples=200)
@given(parts=partitions(), fail_at=st.integers(0, 40))
def test_a_failure_anywhere_leaves_no_orphan_and_the_next_run_finishes(
    build: Any, parts: list[tuple[str, list[Range]]], fail_at: int
) -> None:
    layout = build.layout([REGION], devices_of(build, parts))
    kernel = build.kernel(layout)
    kernel.fail_at = fail_at
    try:
        run(kernel, layout)
    except NotPossible as error:
        assert len(error.problems) == 1 and "injected" not in str(error)
        assert "Input/output error" in str(error)
        assert error.problems[0].path == "pools.pool0.devices[0]"
        bound = {name for name, device in kernel.devices.items() if device.driver}
        assert set(kernel.devices) == bound | {"dax0.0"}
    else:
        assert len(kernel.writes) <= fail_at
    kernel.fail_at = -1
    run(kernel, layout)
    assert_stands(kernel, layout)


def test_a_driver_that_does_not_take_the_device_is_noticed(build: Any) -> None:
    """7.2: the write succeeds, the probe failed with EBUSY over live System RAM."""
    layout = build.layout([REGION], [build.device("vm", REGION)])
    kernel = build.kernel(layout)
    kernel.probe_fails = True
    with pytest.raises(NotPossible, match="driver is none instead of device_dax"):
        run(kernel, layout)
    assert set(kernel.devices) == {"dax0.0"}


def test_a_region_that_was_not_made_idle_is_named_as_the_reason(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION)])
    kernel = build.kernel(layout)
    kernel.region_flags_kmem = True
    with pytest.raises(NotPossible, match=r"No such device.*dax_hmem.region_idle=1"):
        run(kernel, layout)
    assert set(kernel.devices) == {"dax0.0"}


@pytest.mark.parametrize("old", [True, False], ids=["6.1", "6.12"])
def test_a_mapping_that_the_kernel_drops_is_noticed(build: Any, old: bool) -> None:
    """ENXIO on 6.1, success without effect on 6.12; behind the check of the layout, as a second net."""
    layout = build.layout([REGION], [build.device("vm", REGION)])
    kernel = build.kernel(layout)
    kernel.old_length_check = old
    create, align, mapping, bind = plan_actions(layout, read_state(kernel))
    assert isinstance(mapping, AddMapping)
    odd = AddMapping(mapping.device, Range(REGION.start, REGION.start + MIB))
    with pytest.raises(
        NotPossible, match="No such device" if old else "the device's memory is empty instead of"
    ):
        carry_out(kernel, [create, align, odd, bind])
    assert set(kernel.devices) == {"dax0.0"}


@pytest.mark.parametrize("how", ["fd", "map"])
def test_a_device_in_use_is_not_destroyed_and_its_user_is_named(build: Any, how: str) -> None:
    there = build.layout([REGION], [build.device("old", REGION)])
    layout = build.layout([REGION], [build.device("vm", Range(REGION.start, REGION.start + UNIT))])
    kernel = build.kernel(there)
    run(kernel, there)
    kernel.open_files["/proc/77/fd/3"] = "/dev/dax0.1" if how == "fd" else "/etc/passwd"
    kernel.files["/proc/77/comm"] = "qemu-system-x86\n"
    if how == "map":
        kernel.files["/proc/77/maps"] = "7f00-7f80 rw-s 00000000 00:06 301      /dev/dax0.1\n"
    before = len(kernel.writes)
    attempts = [
        lambda: run(kernel, layout),
        lambda: preview(kernel, layout),
        lambda: remove(kernel, [there], dry_run=False),
    ]
    for attempt in attempts:
        with pytest.raises(NotPossible, match=r"/dev/dax0.1\)? is in use by qemu-system-x86 \(pid 77\)"):
            attempt()
    assert len(kernel.writes) == before


def test_removal_stops_for_a_tenant_also_where_the_file_of_the_layout_is_gone(build: Any) -> None:
    there = build.layout([REGION], [build.device("old", REGION)])
    kernel = build.kernel(there)
    run(kernel, there)
    kernel.open_files["/proc/77/fd/3"] = "/dev/dax0.1"
    before = len(kernel.writes)
    with pytest.raises(NotPossible, match=r"^/dev/carveout/old \(/dev/dax0.1\) is in use by"):
        remove(kernel, [], dry_run=False)
    assert len(kernel.writes) == before and "/run/udev/rules.d/61-carveout.rules" in kernel.files
    kernel.open_files.clear()
    assert remove(kernel, [], dry_run=False).actions == ("remove /run/udev/rules.d/61-carveout.rules",)


def test_a_reboot_is_not_for_nothing_and_takes_nothing_from_tenants(build: Any) -> None:
    there = build.layout([REGION], [build.device("old", REGION)])
    kernel = build.kernel(there)
    run(kernel, there)
    kernel.open_files["/proc/77/fd/3"] = "/dev/dax0.1"
    other = build.layout([Range(8 * GIB, 9 * GIB)], [build.device("vm", Range(8 * GIB, 9 * GIB))])
    with pytest.raises(NotPossible, match=r"^/dev/carveout/old \(/dev/dax0.1\) is in use by"):
        preview_reboot(kernel, other)
    kernel.open_files.clear()
    assert preview_reboot(kernel, other).actions[-1] == "after the reboot: bind vm to device_dax"
    wrong = build.layout([REGION], [build.device("vm", REGION, owner="nobody-here")])
    with pytest.raises(NotPossible, match="the user 'nobody-here' does not exist on this host"):
        preview_reboot(kernel, wrong)


def test_accounts_that_do_not_exist_stop_it_before_any_change(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION, owner="nobody-here", group="kvm2")])
    kernel = build.kernel(layout)
    with pytest.raises(NotPossible) as caught:
        run(kernel, layout)
    assert [problem.path for problem in caught.value.problems] == [
        "pools.pool0.devices[0].owner",
        "pools.pool0.devices[0].group",
    ]
    assert kernel.writes == [] and "/run/udev/rules.d/61-carveout.rules" not in kernel.files


def test_udev_that_does_not_do_as_told_is_an_error(build: Any) -> None:
    """udev 258 and later ignores owners that are not system accounts."""
    layout = build.layout([REGION], [build.device("vm", REGION, owner="daemon")])
    kernel = build.kernel(layout)
    kernel.udev_ignores_owner = True
    with pytest.raises(NotPossible, match="udev did not set owner of vm to daemon"):
        run(kernel, layout)


def test_a_spoiled_node_is_mended_without_touching_the_device(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION, mode="0640")])
    kernel = build.kernel(layout)
    run(kernel, layout)
    kernel.devices["dax0.1"].mode = 0o666
    del kernel.links["vm"]
    before = len(kernel.writes)
    outcome = run(kernel, layout)
    assert [text.split(" (")[0] for text in outcome.actions] == [
        "link /dev/carveout/vm to dax0.1",
        "set mode of vm to 0640",
    ]
    assert len(kernel.writes) == before and node_faults(layout, read_state(kernel)) == []


def test_removal_takes_devices_and_rule_and_only_tells_when_asked_to(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", Range(REGION.start, REGION.start + UNIT))])
    kernel = build.kernel(layout)
    run(kernel, layout)
    told = remove(kernel, [layout], dry_run=True).actions
    assert set(kernel.devices) == {"dax0.0", "dax0.1"}
    assert remove(kernel, [layout], dry_run=False).actions == told
    assert set(kernel.devices) == {"dax0.0"} and "/run/udev/rules.d/61-carveout.rules" not in kernel.files
    assert remove(kernel, [layout], dry_run=False).actions == ()


def test_drivers_that_cannot_be_loaded_are_named(build: Any) -> None:
    layout = build.layout([REGION], [build.device("vm", REGION)])
    kernel = build.kernel(layout)
    kernel.missing_modules = True
    with pytest.raises(NotPossible, match="cannot load the modules dax_hmem and device_dax: modprobe: FATAL"):
        run(kernel, layout)
