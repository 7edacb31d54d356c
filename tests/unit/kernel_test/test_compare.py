# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prediction and boot beside each other."""

from __future__ import annotations

import dataclasses

from ansible_collections.carveout.memory.plugins.module_utils._model.predict import predict
from ansible_collections.carveout.memory.tests.kernel.compare import differences, host_of, side_by_side
from ansible_collections.carveout.memory.tests.kernel.machine import Machine
from ansible_collections.carveout.memory.tests.kernel.observation import Observation

MAP = (
    ("0000000000000000", "000000000009ffff", "usable"),
    ("0000000000100000", "000000007fffffff", "usable"),
    ("0000000100000000", "000000017fffffff", "usable"),
)
IOMEM = """00000000-00000fff : Reserved
00001000-0009ffff : System RAM
00100000-7fffffff : System RAM
  01000000-01ffffff : Kernel code
c0000000-febfffff : PCI Bus 0000:00
100000000-17fffffff : System RAM"""
PRESENT = (0x9F000 + 0x7FF00000 + 0x80000000) // 4096


def seen(iomem: str = IOMEM, present: int = PRESENT) -> Observation:
    messages = [f"[    0.0] BIOS-e820: [mem 0x{first}-0x{last}] {kind}" for first, last, kind in MAP]
    files = {"/proc/zoneinfo": f"Node 0, zone   Normal\n        present  {present}"}
    sections = {"dmesg": "\n".join(messages), "iomem": iomem}
    return Observation("6.12.1", Machine(), "nokaslr", True, "", 1.0, "", sections, files, {})


def test_what_is_the_same_gives_nothing() -> None:
    assert differences(predict(host_of(seen()), ["nokaslr"], "6.12.1"), seen()) == []


def test_one_byte_and_one_page_are_differences() -> None:
    predicted = predict(host_of(seen()), ["nokaslr"], "6.12.1")
    found = differences(predicted, seen(IOMEM.replace("7fffffff", "7ffffffe", 1), PRESENT - 1))
    assert [difference.subject for difference in found] == ["iomem", "present"]
    text = str(found[0])
    assert "->  0x000000100000-0x000080000000 System RAM | 0x000000100000-0x00007fffffff System RAM" in text
    assert "    0x000100000000-0x000180000000 System RAM | 0x000100000000-0x000180000000 System RAM" in text


def test_a_line_twice_is_a_difference() -> None:
    predicted = predict(host_of(seen()), ["nokaslr"], "6.12.1")
    doubled = dataclasses.replace(predicted, iomem=(*predicted.iomem, predicted.iomem[-1]))
    assert [difference.subject for difference in differences(doubled, seen())] == ["iomem"]


def test_side_by_side_marks_what_differs() -> None:
    assert side_by_side("map", ["a", "b"], ["a"]).splitlines() == [
        "    map",
        "    predicted | real",
        "    a         | a",
        "->  b         |",
    ]
