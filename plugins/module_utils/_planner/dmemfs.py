# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dmemfs pool: whether the kernel can have it, and which ``dmem=`` gives just the plan's amounts.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .._errors import NotPossible, Problem
from .._host.model import RAM, Host, MapEntry
from .._layout import LayoutWarning, Reservation
from .._mechanisms import MECHANISMS, dmemfs, hugetlb, reserved
from .._model.dmem import REGION_LIMIT, Region, free_pieces, possible_regions
from .._model.e820 import apply_arguments
from .._model.releases import has
from .._mounts import DMEMFS as KIND
from .._mounts import Mount
from .._ranges import Range, RangeSet
from .._units import PAGE, SECTION, align_down, align_up, approximate_size, format_size
from .dmem_forms import Form, Want, best_form
from .dmemfs_plan import unit_of
from .nodes import LOW, NodePlan, dmem_amount
from .plan import REST, Plan, PoolPlan


class Carved(NamedTuple):
    """What the pool takes; nothing without one. ``holes`` are reserved pieces that keep regions apart."""

    reservations: tuple[Reservation, ...] = ()
    holes: tuple[Reservation, ...] = ()
    argument: str = ""
    warnings: tuple[LayoutWarning, ...] = ()

    @property
    def all(self) -> list[Reservation]:
        return [*self.reservations, *self.holes]


def the_pool(plan: Plan) -> PoolPlan | None:
    return next((pool for pool in plan.pools if pool.mechanism == dmemfs.NAME), None)


def pool_problems(plan: Plan, pool: PoolPlan, host: Host, before: Sequence[MapEntry]) -> list[Problem]:
    """Why the kernel that boots next cannot have the pool, and what this host can do instead."""
    path = f"{pool.path}.mechanism"
    release = pool.kernel.release if pool.kernel else ""
    if release and release != host.kernel:
        text = (
            f"the plan's dmemfs kernel is {release}, but the host boots {host.kernel} next; site.yml installs the "
            f"plan's and makes it boot, and 'carveout plan --kernel {release}' plans for it"
        )
        return [Problem(f"{pool.path}.kernel.release", "kernel-differs", text)]
    found = dmemfs.problems(host, before, path, plan.policy.idle_foreign_dax)
    if not found and not host.kernel_config and not release:
        text = f"/boot has no configuration of the kernel that boots next, {host.kernel}, to tell whether it has dmemfs"
        found = [Problem(path, "kernel-config", text)]
    if found:
        others = _alternatives(plan, host, before)
        instead = f", or use a mechanism that works on this host: {others}" if others else ""
        text = (
            f"{found[0].message}. No stock distribution has dmemfs: name a kernel package that brings it under "
            f"{pool.path}.kernel{instead}"
        )
        return [Problem(path, found[0].code, text)]
    return _huge_page_problems(plan, pool, host)


def _alternatives(plan: Plan, host: Host, before: Sequence[MapEntry]) -> str:
    idle = plan.policy.idle_foreign_dax
    names = [
        name
        for name, mechanism in MECHANISMS.items()
        if name != dmemfs.NAME and not mechanism.problems(host, before, "", idle)
    ]
    if not hugetlb.problems(host, "", False):
        names.append(hugetlb.NAME)
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _huge_page_problems(plan: Plan, pool: PoolPlan, host: Host) -> list[Problem]:
    page_size = next(iter(pool.aligns.values()))
    if not dmemfs.huge_pages_in_the_way(host, page_size):
        return []
    given = dmemfs.huge_pages_argument(host)
    if given:
        text = (
            f"transparent_hugepage={given} is on the kernel's command line and not Carveout's; with it the first touch "
            f"of a dmemfs file ends in SIGBUS on {host.kernel}. Remove it"
        )
        return [Problem(pool.path, "foreign-argument", text)]
    if plan.policy.transparent_huge_pages == "never":
        return []
    text = (
        f"on {host.kernel} the first touch of a dmemfs file ends in SIGBUS while the host has transparent huge pages. "
        f"policy.transparent_huge_pages: never adds {dmemfs.HUGE_PAGES_OFF}, at a price: no program of the whole host "
        "gets huge pages by itself any more, so those with much memory of their own run slower"
    )
    return [Problem("policy.transparent_huge_pages", "transparent-huge-pages", text)]


def host_wide(pool: PoolPlan | None, host: Host, warnings: list[LayoutWarning]) -> list[str]:
    """The argument beside ``dmem=`` that the pool needs, said plainly; the plan allows it (see pool_problems)."""
    if pool is None or not dmemfs.huge_pages_in_the_way(host, next(iter(pool.aligns.values()))):
        return []
    text = (
        f"{dmemfs.HUGE_PAGES_OFF} is for the whole host: no program gets transparent huge pages any more, and those "
        "with much memory of their own run slower; dmemfs of this kernel does not work otherwise"
    )
    warnings.append(LayoutWarning("transparent-huge-pages", text))
    return [dmemfs.HUGE_PAGES_OFF]


