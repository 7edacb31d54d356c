# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``mechanism: auto``: which mechanism a pool gets on this host, and why not the others.

Each mechanism is asked by planning the pool with it: then the kernel, its configuration, the firmware, the
tenants' page size and what else the plan wants of the pool have all had their say.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .._errors import CarveoutError, NotPossible, Problem
from .._host.model import Host
from .._layout import Layout, LayoutWarning
from .._mechanisms import hugetlb
from .._units import PAGE, STRUCT_PAGE, approximate_size
from .plan import AUTO, Plan, PoolPlan, read_plan
from .ways import CHOICES, STAND_IN, WAYS, Way, spelled, struct_pages_in_use

#: What a choice is told by in a layout: a note, nothing is wrong.
NOTE = "mechanism-chosen"
#: Less than this share of a pool's struct pages does not outweigh the order of preference.
_SLIGHT = 100
#: So much of a reason is told.
_LONGEST = 300


class Planner(Protocol):
    """Plans where no pool is ``auto`` any more."""

    def __call__(self, plan: Plan, host: Host, previous: Layout | None, replan: bool) -> Layout: ...


@dataclass(frozen=True)
class _Attempt:
    """A way tried: ``left`` are struct pages of the host in use, ``size`` the pool's bytes; or why not.

    ``able``: whether it is the host that has not got what the plan wants, and not the mechanism.
    """

    way: Way
    left: int = 0
    size: int = 0
    problems: tuple[Problem, ...] = ()
    able: bool = True

    @property
    def price(self) -> int:
        return self.left - self.size


def choose(plan: Plan, host: Host, previous: Layout | None, replan: bool, make: Planner) -> Layout:
    """The layout with a mechanism for each ``auto`` pool; notes in it say which and why.

    What ``previous`` has is kept where it is still possible, unless ``replan``. Else the mechanism that leaves
    the fewest struct pages in use, by the order of :data:`.ways.WAYS` where it makes no more than a slight
    difference. Raises :class:`NotPossible` where none can do it, with what is wrong with all of them if it is
    the same.
    """
    pools = sorted((p for p in plan.pools if p.mechanism == AUTO), key=lambda p: p.name)
    kept = {} if replan or previous is None else mechanisms_of(previous)
    if previous is not None and all(pool.name in kept for pool in pools):
        ways = {p.name: next(w for w in CHOICES if w.mechanism == kept[p.name]) for p in pools}
        layout = _kept(with_ways(plan, ways), host, previous, make)
        if layout is previous:
            return previous
    chosen: dict[str, Way] = {}
    notes = []
    for pool in pools:
        others = {p.name: STAND_IN for p in pools if p.name not in chosen and p is not pool}
        attempts = [_attempt(plan, host, pool, way, {**others, **chosen}, make) for way in CHOICES]
        best = _best(pool, attempts, kept.get(pool.name))
        chosen[pool.name] = best.way
        notes.append(_note(pool.name, best, attempts, kept.get(pool.name)))
    layout = make(with_ways(plan, chosen), host, previous, replan)
    return replace(layout, warnings=(*notes, *layout.warnings))


def _kept(plan: Plan, host: Host, previous: Layout, make: Planner) -> Layout | None:
    try:
        return make(plan, host, previous, False)
    except CarveoutError:
        return None


def mechanisms_of(layout: Layout) -> dict[str, str]:
    """The mechanism of each pool of a layout, of those that ``auto`` chooses from."""
    known = {way.mechanism for way in CHOICES}
    found = {r.pool: r.mechanism for r in layout.reservations if r.mechanism in known}
    return {**found, **{pages.pool: hugetlb.NAME for pages in layout.hugepages}}


def with_ways(plan: Plan, ways: Mapping[str, Way]) -> Plan:
    """The plan with these pools by these ways; it still answers for what the operator wrote.

    Raises :class:`InvalidInput` where a way cannot do what the plan says of the pool.
    """
    source: Mapping[str, Any] = plan.source
    pools = {
        name: _respelled(pool, ways[name]) if name in ways else pool for name, pool in source["pools"].items()
    }
    return replace(read_plan({**source, "pools": pools}), source=plan.source)


