# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sample of ``make fuzz``, the same every time: whatever the command is given, it answers as it should."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.tests.fuzz import run, samples
from ansible_collections.carveout.memory.tests.fuzz.mutate import mutated

_CHUNK = 250


@pytest.mark.parametrize("first", range(0, 1500, _CHUNK))
def test_a_sample(first: int) -> None:
    counts, findings = run.run(1, range(first, first + _CHUNK))
    assert findings == []
    assert {kind for kind, status in counts if status == 0} >= {
        "plan",
        "yaml",
        "host",
        "command line",
        "taken over",
    }
    assert {kind for kind, status in counts if status == 4} >= {"plan", "yaml", "host", "layout", "log"}


def test_no_changed_layout_is_taken_for_a_committed_one(tmp_path: Path) -> None:
    chance = random.Random(1)
    layout = samples.layout(samples.host())
    with run.workplace():
        for _ in range(120):
            text = json.dumps(mutated(layout, chance))
            Path("x.json").write_text(text, encoding="utf-8")
            argv = ["plan", "plan.yml", "--host", "host.json", "--previous", "x.json", "--format", "json"]
            status, out, _ = run.call(argv)
            assert status == (0 if text == json.dumps(layout) else 4), out