def carve(
    plan: Plan,
    host: Host,
    before: Sequence[MapEntry],
    nodes: Sequence[NodePlan],
    others: Sequence[Reservation],
) -> Carved:
    """The pool beside what ``others`` take; nothing where the plan has none.

    Raises :class:`NotPossible` where no single ``dmem=`` gives just the plan's amounts.
    """
    pool = the_pool(plan)
    if pool is None:
        return Carved()
    align = unit_of(next(iter(pool.aligns.values())))
    taken = [argument for r in others for argument in MECHANISMS[r.mechanism].arguments([r])]
    avoid = RangeSet(plan.avoid).intersect((e.start, e.end) for e in before if e.type == RAM)
    holes: list[Reservation] = []
    while True:
        tokens = [*host.foreign_tokens, *taken, *reserved.arguments(holes)]
        entries = apply_arguments(host.firmware_map, tokens, host.kernel).entries
        wish = _Wish(pool, host, nodes, [*others, *holes], align, tokens, entries, avoid)
        form = wish.form()
        if form is None:
            raise NotPossible(wish.why_not())
        more = _holes(pool, host, form.regions, avoid, align)
        if not more:
            break
        holes += more
    regions = tuple(
        Reservation(pool.name, dmemfs.NAME, r.node, r.start, r.end, pool.aligns[r.node]) for r in form.regions
    )
    warnings = [*_hole_warnings(holes), *wish.less_than_rest(form)]
    return Carved(regions, tuple(holes), form.argument, tuple(warnings))


class _Wish:
    """What the pool is to have, with the command line as far as it is known."""

    def __init__(
        self,
        pool: PoolPlan,
        host: Host,
        nodes: Sequence[NodePlan],
        others: Sequence[Reservation],
        align: int,
        tokens: Sequence[str],
        entries: Sequence[MapEntry],
        avoid: RangeSet,
    ) -> None:
        self._pool, self._host, self._align, self._avoid = pool, host, align, avoid
        self._tokens, self._entries = list(tokens), entries
        found = free_pieces(host, tokens, entries, align)
        self._pieces = [Region(max(p.start, LOW), p.end, p.node) for p in found if p.end > LOW]
        self._most, keep = {}, {}
        for node in nodes:
            if node.node in pool.nodes:
                elsewhere = sum(r.range.size for r in others if r.node == node.node)
                # what the node plan sets aside for this very pool is its own
                self._most[node.node] = node.budget + node.dmem - elsewhere
                keep[node.node] = node.keep + node.huge
        self._fixed = {
            node: size for node in pool.nodes if (size := dmem_amount(pool, node, host)) is not None
        }
        rests = {node: self._most[node] for node in pool.nodes if pool.nodes[node] == REST}
        self._want = Want(self._fixed, rests, keep, set(pool.nodes) == set(host.nodes))

    def form(self, want: Want | None = None) -> Form | None:
        if any(size > self._most[node] for node, size in self._fixed.items()):
            return None
        return best_form(
            want or self._want,
            self._pieces,
            self._align,
            lambda argument: possible_regions(self._host, [*self._tokens, argument], self._entries),
            lambda regions: len(_holes(self._pool, self._host, regions, self._avoid, self._align)),
        )

    def less_than_rest(self, form: Form) -> list[LayoutWarning]:
        """Where the kernel's one request leaves more to the kernel than the plan does."""
        result = []
        for node, most in sorted(self._want.most.items()):
            possible = min(most, sum(p.end - p.start for p in self._pieces if p.node == node))
            missed = align_down(possible, self._align) - form.by_node[node]
            if missed > 0:
                text = (
                    f"pool {self._pool.name} on node {node} gets {format_size(missed)} less than the node could "
                    f"give: {form.argument} is one request for all nodes"
                )
                result.append(LayoutWarning("rest-smaller", text))
        return result

    def why_not(self) -> list[Problem]:
        problems = []
        for node, size in sorted(self._fixed.items()):
            there = sum(p.end - p.start for p in self._pieces if p.node == node)
            fits = max(0, align_down(min(there, self._most[node]), self._align))
            if size > fits:
                near = f"; nearest that fits: {format_size(fits)}" if fits else ""
                text = (
                    f"{format_size(size)} do not fit: node {node} has {format_size(there)} above 4 GiB in whole pieces "
                    f"of {format_size(self._align)}, and {approximate_size(max(0, self._most[node]))} beside what the "
                    f"kernel and other pools have{near}"
                )
                problems.append(Problem(f"{self._pool.path}.nodes.{node}", "does-not-fit", text))
        for node, most in sorted(self._want.most.items()):
            if most < self._align or not any(p.node == node for p in self._pieces):
                text = f"nothing is left on node {node} beside what the kernel and other pools have"
                problems.append(Problem(f"{self._pool.path}.nodes.{node}", "does-not-fit", text))
        return problems or [self._no_form()]

    def _no_form(self) -> Problem:
        text = (
            "the kernel reads one dmem= only: the same size from every node, all of every node but one size, or one "
            f"range of addresses; none of these takes {self._words(self._pool.nodes)}"
        )
        works = [self._words(dict.fromkeys(want.nodes, size)) for want, size in self._simpler()]
        more = f". What works: {', or '.join(works)}" if works else ""
        return Problem(f"{self._pool.path}.nodes", "dmem-no-form", text + more)

    def _simpler(self) -> list[tuple[Want, int]]:
        """Requests near the plan's that the kernel can do: the same from every node, or from one only."""
        result = []
        nodes = [sorted(self._host.nodes)] if set(self._most) == set(self._host.nodes) else []
        nodes += [[node] for node in sorted(self._most)]
        for chosen in nodes:
            there = [sum(p.end - p.start for p in self._pieces if p.node == n) for n in chosen]
            sizes = [self._fixed.get(n, self._most[n]) for n in chosen]
            size = align_down(min([*there, *sizes]), self._align)
            want = Want(dict.fromkeys(chosen, size), {}, {}, set(chosen) == set(self._host.nodes))
            if size > 0 and self.form(want):
                result.append((want, size))
        return result

    @staticmethod
    def _words(amounts: object) -> str:
        assert isinstance(amounts, dict)
        parts = [
            f"{format_size(a) if isinstance(a, int) else a} of node {n}" for n, a in sorted(amounts.items())
        ]
        return " and ".join(parts)


