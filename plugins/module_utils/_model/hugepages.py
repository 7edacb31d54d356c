# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Huge pages that a kernel makes at boot: ``hugepagesz=``, ``hugepages=``, ``default_hugepagesz=`` and kin.

Follows mm/hugetlb.c (hugepages_setup, hugepagesz_setup, default_hugepagesz_setup, hugetlb_init) and
mm/hugetlb_vmemmap.c from 5.10 to 7.2, step by step: these parsers keep state, and what an argument means
depends on those before it.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .._arguments import Argument, iterate, same_name
from .._ranges import RangeSet
from .._units import MIB, align_up, approximate_size, format_size, memparse, strtoull
from .e820 import Ignored
from .hugepage_pool import GIGANTIC, SMALL, Pool, chunk_of_processors, chunk_of_threads
from .hugetlb_cma import CmaAreas
from .notes import Note
from .releases import has

#: HUGE_MAX_CMDLINE_ARGS (twice the two sizes, and one): a further argument is refused.
_MOST_ARGUMENTS = 5
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([0-9]+)")
_SETTINGS = ("hugepages", "hugepagesz", "default_hugepagesz")
#: Less than this beside the pages, and the kernel may not find them all.
_KERNELS_OWN = 256 * MIB
_U64 = 1 << 64
_U32 = 1 << 32


@dataclass(frozen=True)
class HugepageResult:
    """Pages by node and size (bytes), and what else the arguments do.

    ``pages`` has every node and both sizes. Where ``warnings`` speak of a shortfall the numbers are the
    most that can come out. ``cma`` are bytes set aside by node for pages made later; ``optimised`` tells
    whether struct pages of huge pages are given back (``hugetlb_free_vmemmap=``).
    """

    pages: Mapping[int, Mapping[int, int]]
    default_size: int
    cma: Mapping[int, int]
    optimised: bool
    ignored: tuple[Ignored, ...]
    warnings: tuple[Note, ...]


