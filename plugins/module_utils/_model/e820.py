# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The e820 table as the kernel keeps it, and what ``memmap=`` and ``mem=`` do to it.

Follows arch/x86/kernel/e820.c (e820__range_add, __e820__range_update, e820__range_remove,
e820__update_table, parse_memmap_one, parse_memopt): rewritten in 7.x, but what it computes is the
same from 5.10 to 7.2. What differs is how numbers are read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._arguments import Argument, iterate
from .._errors import NotPossible
from .._host.model import ACPI, PRAM, RAM, RESERVED, SOFT_RESERVED, MapEntry
from .._units import U64, memparse, strtoull
from .releases import has

_ULLONG_MAX = U64 - 1
#: Types whose neighbours are never merged (e820_nomerge).
_NO_MERGE = (PRAM, SOFT_RESERVED)
#: E820_MAX_ENTRIES where a kernel has room for 1024 nodes (CONFIG_NODES_SHIFT=10, as distributions have
#: it): 128 + 3 * 1024 (arch/x86/include/asm/e820/types.h).
MAX_ENTRIES = 3200
_ADDED_TYPE = {"@": RAM, "#": ACPI, "$": RESERVED, "!": PRAM}


@dataclass
class _Entry:
    addr: int
    size: int
    type: int


@dataclass(frozen=True)
class Ignored:
    """An argument (or one item of its list) that the kernel passes over without a word."""

    argument: str
    reason: str


@dataclass(frozen=True)
class KernelMap:
    """The table after the arguments, what was ignored on the way, and whether it ran full."""

    entries: tuple[MapEntry, ...]
    ignored: tuple[Ignored, ...]
    overflowed: bool = False


class Table:
    """An e820 table under change; entries may overlap until :meth:`update`."""

    def __init__(self, entries: Iterable[MapEntry], limit: int = MAX_ENTRIES) -> None:
        self._limit = limit
        self._entries = [_Entry(start, end - start, kind & 0xFFFFFFFF) for start, end, kind in entries]
        #: Whether an entry was dropped because the table was full.
        self.overflowed = len(self._entries) > limit
        del self._entries[limit:]

    def clear(self) -> None:
        self._entries.clear()

    def add(self, start: int, size: int, kind: int) -> None:
        if len(self._entries) >= self._limit:
            self.overflowed = True
            return
        self._entries.append(_Entry(start, size, kind & 0xFFFFFFFF))

    def convert(self, start: int, size: int, old: int, new: int) -> None:
        """Turn the parts of ``[start, start + size)`` that are ``old`` into ``new``, at once."""
        end = start + min(size, _ULLONG_MAX - start)
        # The kernel's loop also visits what it appends, as this one does; those are of the new type or outside.
        for entry in self._entries:
            if entry.type != old:
                continue
            addr = entry.addr
            entry_end = (addr + entry.size) % U64
            if addr >= start:
                if entry_end <= end:
                    entry.type = new
                    continue
                if addr >= end:
                    continue
            elif entry_end <= start:
                continue
            if addr < start and entry_end > end:
                self.add(start, end - start, new)
                self.add(end, entry_end - end, entry.type)
                entry.size = start - addr
                continue
            low, high = max(start, addr), min(end, entry_end)
            if low >= high:
                continue
            self.add(low, high - low, new)
            entry.size -= high - low
            if addr >= low:
                entry.addr = high

    def remove(self, start: int, size: int, old: int | None) -> None:
        """Take ``[start, start + size)`` out, all of it or only what is of type ``old``."""
        end = start + min(size, _ULLONG_MAX - start)
        index = 0
        while index < len(self._entries):
            entry = self._entries[index]
            index += 1
            if old is not None and entry.type != old:
                continue
            entry_end = (entry.addr + entry.size) % U64
            if entry.addr >= start and entry_end <= end:
                entry.addr = entry.size = entry.type = 0
                continue
            if entry.addr < start and entry_end > end:
                self.add(end, entry_end - end, entry.type)
                entry.size = start - entry.addr
                continue
            low, high = max(start, entry.addr), min(end, entry_end)
            if low >= high:
                continue
            entry.size -= high - low
            if entry.addr >= low:
                entry.addr = high

    def update(self) -> bool:
        """Sort, resolve overlaps by the highest type, merge equal neighbours that may merge.

        False, and nothing done, where the kernel refuses the table: fewer than two entries, or one
        that ends past 64 bits.
        """
        if len(self._entries) < 2 or any(e.addr + e.size >= U64 for e in self._entries):
            return False
        merged = _merged_disjoint(self._entries)
        if merged is not None:
            self._entries = merged[: self._limit]
            self.overflowed = self.overflowed or len(merged) >= self._limit
            return True
        points = []
        for number, entry in enumerate(self._entries):
            if entry.size:
                points.append((entry.addr, 0, number))
                points.append((entry.addr + entry.size, 1, number))
        points.sort()
        result: list[_Entry] = []
        current: dict[int, int] = {}
        last_type = last_start = 0
        for address, is_end, number in points:
            if is_end:
                current.pop(number, None)
            else:
                current[number] = self._entries[number].type
            kind = max(current.values(), default=0)
            if kind == last_type and kind not in _NO_MERGE:
                continue
            if last_type and address > last_start:
                result.append(_Entry(last_start, address - last_start, last_type))
                if len(result) >= self._limit:
                    self.overflowed = True
                    break
            if kind:
                last_start = address
            last_type = kind
        self._entries = result
        return True

    def entries(self) -> tuple[MapEntry, ...]:
        return tuple([MapEntry(e.addr, e.addr + e.size, e.type) for e in self._entries])