def _holes(
    pool: PoolPlan, host: Host, regions: Sequence[Region], avoid: RangeSet, align: int
) -> list[Reservation]:
    """What has to be kept out of the regions: memory to be avoided, and a piece of each that is too long."""
    found = []
    for region in regions:
        for part in avoid.intersect([(region.start, region.end)]):
            found.append((align_down(part.start, PAGE), align_up(part.end, PAGE), region.node))
        if not has(host.kernel, "dmem-second-posting") and region.end - region.start > REGION_LIMIT:
            end = align_up(region.end - REGION_LIMIT, align)
            found.append((end - SECTION, end, region.node))
    return [
        Reservation(pool.name, reserved.NAME, node, start, end, PAGE)
        for start, end, node in sorted(set(found))
    ]


def _hole_warnings(holes: Sequence[Reservation]) -> list[LayoutWarning]:
    if not holes:
        return []
    places = ", ".join(str(hole.range) for hole in holes)
    text = (
        f"{approximate_size(sum(hole.range.size for hole in holes))} are given away between the regions of dmem= "
        f"({places}): a region of more than 128 GiB is lost on this kernel, and memory to be avoided has to be kept "
        "out of them"
    )
    return [LayoutWarning("dmem-holes", text)]


def without_regions(entries: Sequence[MapEntry], reservations: Sequence[Reservation]) -> tuple[MapEntry, ...]:
    """The map without what dmem takes from its RAM: what the kernel manages."""
    regions = [r.range for r in reservations if r.mechanism == dmemfs.NAME]
    if not regions:
        return tuple(entries)
    result = []
    for entry in entries:
        cut = regions if entry.type == RAM else []
        result += [MapEntry(p.start, p.end, entry.type) for p in RangeSet([entry[:2]]).subtract(cut)]
    return tuple(result)


def wanted_mount(plan: Plan, reservations: Sequence[Reservation]) -> tuple[Mount, ...]:
    """The pool's mount over all that it has."""
    pool = the_pool(plan)
    if pool is None:
        return ()
    size = sum(r.range.size for r in reservations if r.mechanism == dmemfs.NAME)
    page_size = next(iter(pool.aligns.values()))
    return tuple(
        Mount(pool.name, KIND, wish.place, page_size, size, wish.owner, wish.group, wish.mode)
        for wish in pool.mounts
    )


def still_registered(
    plan: Plan,
    host: Host,
    reservations: Sequence[Reservation],
    tokens: Sequence[str],
    after: Sequence[MapEntry],
) -> bool:
    """Whether the kernel registers just the pool's reservations for a command line, and these answer the plan.

    ``after`` is the map under that line.
    """
    pool = the_pool(plan)
    mine = [r for r in reservations if r.mechanism == dmemfs.NAME]
    if pool is None:
        return not mine
    if any(r.pool != pool.name or r.align != pool.aligns.get(r.node) for r in mine):
        return False
    wanted = tuple(Region(r.start, r.end, r.node) for r in sorted(mine, key=lambda r: r.start))
    if any(r.regions != wanted or r.pool_lost for r in possible_regions(host, tokens, after)):
        return False
    if RangeSet(plan.avoid).intersect(Range(r.start, r.end) for r in mine):
        return False
    by_node = Form("", wanted).by_node
    sizes = {node: dmem_amount(pool, node, host) for node in pool.nodes}
    if set(by_node) != set(sizes) or any(size not in (None, by_node[node]) for node, size in sizes.items()):
        return False
    needs = dmemfs.huge_pages_in_the_way(host, next(iter(pool.aligns.values())))
    return not needs or (dmemfs.HUGE_PAGES_OFF in tokens and plan.policy.transparent_huge_pages == "never")
