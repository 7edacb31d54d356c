# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All mechanisms side by side: each pool of a plan by each of them on one host, the other pools as planned.

Compared is what tenants get when they have all of a pool, so devices and mounts are left out; where a
mechanism has no such thing, the row says so. Pools of regions that exist already have no table: nothing is
carved out for them.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import CarveoutError, Problem
from .._host.model import Host
from .._layout import Layout
from .._model.sections import boot_struct_pages, ram_of
from .._units import format_size
from .auto import mechanisms_of, parts_of
from .build import check_host, make_layout
from .nodes import memory_block
from .plan import REST, Plan, PoolPlan, read_plan
from .ways import STAND_IN, WAYS, Way, spelled, struct_pages_in_use, way_of

#: Keys by which a plan says how tenants get at a pool.
_DOORS = ("devices", "mounts", "mount")


@dataclass(frozen=True)
class Row:
    """One pool by one way, bytes. ``problems`` say why this host cannot; the other fields are empty then.

    ``size`` is what tenants get, ``left`` the struct pages of the whole host when they have all of it, ``saved``
    what the pool gives back of them, ``guests`` how many of the given size it holds, ``more`` how many more
    what it gives back would hold; ``lost`` is what this host and this plan lose by it, beside the way's own.
    """

    way: Way
    size: int = 0
    left: int = 0
    saved: int = 0
    guests: int = 0
    more: int = 0
    lost: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "way": self.way.label,
            "mechanism": self.way.mechanism,
            "options": dict(self.way.options),
            "possible": not self.problems,
            "size": self.size,
            "struct_pages": self.left,
            "saved": self.saved,
            "guests": self.guests,
            "more_guests": self.more,
            "lost": [*self.lost, *(() if self.problems else self.way.lost)],
            "problems": [problem.to_json() for problem in self.problems],
        }


@dataclass(frozen=True)
class PoolTable:
    """``way`` is the one that the plan as it is goes; empty where this host cannot do that."""

    pool: str
    pages: tuple[int, ...]
    way: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Comparison:
    """``problems`` are those of the plan as it is; ``without`` are the host's struct pages without Carveout."""

    kernel: str
    guest: int
    without: int
    tables: tuple[PoolTable, ...]
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "guest": self.guest,
            "struct_pages_without": self.without,
            "pools": [
                {
                    "pool": table.pool,
                    "pages": list(table.pages),
                    "way": table.way,
                    "rows": [row.to_json() for row in table.rows],
                }
                for table in self.tables
            ],
            "problems": [problem.to_json() for problem in self.problems],
        }


def compare(plan: Plan, host: Host, guest: int, previous: Layout | None = None) -> Comparison:
    """``guest`` is the size of a guest in bytes. Raises :class:`NotPossible` where nothing can be planned here."""
    before = check_host(replace(plan, pools=()), host)
    without = boot_struct_pages(ram_of(before))
    problems: list[Problem] = []
    planned: Layout | None = None
    try:
        planned = make_layout(plan, host, previous)
    except CarveoutError as error:
        problems = error.problems
    known = mechanisms_of(planned) if planned else {}
    tables = []
    for pool in sorted((p for p in plan.pools if not p.existing), key=lambda p: p.name):
        rows = tuple(_row(plan, host, pool, way, guest) for way in WAYS)
        mechanism = known.get(pool.name, pool.mechanism) if planned else ""
        way = way_of(mechanism, plan.source["pools"][pool.name])
        pages = tuple(sorted(set(pool.aligns.values())))
        tables.append(PoolTable(pool.name, pages, way.label if way else "", rows))
    return Comparison(host.kernel, guest, without, tuple(tables), tuple(problems))


def _row(plan: Plan, host: Host, pool: PoolPlan, way: Way, guest: int) -> Row:
    source = plan.source["pools"][pool.name]
    try:
        nodes = source["nodes"] if way.rest else _sizes(plan, host, pool)
        layout = make_layout(_with(plan, pool.name, _bare(pool, nodes, way)), host)
    except CarveoutError as error:
        return Row(way, problems=tuple(error.problems))
    parts = parts_of(layout, pool.name, way)
    left = struct_pages_in_use(host, layout)
    saved = struct_pages_in_use(host, layout, without=pool.name) - left
    guests = sum(part // guest for part in parts)
    lost = _lost(host, layout, source, way)
    if saved <= 0:
        lost.append("no struct pages are given back")
    return Row(way, sum(parts), left, saved, guests, max(0, saved) // guest, tuple(lost))


def _with(plan: Plan, name: str, pool: Mapping[str, Any]) -> Plan:
    return read_plan({**plan.source, "pools": {**plan.source["pools"], name: pool}})


def _bare(pool: PoolPlan, nodes: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """The pool's amounts and page size alone; the least of its page sizes where the way has one for all nodes."""
    pages: Any = {str(node): align for node, align in pool.aligns.items()}
    if not way.by_node:
        pages = min(pool.aligns.values())
    bare: dict[str, Any] = {"nodes": nodes, "align": pages}
    if way.whole:
        bare["devices"] = [{"name": f"all-of-{node}", "node": int(node), "size": REST} for node in nodes]
    return spelled(bare, way)


def _sizes(plan: Plan, host: Host, pool: PoolPlan) -> Mapping[str, Any]:
    """Amounts by node for a way that knows no ``rest``: what another one would get."""
    nodes: Mapping[str, Any] = plan.source["pools"][pool.name]["nodes"]
    if REST not in nodes.values():
        return nodes
    layout = make_layout(_with(plan, pool.name, _bare(pool, nodes, STAND_IN)), host)
    return {
        node: sum(r.range.size for r in layout.reservations if (r.pool, r.node) == (pool.name, int(node)))
        for node in nodes
    }


def _lost(host: Host, layout: Layout, source: Mapping[str, Any], way: Way) -> list[str]:
    """What this host and this plan lose by the way."""
    # one of the two words for file systems is as good as the other
    doors = {"devices": ("devices",)}.get(way.door, ("mounts", "mount") if way.door else ())
    missing = [key for key in _DOORS if source.get(key) and key not in doors]
    lost = [f"the plan's {' and '.join(missing)}"] if missing else []
    if way.blocks:
        block = format_size(memory_block(host))
        lost.append(f"only whole blocks of {block} can go back to the kernel while the host runs")
    return lost + [warning.message for warning in layout.warnings if warning.code == "sections-shared"]