def _respelled(pool: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """A stand-in takes the memory; what tenants want of it is looked at in its own turn."""
    if way is STAND_IN:
        pool = {key: pool[key] for key in ("mechanism", "nodes", "align", "page_size") if key in pool}
    return spelled(pool, way)


def _attempt(
    plan: Plan, host: Host, pool: PoolPlan, way: Way, others: Mapping[str, Way], make: Planner
) -> _Attempt:
    try:
        layout = make(with_ways(plan, {**others, pool.name: way}), host, None, False)
    except CarveoutError as error:
        able = isinstance(error, NotPossible) and error.problems[0].path != f"{pool.path}.mechanism"
        return _Attempt(way, problems=tuple(error.problems), able=able)
    return _Attempt(way, struct_pages_in_use(host, layout), sum(parts_of(layout, pool.name, way)))


def parts_of(layout: Layout, pool: str, way: Way) -> list[int]:
    """Sizes of what a pool that goes this way has for tenants: its reservations, or its pages of a node.

    Pieces that keep regions of dmemfs apart are of another mechanism; of a namespace counts what it offers.
    """
    if way.whole:
        return [device.size for device in layout.devices if device.pool == pool]
    parts = [r.range.size for r in layout.reservations if (r.pool, r.mechanism) == (pool, way.mechanism)]
    return [*parts, *(pages.size for pages in layout.hugepages if pages.pool == pool)]


def _best(pool: PoolPlan, attempts: Sequence[_Attempt], kept: str | None) -> _Attempt:
    possible = [attempt for attempt in attempts if not attempt.problems]
    if not possible:
        able = [attempt for attempt in attempts if attempt.able]
        shared = [p for p in able[0].problems if all(p in a.problems for a in able)] if able else []
        raise NotPossible(shared or [_none(pool, attempts)])
    for attempt in possible:
        if attempt.way.mechanism == kept:
            return attempt
    least = min(attempt.price for attempt in possible)
    slight = max(attempt.size for attempt in possible) // PAGE * STRUCT_PAGE // _SLIGHT
    return next(attempt for attempt in possible if attempt.price <= least + slight)


def _none(pool: PoolPlan, attempts: Sequence[_Attempt]) -> Problem:
    reasons = "; ".join(f"{attempt.way.mechanism}: {_reason(attempt)}" for attempt in attempts)
    return Problem(
        f"{pool.path}.mechanism", "no-mechanism", f"no mechanism can do it on this host. {reasons}"
    )


def _note(pool: str, best: _Attempt, attempts: Sequence[_Attempt], kept: str | None) -> LayoutWarning:
    mechanism = best.way.mechanism
    why = f"{approximate_size(best.left)} of struct pages stay on the host when tenants have all of it"
    others = [f"{a.way.mechanism}: {_reason(a)}" for a in attempts if a is not best]
    asked = {attempt.way.mechanism for attempt in attempts}
    others += [f"{way.mechanism}: {way.never}" for way in WAYS if way.mechanism not in asked]
    passed = f"Passed over: {'; '.join(others)}"
    if kept is None:
        return LayoutWarning(NOTE, f"auto: pool {pool} is {mechanism}: {why}. {passed}")
    if kept == mechanism:
        return LayoutWarning(
            NOTE, f"auto: pool {pool} stays {mechanism} (replan chooses anew): {why}. {passed}"
        )
    return LayoutWarning(
        "mechanism-changed", f"auto: pool {pool} is {mechanism} now and {kept} no longer: {why}. {passed}"
    )


def _reason(attempt: _Attempt) -> str:
    if not attempt.problems:
        return f"{approximate_size(attempt.left)} would stay"
    text = str(attempt.problems[0])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