def _merged_disjoint(entries: Iterable[_Entry]) -> list[_Entry] | None:
    """What :meth:`Table.update` makes of entries that do not overlap, as a firmware map's do not; None
    where they do. It is the same as the general way, in one pass."""
    result: list[_Entry] = []
    last, end = _Entry(0, 0, 0), 0
    for entry in sorted(entries, key=lambda e: e.addr):
        if not entry.size:
            continue
        if entry.addr < end:
            return None
        if entry.addr == end and entry.type == last.type and entry.type not in _NO_MERGE:
            last.size += entry.size
        elif entry.type:
            last = _Entry(entry.addr, entry.size, entry.type)
            result.append(last)
        else:
            last = _Entry(0, 0, 0)
        end = entry.addr + entry.size
    return result


def table_limit(host_config: Mapping[str, str]) -> int:
    """E820_MAX_ENTRIES of a kernel with this configuration (arch/x86/include/asm/e820/types.h)."""
    shift = host_config.get("CONFIG_NODES_SHIFT", "")
    return 128 + 3 * (1 << int(shift)) if re.fullmatch(r"[0-9]|10", shift) else MAX_ENTRIES


def apply_arguments(
    firmware: Sequence[MapEntry], tokens: Iterable[str], release: str, limit: int = MAX_ENTRIES
) -> KernelMap:
    """The map that a kernel builds from this firmware map and this command line.

    It is the table that the kernel prints as "user:" where an argument changed it, before
    :func:`~.iomem.late_table` takes the pages that the kernel never uses. Raises
    :class:`NotPossible` (code ``does-not-boot``) where the kernel stops for good.
    """
    table = Table(firmware, limit)
    table.update()
    reader = _Reader(table, has(release, "numbers-saturate"))
    for argument in iterate(tokens):
        if argument.name == "memmap":
            reader.memmap(argument)
        elif argument.name == "mem":
            reader.mem(argument)
    if reader.changed and not table.update():
        raise NotPossible.of(
            "",
            "does-not-boot",
            "the memory arguments on the command line leave a map of fewer than two ranges, or one past 64 bits: "
            'the kernel stops with "Invalid user supplied memory map" (e820__finish_early_params)',
        )
    return KernelMap(table.entries(), tuple(reader.ignored), table.overflowed)


class _Reader:
    """The parsers of ``memmap=`` and ``mem=``, working on a table."""

    def __init__(self, table: Table, saturate: bool) -> None:
        self.table = table
        self.saturate = saturate
        self.ignored: list[Ignored] = []
        #: The table is rebuilt and printed (``userdef`` in the source).
        self.changed = False

    def mem(self, argument: Argument) -> None:
        if argument.value is None:
            self.ignored.append(Ignored(argument.text, "it has no value"))
            return
        if argument.value == "nopentium":
            self.ignored.append(Ignored(argument.text, "it is for 32-bit kernels only"))
            return
        self.changed = True
        size, _ = memparse(argument.value, self.saturate)
        if size == 0:
            self.ignored.append(Ignored(argument.text, "it gives no size"))
        else:
            self._limit_ram(size)

    def memmap(self, argument: Argument) -> None:
        if argument.value is None:
            self.ignored.append(Ignored(argument.text, "it has no value"))
            return
        for item in argument.value.split(","):
            reason = self._item(item)
            if reason:
                self.ignored.append(Ignored(f"memmap={item}", reason))

    def _limit_ram(self, size: int) -> None:
        self.table.remove(size, _ULLONG_MAX - size, RAM)

    def _item(self, item: str) -> str:
        """One item of a list: why it is ignored, or ""."""
        if item.startswith("exactmap"):
            self.table.clear()
            self.changed = True
            return ""
        size, rest = memparse(item, self.saturate)
        if rest == item:
            return "no size stands at its start"
        self.changed = True
        mark = rest[:1]
        if mark in _ADDED_TYPE:
            start, _ = memparse(rest[1:], self.saturate)
            self.table.add(start, size, _ADDED_TYPE[mark])
            return ""
        if mark == "%":
            return self._convert_item(item, size, rest[1:])
        self._limit_ram(size)
        return ""

    def _convert_item(self, item: str, size: int, text: str) -> str:
        start, rest = memparse(text, self.saturate)
        old = new = 0
        if rest[:1] == "-":
            old, rest = strtoull(rest[1:], self.saturate)
        if rest[:1] == "+":
            new, rest = strtoull(rest[1:], self.saturate)
        if rest:
            return f"{rest!r} cannot be read"
        old, new = old & 0xFFFFFFFF, new & 0xFFFFFFFF
        if old and new:
            if old == new:
                raise NotPossible.of(
                    "",
                    "does-not-boot",
                    f"memmap={item} converts type {old:#x} to itself: the kernel stops there (BUG_ON in "
                    "__e820__range_update) and only a power cycle brings the host back",
                )
            self.table.convert(start, size, old, new)
        elif new:
            self.table.add(start, size, new)
        else:
            self.table.remove(start, size, old or None)
        return ""
