# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where huge pages come from at boot: the memory of each node, and how a plain number is spread.

Follows mm/hugetlb.c (hugetlb_hstate_alloc_pages, __alloc_bootmem_huge_page, hugetlb_pages_alloc_boot) and
kernel/padata.c (padata_do_multithreaded). What the kernel itself needs by then is not known: where memory is
scarce the numbers are the most that can come out.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._ranges import Range, RangeSet
from .._units import GIB, MIB

SMALL = 2 * MIB
GIGANTIC = GIB


class Pool:
    """The memory of the nodes while huge pages are taken out of it, and the pages of each node and size."""

    def __init__(self, ram: Mapping[int, RangeSet]) -> None:
        self.online = tuple(sorted(ram))
        self.with_memory = tuple(node for node in self.online if ram[node])
        self._blocks = {node: _units(ram[node], GIGANTIC) for node in self.online}
        self._room = {node: ram[node].align_inward(SMALL).size // SMALL for node in self.online}
        self.pages: dict[int, dict[int, int]] = {node: {SMALL: 0, GIGANTIC: 0} for node in self.online}
        self._next: dict[int, int] = {SMALL: 0, GIGANTIC: 0}

    def blocks(self, node: int) -> int:
        """Aligned GiB of RAM that the node has left."""
        return len(self._blocks[node])

    def keep_blocks(self, left: Mapping[int, int]) -> None:
        """Leave each node so many GiB for 1 GiB pages (they come from areas set aside: hugetlb_cma_only=)."""
        for node in self.online:
            del self._blocks[node][left.get(node, 0) :]

    def set_aside(self, node: int, size: int, contiguous: bool) -> bool:
        """Take whole GiB of one node away, from the top; False where they are not there in one piece."""
        count = size // GIGANTIC
        blocks = self._blocks[node]
        for first in range(len(blocks) - count, -1, -1):
            run = blocks[first : first + count]
            if not contiguous or run[-1] - run[0] == (count - 1) * GIGANTIC:
                del blocks[first : first + count]
                self._room[node] -= count * (GIGANTIC // SMALL)
                return True
        return False

    def take_gigantic(self, node: int, count: int, exact: bool) -> int:
        """1 GiB pages asked of one node; unless ``exact``, memblock falls back to the highest memory of any."""
        taken = 0
        while taken < count and self._gigantic(node, exact):
            taken += 1
        return taken

    def spread_gigantic(self, count: int) -> int:
        """1 GiB pages one by one over the nodes with memory, on from where the last ones ended."""
        taken = 0
        while taken < count and self.with_memory:
            node = self.with_memory[self._next[GIGANTIC] % len(self.with_memory)]
            self._next[GIGANTIC] += 1
            if not self._gigantic(node, exact=False):
                break
            taken += 1
        return taken

    def _gigantic(self, node: int, exact: bool) -> bool:
        if not self._blocks[node]:
            others = [n for n in self.online if self._blocks[n]]
            if exact or not others:
                return False
            node = max(others, key=lambda n: self._blocks[n][-1])
        self._blocks[node].pop()
        self._room[node] -= GIGANTIC // SMALL
        self.pages[node][GIGANTIC] += 1
        return True

    def take_small(self, node: int, count: int) -> int:
        """2 MiB pages of one node only."""
        taken = min(count, max(0, self._room[node]))
        self._room[node] -= taken
        self.pages[node][SMALL] += taken
        return taken

    def spread_small(self, count: int, chunk: int) -> int:
        """2 MiB pages one by one over the nodes with memory, beginning anew at the first for every ``chunk``."""
        left = min(count, sum(max(0, self._room[node]) for node in self.with_memory))
        taken = left
        full, rest = divmod(left, chunk) if chunk else (0, left)
        wanted = dict.fromkeys(self.with_memory, 0)
        for times, size in ((full, chunk), (1, rest)):
            for position, node in enumerate(self.with_memory):
                share, odd = divmod(size, len(self.with_memory))
                wanted[node] += times * (share + (position < odd))
        left = sum(number - self.take_small(node, number) for node, number in wanted.items())
        for node in self.with_memory:
            left -= self.take_small(node, left)
        return taken


def chunk_of_threads(count: int, nodes: int) -> int:
    """Pages that one thread takes at a time from 6.9 to 6.14: two threads per node share ``count``."""
    return max(count // nodes // 2, 1) if nodes and count > 1 else 0


def chunk_of_processors(count: int, threads: int) -> int:
    """The same from 6.15 on; 0 where one thread does it all."""
    return max(count // threads, 1) if threads > 1 and count > 1 else 0


def _units(ram: RangeSet, size: int) -> list[int]:
    parts: list[Range] = list(ram.align_inward(size))
    return [start for part in parts for start in range(part.start, part.end, size)]
