# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Regions that the kernel has made and used before we came: taken over while it runs, and at each boot again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._dax.apply import converge, preview
from ansible_collections.carveout.memory.plugins.module_utils._dax.current import current_layout_id
from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host_files import (
    COMMITTED,
    layout_path,
    layout_text,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

MIB = 1 << 20
GIB = 1 << 30
REGION = Range(4 * GIB, 5 * GIB)
BLOCKS = range(32, 40)


@pytest.fixture
def adopted(build: Any) -> tuple[Any, Layout]:
    """A layout without arguments, and a host whose kernel has taken the region for itself."""
    made = build.layout([REGION], [build.device("a", Range(4 * GIB, 4 * GIB + 256 * MIB))])
    reservations = tuple(dataclasses.replace(r, existing=True) for r in made.reservations)
    layout = dataclasses.replace(made, arguments=(), reservations=reservations)
    kernel = build.kernel(layout)
    seed = kernel.devices["dax0.0"]
    seed.ranges.append(REGION)
    seed.driver = "kmem"
    kernel.region_flags_kmem = True
    kernel.blocks = dict.fromkeys(BLOCKS, "Movable")
    kernel.files[layout_path(layout.id)] = layout_text(layout)
    return kernel, layout


def test_the_kernel_gives_its_memory_back(adopted: tuple[Any, Layout]) -> None:
    kernel, layout = adopted
    told = preview(kernel, layout).actions
    assert told[0] == "destroy dax0.0 ([0x100000000, 0x140000000))"
    assert converge(kernel, layout, lambda seconds: None).actions == told
    assert kernel.blocks == {} and kernel.devices["dax0.0"].size == 0
    assert kernel.links == {"a": "../dax0.1"} and kernel.devices["dax0.1"].driver == "device_dax"
    assert preview(kernel, layout).actions == ()


def test_the_kernel_keeps_what_it_cannot_move(adopted: tuple[Any, Layout]) -> None:
    kernel, layout = adopted
    kernel.pinned = {35}
    with pytest.raises(NotPossible, match="cannot be moved"):
        converge(kernel, layout, lambda seconds: None)
    assert kernel.blocks == dict.fromkeys(BLOCKS, "Movable") and kernel.devices["dax0.0"].driver == "kmem"


def test_the_region_of_a_reservation_of_our_own_is_never_taken_so(adopted: tuple[Any, Layout]) -> None:
    kernel, layout = adopted
    ours = tuple(dataclasses.replace(r, existing=False) for r in layout.reservations)
    with pytest.raises(NotPossible, match="was handed to the kernel"):
        preview(kernel, dataclasses.replace(layout, reservations=ours))


def test_a_boot_for_no_layout_has_the_committed_one_that_needs_no_arguments(
    adopted: tuple[Any, Layout],
) -> None:
    kernel, layout = adopted
    assert current_layout_id(kernel) is None
    kernel.files[COMMITTED] = f"{layout.id}\n"
    assert current_layout_id(kernel) == layout.id
    other = dataclasses.replace(layout, arguments=("dax_hmem.region_idle=1",))
    kernel.files[layout_path(other.id)] = layout_text(other)
    for committed in (other.id, "0" * 16, "garbage"):
        kernel.files[COMMITTED] = f"{committed}\n"
        assert current_layout_id(kernel) is None


def test_what_was_made_before_the_commit_is_known(adopted: tuple[Any, Layout]) -> None:
    kernel, layout = adopted
    converge(kernel, layout, lambda seconds: None)
    assert current_layout_id(kernel) == layout.id
