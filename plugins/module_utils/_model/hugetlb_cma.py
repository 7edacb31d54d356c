# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``hugetlb_cma=``: areas set aside for 1 GiB pages made later.

Follows mm/hugetlb.c, from 6.14 on mm/hugetlb_cma.c (cmdline_parse_hugetlb_cma, hugetlb_cma_reserve).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._arguments import Argument
from .._units import align_up, approximate_size, memparse
from .e820 import Ignored
from .hugepage_pool import GIGANTIC, Pool
from .notes import Note
from .releases import has

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([0-9]+)")


class CmaAreas:
    """What the arguments ask for, and after :meth:`reserve` what each node sets aside (bytes)."""

    def __init__(self, release: str) -> None:
        self._release = release
        self._total = 0
        self._by_node: dict[int, int] = {}
        self._arguments: list[Argument] = []
        self.reserved: dict[int, int] = {}
        self.ignored: list[Ignored] = []
        self.notes: list[Note] = []
        #: Whether the kernel makes no 1 GiB pages at boot because of the argument.
        self.skips_boot_pages = False

    def read(self, argument: Argument) -> None:
        value = argument.value
        if value is None:
            self.ignored.append(Ignored(argument.text, "it has no value"))
            return
        self._arguments.append(argument)
        saturate = has(self._release, "numbers-saturate")
        if not has(self._release, "hugepages-by-node"):
            self._total = memparse(value, saturate)[0]
            return
        rest = value
        while rest:
            number = _NUMBER.match(rest)
            if number is None:
                return
            if rest[number.end() : number.end() + 1] != ":":
                # The whole text is read again from its beginning.
                self._total = memparse(value, saturate)[0]
                return
            node = int(number.group(1))
            size, rest = memparse(rest[number.end() + 1 :], saturate)
            self._by_node[node] = size
            self._total += size
            if rest[:1] != ",":
                return
            rest = rest[1:]

    def reserve(self, pool: Pool) -> None:
        """Set the areas aside, as far as the nodes' memory allows it."""
        if not self._arguments:
            return
        if self._total:
            self._check_nodes(pool)
        if self._total and self._refused(self._total):
            self._ignore(f"it must be {self._wanted()}")
            if has(self._release, "hugepages-by-node"):
                self._total = 0
        elif self._total:
            self._set_aside(pool)
        elif not self.ignored:
            self._ignore("it gives no size")
        self.skips_boot_pages = self._total > 0

    def _check_nodes(self, pool: Pool) -> None:
        for node, size in sorted(self._by_node.items()):
            if not size:
                continue
            if node not in pool.online:
                self._ignore(f"node {node} is not online")
            elif self._refused(size):
                self._ignore(f"the area of node {node} must be {self._wanted()}")
            else:
                continue
            self._total -= size
            del self._by_node[node]

    def _refused(self, size: int) -> bool:
        if has(self._release, "hugetlb-cma-whole-pages"):
            return size % GIGANTIC != 0
        return size < GIGANTIC

    def _wanted(self) -> str:
        whole = has(self._release, "hugetlb-cma-whole-pages")
        return "a multiple of 1 GiB" if whole else "at least 1 GiB"

    def _ignore(self, reason: str) -> None:
        self.ignored.append(Ignored(self._arguments[-1].text, reason))

    def _set_aside(self, pool: Pool) -> None:
        nodes: Sequence[int] = pool.online
        wanted = {node: size for node, size in self._by_node.items() if size}
        contiguous = not has(self._release, "hugetlb-cma-whole-pages")
        each = -(-self._total // len(nodes))
        if has(self._release, "hugepages-by-node"):
            each = align_up(each, GIGANTIC)
        done = 0
        for node in nodes:
            if wanted and node not in wanted:
                continue
            size = align_up(wanted.get(node, min(each, self._total - done)), GIGANTIC)
            if pool.set_aside(node, size, contiguous):
                self.reserved[node] = size
                done += size
            else:
                self.notes.append(
                    Note(
                        "hugetlb-cma-failed", f"node {node} has no {approximate_size(size)} for hugetlb_cma="
                    )
                )
            if done >= self._total:
                break
        if not done and has(self._release, "hugepages-by-node"):
            self._total = 0
