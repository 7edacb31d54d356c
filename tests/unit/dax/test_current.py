# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Other devices in the same boot: what stays is not touched, what is open is not taken, what is noted is believed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._dax.apply import (
    converge,
    preview,
    remove,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.current import (
    CURRENT,
    booted_layout_id,
    carried,
    current_layout_id,
)
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host_files import layout_path, layout_text
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

MIB = 1 << 20
GIB = 1 << 30
REGION = Range(4 * GIB, 5 * GIB)
FIRST = Range(4 * GIB, 4 * GIB + 256 * MIB)
SECOND = Range(4 * GIB + 256 * MIB, 4 * GIB + 512 * MIB)
LARGER = Range(4 * GIB + 256 * MIB, 5 * GIB)


def run(kernel: Any, layout: Layout) -> list[str]:
    """Store the layout as host_files does, tell what would be done, do that."""
    kernel.files[layout_path(layout.id)] = layout_text(layout)
    told = preview(kernel, layout).actions
    assert converge(kernel, layout, lambda seconds: None).actions == told
    assert preview(kernel, layout).actions == ()
    return list(told)


@pytest.fixture
def booted(build: Any) -> tuple[Any, Layout]:
    """A host with two devices, the first of them open."""
    layout = build.layout([REGION], [build.device("a", FIRST), build.device("b", SECOND)])
    kernel = build.kernel(layout)
    run(kernel, layout)
    kernel.open_files["/proc/77/fd/3"] = "/dev/dax0.1"
    kernel.files["/proc/77/comm"] = "qemu\n"
    kernel.writes.clear()
    return kernel, layout


def touched(kernel: Any) -> set[str]:
    """The devices that were unbound or written to."""
    return {text for path, text in kernel.writes if path.endswith("/unbind")}


def test_a_device_grows_beside_one_that_is_open(build: Any, booted: tuple[Any, Layout]) -> None:
    kernel, before = booted
    layout = build.layout([REGION], [build.device("a", FIRST), build.device("b", LARGER)])
    told = run(kernel, layout)
    assert touched(kernel) == {"dax0.2"} and kernel.devices["dax0.1"].driver == "device_dax"
    assert kernel.links == {"a": "../dax0.1", "b": "../dax0.2"}
    assert told[-1] == f"write {layout.id} to {CURRENT}" and kernel.files[CURRENT] == f"{layout.id}\n"
    assert booted_layout_id(kernel) == before.id and current_layout_id(kernel) == layout.id
    assert run(kernel, before)[-1] == f"write {before.id} to {CURRENT}"
    assert current_layout_id(kernel) == before.id


def test_a_new_name_is_a_new_link_and_nothing_else(build: Any, booted: tuple[Any, Layout]) -> None:
    kernel, _ = booted
    layout = build.layout([REGION], [build.device("a", FIRST), build.device("new", SECOND)])
    run(kernel, layout)
    assert kernel.writes == [] and kernel.links == {"a": "../dax0.1", "new": "../dax0.2"}


def test_two_devices_change_their_names(build: Any, booted: tuple[Any, Layout]) -> None:
    kernel, _ = booted
    kernel.open_files.clear()
    run(kernel, build.layout([REGION], [build.device("b", FIRST), build.device("a", SECOND)]))
    assert kernel.writes == [] and kernel.links == {"b": "../dax0.1", "a": "../dax0.2"}


@pytest.mark.parametrize(
    "devices",
    [[("b", SECOND)], [("new", FIRST), ("b", SECOND)], [("a", Range(4 * GIB, 4 * GIB + 2 * MIB))]],
    ids=["removed", "renamed", "shrunk"],
)
def test_a_device_that_is_open_is_not_taken(
    build: Any, booted: tuple[Any, Layout], devices: list[tuple[str, Range]]
) -> None:
    kernel, before = booted
    layout = build.layout([REGION], [build.device(name, extent) for name, extent in devices])
    files = dict(kernel.files)
    with pytest.raises(NotPossible, match=r"^/dev/carveout/a \(/dev/dax0.1\) is in use by qemu \(pid 77\)"):
        converge(kernel, layout, lambda seconds: None)
    assert kernel.writes == [] and kernel.files == files and current_layout_id(kernel) == before.id


def test_permissions_change_under_who_has_it_open(build: Any, booted: tuple[Any, Layout]) -> None:
    kernel, _ = booted
    layout = build.layout(
        [REGION], [build.device("a", FIRST, group="kvm", mode="0660"), build.device("b", SECOND)]
    )
    run(kernel, layout)
    assert kernel.writes == [] and kernel.devices["dax0.1"].mode == 0o660


@pytest.mark.parametrize("fail_at", range(12))
def test_a_change_that_is_cut_short_is_finished_by_the_next_run(
    build: Any, booted: tuple[Any, Layout], fail_at: int
) -> None:
    kernel, before = booted
    layout = build.layout([REGION], [build.device("a", FIRST), build.device("c", LARGER, align=4096)])
    kernel.files[layout_path(layout.id)] = layout_text(layout)
    kernel.fail_at = fail_at
    try:
        converge(kernel, layout, lambda seconds: None)
    except NotPossible:
        assert current_layout_id(kernel) == before.id
        kernel.fail_at = -1
        run(kernel, layout)
    assert current_layout_id(kernel) == layout.id and set(kernel.links) == {"a", "c"}
    assert set(kernel.devices) == {"dax0.0", "dax0.1", "dax0.2"} and "dax0.1" not in touched(kernel)


def test_a_note_is_believed_only_for_a_stored_layout_of_these_arguments(
    build: Any, booted: tuple[Any, Layout]
) -> None:
    kernel, before = booted
    other = dataclasses.replace(before, arguments=("dax_hmem.region_idle=1", "nokaslr"))
    kernel.files[layout_path(other.id)] = layout_text(other)
    for note in ("", "garbage", "0" * 16, other.id):
        kernel.files[CURRENT] = f"{note}\n"
        assert current_layout_id(kernel) == before.id
    assert not carried(kernel, other) and carried(kernel, before)
    same = dataclasses.replace(before, kernel="6.13.0")
    assert carried(kernel, same)
    del kernel.files[layout_path(before.id)]
    assert not carried(kernel, same) and carried(kernel, before)


def test_removal_takes_the_note_away(build: Any, booted: tuple[Any, Layout]) -> None:
    kernel, before = booted
    kernel.open_files.clear()
    layout = build.layout([REGION], [build.device("b", SECOND)])
    run(kernel, layout)
    told = remove(kernel, [before, layout], dry_run=True).actions
    assert told[-1] == f"remove {CURRENT}" and CURRENT in kernel.files
    assert remove(kernel, [before, layout], dry_run=False).actions == told
    assert CURRENT not in kernel.files


def test_a_link_that_udev_did_not_make_is_named(build: Any, booted: tuple[Any, Layout]) -> None:
    kernel, before = booted
    kernel.links["stray"] = "../dax0.0"
    kernel.links_by_hand.add("stray")
    with pytest.raises(NotPossible, match="udev did not remove /dev/carveout/stray"):
        converge(kernel, before, lambda seconds: None)
