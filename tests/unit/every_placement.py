# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placements of pools on maps of a few pages, found by looking at every way to cut the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.carveout.memory.plugins.module_utils._planner.place import Demand
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet


def best(
    free: RangeSet, budget: int, wanted: Sequence[Demand], kept: Mapping[str, Sequence[Range]]
) -> tuple[int, int] | None:
    """The largest rest and the fewest ranges, page by page over every way to cut the map into ranges."""
    owner = {page: pool for pool, ranges in kept.items() for r in ranges for page in range(*r)}
    pages = {page for r in free for page in range(*r)}
    if not pages.issuperset(owner):
        return None
    top = max(pages, default=-1) + 1
    bounds = [96 if d.size is None else d.size for d in wanted]
    # By page: (amounts so far, whose range ends here) -> fewest ranges.
    states: list[dict[tuple[tuple[int, ...], int], int]] = [{} for _ in range(top + 1)]
    states[0][(0,) * len(wanted), -1] = 0

    def reach(page: int, amounts: tuple[int, ...], last: int, count: int) -> None:
        if count < states[page].get((amounts, last), 99):
            states[page][amounts, last] = count

    for page in range(top):
        for (amounts, last), count in states[page].items():
            if page not in owner:
                reach(page + 1, amounts, -1, count)
            for n, d in enumerate(wanted):
                if page % d.align or n == last:
                    continue
                for end in range(page + 1, min(top, page + bounds[n] - amounts[n]) + 1):
                    if end - 1 not in pages or owner.get(end - 1, d.pool) != d.pool:
                        break
                    more = (*amounts[:n], amounts[n] + end - page, *amounts[n + 1 :])
                    if end % d.align == 0 and sum(more) <= budget:
                        reach(end, more, n, count + 1)
    found = [
        (-sum(a for a, d in zip(amounts, wanted, strict=True) if d.size is None), count)
        for (amounts, _), count in states[top].items()
        if all(d.size in (None, a) for a, d in zip(amounts, wanted, strict=True))
    ]
    return (-min(found)[0], min(found)[1]) if found else None
