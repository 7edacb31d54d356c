# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which ``dmem=`` gives the nodes what they are to have, tried out on the model of the kernel.

The kernel takes one request, in one of three forms: the same size from every node, all of every node but
one size, or what is free in one range of addresses. What it then registers is for the model to say
(:mod:`.._model.dmem`); here are only the requests worth trying.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .._mechanisms.dmemfs import ARGUMENT
from .._model.dmem import DmemResult, Region
from .._units import GIB, SECTION, align_down, align_up, kernel_size
from .nodes import LOW

#: How often the size that the kernel keeps is raised until it does keep that much.
_STEPS = 4


@dataclass(frozen=True)
class Want:
    """Bytes by node: of nodes with a size, and the most for nodes that give what is left.

    ``keep`` is what stays with the kernel on nodes of the second kind. ``everywhere``: no node with memory
    is left out.
    """

    fixed: Mapping[int, int]
    most: Mapping[int, int]
    keep: Mapping[int, int]
    everywhere: bool

    @property
    def nodes(self) -> set[int]:
        return {*self.fixed, *self.most}

    def met_by(self, amounts: Mapping[int, int]) -> bool:
        """Whether every node gives what it is to give."""
        return (
            set(amounts) == self.nodes
            and all(amounts[node] == size for node, size in self.fixed.items())
            and all(0 < amounts[node] <= most for node, most in self.most.items())
        )


@dataclass(frozen=True)
class Form:
    """A request, and the regions that the kernel registers for it."""

    argument: str
    regions: tuple[Region, ...]

    @property
    def by_node(self) -> dict[int, int]:
        amounts: dict[int, int] = {}
        for region in self.regions:
            amounts[region.node] = amounts.get(region.node, 0) + region.end - region.start
        return amounts


def best_form(
    want: Want,
    pieces: Sequence[Region],
    align: int,
    possible: Callable[[str], Sequence[DmemResult]],
    holes: Callable[[Sequence[Region]], int],
) -> Form | None:
    """The request that meets the want, with the largest rest, then the fewest holes and regions; None where none does.

    ``pieces`` are free memory above 4 GiB in whole pieces of ``align`` bytes. ``possible`` tells what the
    kernel makes of a request, wherever it and its initrd lie: a request whose regions depend on that is
    not taken, nor one that reaches below 4 GiB or has more regions than the kernel has room for. ``holes``
    counts what would have to be kept out of regions.
    """
    best: tuple[tuple[int, int, int, int], Form] | None = None
    candidates = dict.fromkeys(
        (*_sizes(want, pieces, align), *_ranges(want, pieces, align), *_keeps(want, align))
    )
    for order, argument in enumerate(candidates):
        results = possible(argument)
        regions = results[0].regions
        form = Form(argument, regions)
        if any(result.regions != regions or result.table_full or result.refused for result in results):
            continue
        if any(region.start < LOW for region in regions) or not want.met_by(form.by_node):
            continue
        rest = sum(form.by_node[node] for node in want.most)
        score = (-rest, holes(regions), len(regions), order)
        if best is None or score < best[0]:
            best = (score, form)
    return best[1] if best else None


def _targets(want: Want, pieces: Sequence[Region], align: int) -> dict[int, int]:
    """What each node is to give; for the rest as much as there is and it may."""
    there = dict.fromkeys(want.nodes, 0)
    for piece in pieces:
        if piece.node in there:
            there[piece.node] += piece.end - piece.start
    rests = {node: min(there[node], align_down(most, align)) for node, most in want.most.items()}
    return {**want.fixed, **rests}


def _token(size: int, keep: bool = False, base: int = 0, align: int = SECTION) -> str:
    place = f"@{kernel_size(base)}" if base else ""
    border = f":{kernel_size(align)}" if align != SECTION else ""
    return f"{ARGUMENT}={'!' if keep else ''}{kernel_size(size)}{place}{border}"


def _sizes(want: Want, pieces: Sequence[Region], align: int) -> Iterator[str]:
    """The same size from every node."""
    targets = _targets(want, pieces, align)
    if want.everywhere and len(set(want.fixed.values())) <= 1:
        size = min(targets.values())
        if size > 0:
            yield _token(size, align=align)


def _keeps(want: Want, align: int) -> Iterator[str]:
    """All but one size.

    How much is free on a node depends on the kernel's own size; rounded up to 1 GiB, as the kernel does
    first, it mostly does not.
    """
    if not want.everywhere or want.fixed:
        return
    for border in sorted({align, GIB}):
        size = align_up(max(want.keep.values()), border)
        for step in range(_STEPS):
            if size + step * border:
                yield _token(size + step * border, keep=True, align=border)


def _ranges(want: Want, pieces: Sequence[Region], align: int) -> Iterator[str]:
    """One range: the end of the first node, all of those in between, the beginning of the last."""
    targets = _targets(want, pieces, align)
    mine = {node: [p for p in pieces if p.node == node] for node in want.nodes}
    if any(not found for found in mine.values()) or any(size <= 0 for size in targets.values()):
        return
    ordered = sorted(mine, key=lambda node: mine[node][0].start)
    first, last = ordered[0], ordered[-1]
    windows: list[tuple[int | None, int | None]] = []
    if first == last:
        for piece in mine[first]:
            windows.append((piece.start, _end(mine[first], piece.start, targets[first])))
            windows.append((_start(mine[first], piece.end, targets[first]), piece.end))
    else:
        start = _start(mine[first], mine[first][-1].end, targets[first])
        windows.append((start, _end(mine[last], mine[last][0].start, targets[last])))
    for low, high in windows:
        if low is not None and high is not None:
            yield _token(high - low, base=low, align=align)


def _end(pieces: Sequence[Region], start: int, size: int) -> int | None:
    """Where ``size`` bytes of the pieces end that begin at ``start``; None where there is less."""
    for piece in pieces:
        there = max(0, piece.end - max(piece.start, start))
        if there >= size:
            return max(piece.start, start) + size
        size -= there
    return None


def _start(pieces: Sequence[Region], end: int, size: int) -> int | None:
    """Where ``size`` bytes of the pieces begin that end at ``end``; None where there is less."""
    for piece in reversed(pieces):
        there = max(0, min(piece.end, end) - piece.start)
        if there >= size:
            return min(piece.end, end) - size
        size -= there
    return None
