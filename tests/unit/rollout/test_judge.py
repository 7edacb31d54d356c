# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gate between batches, in rollouts that are played through with every kind of failure."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.judge import judge
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.record import (
    COMMITTED,
    FAILED,
    HELD,
    PLANNED,
    SETTLED,
    UNREACHABLE,
    WORKING,
    Record,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.rollout.waves import Member, batches

#: How a host's job ends: well; back on its old arguments; not back; lost in the middle.
ENDS = st.sampled_from(["well", "well", "well", "back", "down", "lost"])
FLEETS = st.lists(
    st.tuples(
        st.sampled_from(["", "r1", "r2"]), ENDS, st.sampled_from([PLANNED, PLANNED, SETTLED, UNREACHABLE])
    ),
    max_size=30,
)


@given(FLEETS, st.integers(1, 3), st.integers(0, 6), st.integers(1, 10))
def test_no_domain_has_more_hosts_out_than_allowed(
    fleet: list[tuple[str, str, str]], limit: int, budget: int, wave: int
) -> None:
    records = {f"h{n}": Record(f"h{n}", state, domain=domain) for n, (domain, _, state) in enumerate(fleet)}
    ends = {f"h{n}": end for n, (_, end, _) in enumerate(fleet)}
    planned = [Member(r.host, r.domain) for r in records.values() if r.state == PLANNED]
    before = Counter(r.domain for r in records.values() if r.out)
    worked: list[str] = []
    for batch in batches(planned, [wave], limit):
        verdict = judge([*records.values()], batch.hosts, budget=budget, limit=limit)
        failed = sum(record.failed for record in records.values())
        assert bool(verdict.stop) == (failed > budget)
        if verdict.stop:
            assert not verdict.go and not verdict.held
            break
        assert {*verdict.go, *verdict.held} == {*batch.hosts}
        # while they are worked on, all of them may be down
        out = Counter(r.domain for r in records.values() if r.domain and r.out)
        out.update(records[name].domain for name in verdict.go if records[name].domain)
        assert all(number <= max(limit, before[domain]) for domain, number in out.items())
        for name in verdict.held:
            assert limit <= out[records[name].domain]
            records[name] = replace(records[name], state=HELD)
        worked += verdict.go
        for name in verdict.go:
            state = {"well": COMMITTED, "lost": WORKING}.get(ends[name], FAILED)
            records[name] = replace(records[name], state=state, down=ends[name] == "down")
    assert len(worked) == len({*worked})
    assert all(state == PLANNED for _, _, state in (fleet[int(name[1:])] for name in worked))


def test_a_stop_holds_whatever_the_budget() -> None:
    verdict = judge([Record("h1", PLANNED)], ["h1"], budget=9, limit=1, stopped="nobody approved wave 2")
    assert (verdict.stop, verdict.go) == ("nobody approved wave 2", ())


def test_what_is_said_of_a_host_that_is_left_alone() -> None:
    records = [
        Record("h1", UNREACHABLE, domain="rack1"),
        Record("h2", PLANNED, domain="rack1"),
        Record("h3", PLANNED),
    ]
    verdict = judge(records, ["h2", "h3"], budget=1, limit=1)
    assert verdict.go == ("h3",)
    assert verdict.held == {"h2": "left alone: of rack1 1 host may be down at once, and as many are"}
    assert judge(records, ["h2"], budget=0, limit=1).stop == "1 host failed, and the failure budget is 0"
