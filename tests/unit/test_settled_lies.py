# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first look at a host that lies about itself: it is not settled, whatever it says, and nothing else happens."""

from __future__ import annotations

import copy
import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.action.settled import ActionModule, NotSettled
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.tests.fuzz import mutate, samples

PLAN = validated_plan(samples.PLAN)
HONEST: dict[str, Any] = {"host": samples.host(), "layout": samples.host()["committed"], "pending": []}
#: What the action plugin takes for "not settled".
FINE = (CarveoutError, NotSettled, ValueError, RecursionError)


def look(*said: str) -> Any:
    """What becomes of those answers, one for each command."""
    answers = iter(said)
    check = ActionModule._check_files
    action = SimpleNamespace(_said=lambda _: next(answers), _check_files=check, _notes=[])
    return ActionModule._look(action, "h1", PLAN, False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pending", [None, "", "x", 5, {}, {"a": 1}, [None], [[]], ["{{ x }}\x1b"], True, [0], "missing"]
)
def test_a_strange_list_of_what_is_to_be_done(pending: Any) -> None:
    told = {**HONEST, "pending": pending}
    if pending == "missing":
        del told["pending"]
    with pytest.raises(NotSettled):
        look(json.dumps(told))


@pytest.mark.parametrize("text", ["", "null", "[]", "5", "{", '{"pending": []}', "[" * 100_000, "NaN", '"x"'])
def test_an_answer_that_is_none(text: str) -> None:
    with pytest.raises(FINE):
        look(text)


def test_answers_with_something_changed() -> None:
    chance = random.Random(1)
    for _ in range(400):
        told = mutate.json_text(mutate.mutated(copy.deepcopy(HONEST), chance), chance)
        raw = mutate.json_text(mutate.mutated({"==> /proc/iomem <==": ["0-fff : x"]}, chance), chance)
        with pytest.raises(FINE):
            look(told, chance.choice((raw, "==> /proc/iomem <==\nx-y : z", "==> device files <==\n|||||||")))
