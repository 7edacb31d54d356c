# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lines of /proc/iomem that meet a PCI window, as seen on 6.1 and 6.12 (see ``tests.kernel``)."""

from __future__ import annotations

from ansible_collections.carveout.memory.plugins.module_utils._model.iomem import IomemRange
from ansible_collections.carveout.memory.plugins.module_utils._model.windows import expanded, windows_of
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

WINDOW = Range(0xC0000000, 0xFEC00000)


def test_a_reserved_line_grows_over_a_window_it_half_overlaps() -> None:
    lines = [IomemRange(0xBFFE0000, 0xC0200000, "Reserved"), IomemRange(0xFFFC0000, 1 << 32, "Reserved")]
    assert expanded(lines, [WINDOW]) == (IomemRange(0xBFFE0000, 0xFEC00000, "Reserved"), lines[1])


def test_one_inside_or_around_stays() -> None:
    inside = IomemRange(0xD0000000, 0xD0001000, "Soft Reserved")
    around = IomemRange(0xB0000000, 1 << 32, "Persistent Memory (legacy)")
    assert expanded([inside], [WINDOW]) == (inside,)
    assert expanded([around], [WINDOW]) == (around,)


def test_growing_goes_on_to_the_next() -> None:
    lines = [IomemRange(0xBFFE0000, 0xC0200000, "Reserved"), IomemRange(0xFEB00000, 0xFED00000, "Reserved")]
    assert expanded(lines, [WINDOW]) == (
        IomemRange(0xBFFE0000, 0xFED00000, "Reserved"),
        IomemRange(0xBFFE0000, 0xFEC00000, "Reserved"),
    )


def test_ram_stays_and_the_window_is_not_entered() -> None:
    ram = IomemRange(0xB0000000, 0xC0100000, "System RAM")
    reserved = IomemRange(0xC0100000, 0xC0200000, "Reserved")
    assert expanded([ram, reserved], [WINDOW]) == (ram, reserved)


def test_windows_are_buses_and_their_devices() -> None:
    iomem = [
        [0, 1, "Reserved", 0],
        [1, 5, "PCI Bus 0000:00", 0],
        [2, 3, "0000:00:02.0", 1],
        [2, 3, "bochs-drm", 2],
    ]
    assert windows_of({"iomem": iomem}) == (Range(1, 5), Range(2, 3))
