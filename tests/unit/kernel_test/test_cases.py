# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cases: the same for a seed, different between seeds, and such that machines of QEMU exist for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.carveout.memory.tests.kernel.cases import Expect, low_end, make_case, top
from ansible_collections.carveout.memory.tests.kernel.machine import GIB, Machine, qemu_arguments

CASES = [make_case(7, number) for number in range(400)]


def test_a_seed_gives_the_same_cases_again() -> None:
    assert [make_case(7, number) for number in range(400)] == CASES
    assert [make_case(8, number) for number in range(400)] != CASES


def test_all_kinds_and_forms_come_up() -> None:
    assert {case.expect for case in CASES} == set(Expect)
    lines = [case.cmdline for case in CASES]
    for form in (
        "!",
        "#",
        "$",
        "%",
        "@",
        "exactmap",
        "mem=",
        "hugepages=",
        "nokaslr",
        '"',
        "0x",
        ",",
        " -- ",
    ):
        assert any(form in line for line in lines), form
    assert any("nokaslr" not in line for line in lines)


def test_lines_fit_into_a_command_line() -> None:
    assert max(len(case.cmdline) for case in CASES) < 1900


def test_machines_are_possible() -> None:
    for case in CASES:
        machine = case.machine
        assert len(machine.nodes) == 1 or machine.srat
        assert machine.srat or not machine.hmat
        assert all(size % 8192 == 0 for size in machine.nodes)
        assert sum(machine.nodes) <= 14 * GIB
        assert qemu_arguments(machine, Path("k"), Path("i"), case.cmdline, Path("c"))[0].startswith("qemu")


@pytest.mark.parametrize(
    ("machine", "low", "end"),
    [
        (Machine((2 * GIB,)), 2 * GIB, 2 * GIB),
        (Machine((5 * GIB, 3 * GIB)), 3 * GIB, 9 * GIB),
        (Machine((4 * GIB,), board="q35"), 2 * GIB, 6 * GIB),
        (Machine((4 * GIB,), below_4g=1 * GIB), GIB, 7 * GIB),
    ],
)
def test_where_ram_ends(machine: Machine, low: int, end: int) -> None:
    assert (low_end(machine), top(machine)) == (low, end)
