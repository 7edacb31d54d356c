# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waves and batches, against what has to be so of all of them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.waves import (
    Member,
    batches,
    wave_sizes,
)

SIZES = st.one_of(st.integers(1, 40), st.integers(1, 100).map(lambda number: f"{number}%"))
WAVES = st.lists(SIZES, min_size=1, max_size=5)
MEMBERS = st.lists(st.tuples(st.sampled_from(["", "r1", "r2", "r3"]), st.booleans()), max_size=60).map(
    lambda found: [Member(f"h{n}", domain, canary) for n, (domain, canary) in enumerate(found)]
)


@given(MEMBERS, WAVES, st.integers(1, 5))
def test_every_batch_keeps_all_promises(members: list[Member], waves: list[object], limit: int) -> None:
    found = batches(members, waves, limit)
    by_name = {member.name: member for member in members}
    assert sorted(name for batch in found for name in batch.hosts) == sorted(by_name)
    assert [batch.number for batch in found] == list(range(1, len(found) + 1))
    assert all(batch.hosts for batch in found)
    for batch in found:
        domains = Counter(by_name[name].domain for name in batch.hosts)
        assert all(number <= limit for domain, number in domains.items() if domain)
    # no host before a canary but of the canary's own wave
    waves_of = {name: batch.wave for batch in found for name in batch.hosts}
    last = max((waves_of[member.name] for member in members if member.canary), default=0)
    assert all(waves_of[member.name] >= last for member in members if not member.canary)
    # the sizes are those asked for, whatever the domains
    sizes = Counter(waves_of.values())
    assert [sizes[wave] for wave in sorted(sizes)] == wave_sizes(waves, len(members))
    for wave in sizes:
        mine = [batch for batch in found if batch.wave == wave]
        assert [batch.begins for batch in mine] == [True] + [False] * (len(mine) - 1)
        crowd = Counter(by_name[name].domain for batch in mine for name in batch.hosts)
        crowd.pop("", None)
        # as few batches as the fullest domain takes
        assert len(mine) == max([1, *(-(-number // limit) for number in crowd.values())])


def test_sizes_are_those_of_ansible() -> None:
    assert wave_sizes([1, "10%", "50%", "100%"], 30) == [1, 3, 15, 11]
    assert wave_sizes(["1", "10%"], 7) == [1] * 7
    assert wave_sizes([1, 3], 8) == [1, 3, 3, 1]
    assert wave_sizes([5], 3) == [3]
    assert wave_sizes([1], 0) == []


@pytest.mark.parametrize("wrong", [0, -1, "0%", "101%", "ten", True, 1.5, None, "1 %", "²"])
def test_what_is_no_size_is_named(wrong: object) -> None:
    with pytest.raises(InvalidInput, match=r"carveout_waves\[1\]: .* is no number of hosts"):
        wave_sizes([1, wrong], 3)


def test_no_waves_and_no_room_are_refused() -> None:
    with pytest.raises(InvalidInput, match="carveout_waves: the list is empty"):
        batches([Member("h1")], [], 1)
    with pytest.raises(InvalidInput, match="carveout_domain_limit: 0 hosts at once"):
        batches([Member("h1")], [1], 0)


def test_a_wave_takes_as_many_batches_as_its_fullest_domain() -> None:
    members = [Member("a1", "a"), Member("a2", "a"), Member("b1", "b"), Member("a3", "a"), Member("c1", "c")]
    found = batches([*members, Member("z", "a", canary=True)], [1, "100%"], 1)
    assert [(batch.wave, batch.hosts) for batch in found] == [
        (1, ("z",)), (2, ("a1", "b1", "c1")), (2, ("a2",)), (2, ("a3",))
    ]  # fmt: skip