def hugepages(
    tokens: Iterable[str],
    release: str,
    nodes: Mapping[int, RangeSet],
    config: Mapping[str, str] | None = None,
    processors: int = 0,
) -> HugepageResult:
    """What a kernel makes of the arguments for huge pages.

    ``nodes`` is the RAM of each node that is online (none for one with processors only). ``config`` are
    options of the kernel as far as they are known. ``processors`` decides from 6.15 on how 2 MiB pages
    without a node are spread where there are eight or more; 0 stands for not known. The processor is
    taken to have 1 GiB pages, as every x86-64 server has.
    """
    pool = Pool(nodes)
    areas = CmaAreas(release)
    reader = _Reader(release, pool, areas)
    optimised = False
    ignored: list[Ignored] = []
    only = False
    threads = max(processors // 4, 1)
    for argument in iterate(tokens):
        if same_name(argument.name, "hugetlb_cma"):
            if _compiled(config, "CONFIG_CMA"):
                areas.read(argument)
            else:
                ignored.append(Ignored(argument.text, "the kernel is built without CONFIG_CMA"))
        elif same_name(argument.name, "hugetlb_cma_only") and has(release, "hugetlb-cma-whole-pages"):
            only = _truth(argument.value, release) is True
        elif same_name(argument.name, "hugepage_alloc_threads") and has(release, "hugepages-early"):
            number, rest = strtoull(argument.value or "")
            threads = number if number and not rest else threads
        elif same_name(argument.name, "hugetlb_free_vmemmap"):
            optimised, reason = _vmemmap(argument, release, config, optimised)
            if reason:
                ignored.append(Ignored(argument.text, reason))
    if pool.online:
        areas.reserve(pool)
    if only and areas.reserved:
        pool.keep_blocks({node: size // GIGANTIC for node, size in areas.reserved.items()})
    reader.no_gigantic = areas.skips_boot_pages and not only
    for argument in iterate(tokens):
        if any(same_name(argument.name, name) for name in _SETTINGS):
            reader.read(argument)
    reader.finish(threads)
    warnings = [*areas.notes, *reader.warnings]
    if areas.skips_boot_pages and "CONFIG_CMA" not in (config or {}):
        message = "it is not known whether the kernel has CONFIG_CMA; without it hugetlb_cma= does nothing"
        warnings.append(Note("hugetlb-cma-unknown", message))
    if not processors and reader.depends_on_processors:
        message = (
            f"{release} spreads 2 MiB pages by as many threads as there are processors to the quarter: from eight "
            "processors on some pages may be on another node"
        )
        warnings.append(Note("hugepages-spread", message))
    return HugepageResult(
        {node: dict(pages) for node, pages in pool.pages.items()},
        reader.default_size,
        areas.reserved,
        optimised,
        (*ignored, *areas.ignored, *reader.ignored),
        (*warnings, *_tight(pool, nodes)),
    )


class _Size:
    """A ``struct hstate``: pages wanted in all, and of single nodes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.total = 0
        self.by_node: dict[int, int] = {}


class _Reader:
    """The state that the kernel's parsers share."""

    def __init__(self, release: str, pool: Pool, areas: CmaAreas) -> None:
        self._early = has(release, "hugepages-early")
        self._by_node = has(release, "hugepages-by-node")
        self._parallel = has(release, "hugepages-parallel")
        self._saturate = has(release, "numbers-saturate")
        self._pool = pool
        self._sizes: list[_Size] = []
        self._parsed: _Size | None = None
        self._last: _Size | None = None
        # hugepages= before any size: for the default size, whichever that will be
        self._default = _Size(0)
        self._valid = True
        self._default_given = False
        self._default_size = SMALL
        self._seen = 0
        self._skip_told = False
        self.no_gigantic = False
        self.depends_on_processors = False
        self.ignored: list[Ignored] = []
        self.warnings: list[Note] = []

    @property
    def default_size(self) -> int:
        return self._default_size

    def read(self, argument: Argument) -> None:
        value = argument.value
        if value is None:
            reason = "it has no value"
        elif self._early and self._seen >= _MOST_ARGUMENTS:
            reason = f"the kernel keeps the first {_MOST_ARGUMENTS} arguments for huge pages only"
        else:
            self._seen += 1
            if same_name(argument.name, "hugepages"):
                reason = self._hugepages(value)
            elif same_name(argument.name, "hugepagesz"):
                reason = self._hugepagesz(value)
            else:
                reason = self._default_hugepagesz(value)
        if reason:
            self.ignored.append(Ignored(argument.text, reason))

    def _find(self, size: int) -> _Size | None:
        return next((known for known in self._sizes if known.size == size), None)

    def _add(self, size: int) -> _Size:
        """hugetlb_add_hstate: a size that is there already does not become the current one."""
        known = self._find(size)
        if known is None:
            known = self._parsed = _Size(size)
            self._sizes.append(known)
        return known

    def _hugepagesz(self, value: str) -> str:
        self._valid = False
        size = memparse(value, self._saturate)[0]
        if size not in (SMALL, GIGANTIC):
            return "only 2M and 1G are sizes of huge pages"
        known = self._find(size)
        if known is None:
            self._add(size)
        elif not self._default_given or size != self._default_size or known.total:
            return "this size was given before"
        else:
            self._parsed = known
        self._valid = True
        return ""

    def _default_hugepagesz(self, value: str) -> str:
        self._valid = False
        if self._default_given:
            return "a default size was given before"
        size = memparse(value, self._saturate)[0]
        if size not in (SMALL, GIGANTIC):
            return "only 2M and 1G are sizes of huge pages"
        known = self._add(size)
        self._valid = self._default_given = True
        self._default_size = size
        if self._default.total:
            known.total = self._default.total
            if self._early:
                known.by_node.update({n: c for n, c in self._default.by_node.items() if c})
            elif self._by_node:
                known.by_node = dict(self._default.by_node)
            if size == GIGANTIC and not self._early:
                self._make(known)
            self._default.total = 0
        return ""

    def _hugepages(self, value: str) -> str:
        if not self._valid:
            self._valid = True
            return "it follows a size that was not taken"
        wanted = self._parsed if self._sizes and self._parsed else self._default
        if wanted is self._last:
            return "the number of this size was given just before"
        if not self._by_node:
            number = _NUMBER.match(value)
            wanted.total = int(number.group(1)) % _U64 if number else 0
            reason = "" if number else "it begins with no number: 0 pages"
        else:
            reason = self._amounts(wanted, value)
            if reason:
                wanted.total = 0
                wanted.by_node.clear()
                return reason
        if wanted.size == GIGANTIC and not self._early:
            self._make(wanted)
        self._last = wanted
        return reason

    def _amounts(self, wanted: _Size, value: str) -> str:
        """A number, or numbers by node; the reason where the kernel refuses it all."""
        rest = value
        while rest:
            number = _NUMBER.match(rest)
            if number is None:
                return f"{rest!r} begins with no number"
            amount = int(number.group(1)) % _U64
            after = rest[number.end() :]
            if after[:1] != ":":
                if len(rest) < len(value):
                    return "amounts by node and one without a node do not mix"
                wanted.total = amount
                return ""
            if amount not in self._pool.online:
                return f"node {amount} is not online"
            pages = _NUMBER.match(after[1:])
            if pages is None:
                return f"no number of pages stands behind node {amount}"
            wanted.by_node[amount] = int(pages.group(1)) % _U32
            wanted.total += int(pages.group(1)) % _U64
            rest = after[1 + pages.end() :]
            if rest[:1] != ",":
                return ""
            rest = rest[1:]
        return ""

    def finish(self, threads: int) -> None:
        """hugetlb_init: the default size gets the number that came first; 2 MiB pages are made last."""
        if self._early:
            self._make_early()
        self._add(SMALL)
        if not self._default_given:
            default = self._find(SMALL)
            if default and self._default.total:
                if default.total:
                    reason = f"hugepages={self._default.total} before any size is for the same size, and wins"
                    self.ignored.append(Ignored(f"hugepages={default.total}", reason))
                default.total = self._default.total
                if self._by_node:
                    default.by_node = dict(self._default.by_node)
        for size in self._sizes:
            if size.size == SMALL:
                self._make_small(size, threads)

    def _make_early(self) -> None:
        for size in self._sizes:
            if size.size == GIGANTIC:
                self._make(size)

    def _make(self, wanted: _Size) -> None:
        """1 GiB pages, from memblock."""
        if not wanted.total:
            return
        if self.no_gigantic:
            if not self._skip_told:
                self._skip_told = True
                message = "with hugetlb_cma= the kernel makes no 1 GiB pages at boot"
                self.warnings.append(Note("hugepages-skipped", message))
            return
        given = {node: count for node, count in sorted(wanted.by_node.items()) if count}
        if given:
            for node, count in given.items():
                self._tell(GIGANTIC, count, self._pool.take_gigantic(node, count, self._early), node)
        else:
            self._tell(GIGANTIC, wanted.total, self._pool.spread_gigantic(wanted.total), None)

    def _make_small(self, wanted: _Size, threads: int) -> None:
        """2 MiB pages, from the page allocator."""
        given = {node: count for node, count in sorted(wanted.by_node.items()) if count}
        if given and wanted.total:
            for node, count in given.items():
                self._tell(SMALL, count, self._pool.take_small(node, count), node)
            return
        nodes = len(self._pool.with_memory)
        chunk = 0
        if self._early:
            chunk = chunk_of_processors(wanted.total, threads)
            self.depends_on_processors = wanted.total > 0 and nodes > 1
        elif self._parallel:
            chunk = chunk_of_threads(wanted.total, nodes)
        self._tell(SMALL, wanted.total, self._pool.spread_small(wanted.total, chunk), None)

    def _tell(self, size: int, wanted: int, got: int, node: int | None) -> None:
        if got < wanted:
            where = f"node {node} has" if node is not None else "the nodes have"
            message = f"{where} room for at most {got} of {wanted} pages of {format_size(size)}"
            self.warnings.append(Note("hugepages-short", message))


def _tight(pool: Pool, nodes: Mapping[int, RangeSet]) -> list[Note]:
    """Nodes where the pages fit only if the kernel needed next to nothing."""
    notes = []
    for node, pages in pool.pages.items():
        taken = sum(size * count for size, count in pages.items())
        ram = nodes[node].size
        left = ram - ram // 64 - taken
        # Struct pages, the kernel and the initrd each spoil a GiB or more before 1 GiB pages are made.
        spoilt = 2 + align_up(ram // 64, GIGANTIC) // GIGANTIC
        if taken and (left < _KERNELS_OWN or (pages[GIGANTIC] and pool.blocks(node) < spoilt)):
            message = (
                f"node {node} has {approximate_size(ram)} and is to have {approximate_size(taken)} of huge pages: "
                "there may be fewer, or on another node, as the kernel needs some of it"
            )
            notes.append(Note("hugepages-tight", message))
    return notes


def _compiled(config: Mapping[str, str] | None, option: str) -> bool:
    return not config or config.get(option, "y") == "y"


def _vmemmap(
    argument: Argument, release: str, config: Mapping[str, str] | None, before: bool
) -> tuple[bool, str]:
    """``hugetlb_free_vmemmap=``: (on or off, why it is ignored or empty)."""
    if not has(release, "hugetlb-vmemmap"):
        return False, "kernels before 5.14 do not know it"
    if not _compiled(config, "CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP"):
        return False, "the kernel is built without CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP"
    if (
        argument.value is None
        and has(release, "hugetlb-vmemmap-switch")
        and not has(release, "hugepages-early")
    ):
        return True, ""
    found = _truth(argument.value, release)
    if found is None:
        return before, "on or off is expected"
    return found, ""


def _truth(value: str | None, release: str) -> bool | None:
    """kstrtobool of lib/kstrtox.c; before 5.19 only the words on and off (None: neither)."""
    text = (value or "").lower()
    if not has(release, "hugetlb-vmemmap-switch"):
        return {"on": True, "off": False}.get(value or "")
    if (
        text[:1] in ("y", "t", "1")
        or text[:2] == "on"
        or (text[:1] == "e" and has(release, "numbers-saturate"))
    ):
        return True
    if (
        text[:1] in ("n", "f", "0")
        or text[:2] == "of"
        or (text[:1] == "d" and has(release, "numbers-saturate"))
    ):
        return False
    return None
