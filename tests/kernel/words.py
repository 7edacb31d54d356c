# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Items of memory arguments: every form the kernel reads, numbers written in every way, and nonsense."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .machine import GIB, MIB

#: Types that firmware, kernels and nobody uses; 128 is RAM to older kernels.
KINDS = (2, 3, 4, 5, 7, 12, 12, 0xEFFFFFFF, 0xEFFFFFFF, 0xEFFFFFFF, 20, 77, 128)

_ABSURD = (
    "memmap",
    "memmap=",
    "memmap=,,,",
    "memmap=G",
    "memmap=0",
    "memmap=0x",
    "memmap=@5G",
    "memmap=exact",
    "memmap=-1G$5G",
    "memmap= 1G$5G",
    "memmap=1g5$5g",
    "memmap=64M%5G-1+",
    "memmap=64M%5G-1+0xefffffffx",
    "memmap=64M%5G-+12",
    "memmap=64M%5G--1+12",
    "memmap=64M%5G+12-1",
    "memmap=64M%5G-1+0x1efffffff",
    "memmap=64M%5G-one+two",
    "memmap=0$5G",
    "memmap=0%5G-1+12",
    "memmap=64M&5G",
    "memmap=64M!5Gx",
    "memmap=64M!5G,x,32M!6G",
    "memmap=64MB$5G",
    "memmap=64M$5GB",
    "memmap=64M$08G",
    "memmap=0x40M$0x140M",
    "memmap=0x4E$5G",
    "memmap=64M$5G64M$6G",
    "memmap=64M$5G;64M$6G",
    "memmap=64M%5G-1+4026531839,64M%5G-4026531839+1",
    "Memmap=64M$5G",
    "memmap.64M$5G",
    "mem",
    "mem=",
    "mem=0",
    "mem=nopentium",
    "mem=all",
    "mem=64G",
    "mem=1T@5G",
    "mem=0x7fffffffffffffff",
)


@dataclass(frozen=True)
class Words:
    """Makes arguments for a machine whose RAM is [0, low) and [4 GiB, top) and has these nodes."""

    rng: random.Random
    low: int
    top: int
    total: int
    nodes: tuple[int, ...]

    def number(self, value: int) -> str:
        """``value`` in one of the ways the kernel's memparse reads it."""
        rng = self.rng
        form = rng.randrange(10)
        shift, suffix = 0, ""
        if form < 7:
            for bits, letter in ((30, "G"), (20, "M"), (10, "K")):
                if value and value % (1 << bits) == 0 and rng.random() < 0.9:
                    shift, suffix = bits, rng.choice((letter, letter, letter.lower()))
                    break
        scaled = value >> shift
        base = rng.randrange(8)
        if base == 0:
            return f"0{scaled:o}{suffix}"
        if base < 3:
            return f"{scaled:#x}{suffix}" if rng.random() < 0.7 else f"0X{scaled:X}{suffix}"
        return f"{scaled}{suffix}"

    def kind(self, kind: int) -> str:
        """A type's number, decimal or hexadecimal."""
        return self.rng.choice((str(kind), f"{kind:#x}"))

    def address(self) -> int:
        """A place from 1 GiB to a little above the end of RAM; often near one where something begins or ends."""
        rng = self.rng
        if rng.random() < 0.5:
            borders = [4 * GIB, self.low, self.top, *self._node_borders()]
            place = rng.choice(borders) + rng.choice((0, 0, -1, 1)) * rng.choice(
                (0, 4096, 2 * MIB, 128 * MIB, GIB)
            )
        else:
            place = rng.randrange(GIB, self.top + GIB // 2)
        grain = self.grain()
        return max(GIB, place // grain * grain)

    def grain(self) -> int:
        """How coarse a border is: whole GiB to single bytes."""
        return self.rng.choice((GIB, 128 * MIB, 128 * MIB, 2 * MIB, 2 * MIB, MIB, 65536, 4096, 4096, 512, 1))

    def _node_borders(self) -> list[int]:
        borders, end = [], 0
        for size in self.nodes:
            end += size
            borders.append(end if end <= self.low else end + 4 * GIB - self.low)
        return borders

    def size(self) -> int:
        rng = self.rng
        size = rng.choice((rng.randrange(1, 8 * MIB), rng.randrange(1, GIB), rng.randrange(1, 4 * GIB)))
        grain = self.grain()
        return max(grain, size // grain * grain)

    def item(self) -> str:
        """One item of a memmap= list."""
        rng = self.rng
        size, start = self.size(), self.address()
        form = rng.randrange(20)
        if form < 6:
            kind = rng.choice(KINDS)
            return f"{self.number(size)}%{self.number(start)}-{self.kind(1)}+{self.kind(kind)}"
        if form < 12:
            return f"{self.number(size)}{rng.choice('$$#!!')}{self.number(start)}"
        if form == 12:
            return f"{self.number(size)}%{self.number(start)}+{self.kind(rng.choice(KINDS))}"
        if form == 13:
            return f"{self.number(size)}%{self.number(start)}{rng.choice(('', '-1', '-12', '-2'))}"
        if form == 14:
            old, new = rng.sample(sorted({k for k in KINDS if k != 1}), 2)
            return f"{self.number(size)}%{self.number(start)}-{self.kind(old)}+{self.kind(new)}"
        if form == 15:
            return self.ram()
        if form == 16:
            return self._bad(size, start)
        if form == 17:
            return self._low()
        if form == 18:
            return self.number(max(size, rng.randrange(GIB + GIB // 2, self.top + GIB)))
        return f"{self.number(rng.choice((GIB, 2 * GIB)))}%0-77+78"

    def _low(self) -> str:
        """Something small below 1 GiB, in places that a kernel can do without."""
        rng = self.rng
        start = rng.choice((0x30000, 0x50123, 512 * MIB, 777 * MIB + 4096, 900 * MIB + 1))
        size = (
            rng.choice((4096, 8192, 5000, 1))
            if start < MIB
            else rng.choice((4096, MIB, 3 * MIB + 1, 16 * MIB))
        )
        return f"{self.number(size)}{rng.choice('$#!')}{self.number(start)}"

    def ram(self) -> str:
        """RAM claimed where there is RAM."""
        rng = self.rng
        begin, end = (
            (GIB, self.low - MIB) if self.top <= 4 * GIB or rng.random() < 0.4 else (4 * GIB, self.top)
        )
        grain = rng.choice((128 * MIB, 2 * MIB, 4096, 1))
        start = rng.randrange(begin, end) // grain * grain
        start = max(start, begin)
        size = rng.randrange(1, end - start + 1)
        return f"{self.number(size)}@{self.number(start)}"

    def _bad(self, size: int, start: int) -> str:
        rng = self.rng
        mark = rng.choice("$#!%&*:=")
        return rng.choice(
            (
                f"{mark}{self.number(start)}",
                f"x{self.number(size)}{mark}{self.number(start)}",
                f"{self.number(size)}%{self.number(start)}-1+{rng.choice(KINDS)}z",
                f"{self.number(size)}%{self.number(start)}?",
                "",
                "M",
                "nonsense",
            )
        )

    def exactmap(self) -> list[str]:
        """``exactmap`` and RAM enough to live with."""
        rng = self.rng
        items = [rng.choice(("exactmap", "exactmap", "exactmapped"))]
        items.append(f"{self.number(rng.choice((0x9F000, 0x9FC00, 640 * 1024)))}@0")
        items.append(f"{self.number(rng.randrange(GIB + GIB // 2, self.low - MIB) // 4096 * 4096 - MIB)}@1M")
        if self.top > 4 * GIB and rng.random() < 0.7:
            items.append(f"{self.number(self.top - 4 * GIB)}@4G")
        return items

    def limit(self) -> str:
        """``mem=`` that leaves a GiB and a half at least."""
        return f"mem={self.number(self.rng.randrange(GIB + GIB // 2, self.top + GIB) // 4096 * 4096)}"

    def absurd(self) -> str:
        """An argument that means nothing, or not what it seems to."""
        return self.rng.choice(_ABSURD)

    def quoted(self, token: str) -> str:
        """Now and then with the quotes that the kernel takes off."""
        if self.rng.random() > 0.05:
            return token
        name, _, value = token.partition("=")
        return self.rng.choice((f'"{token}"', f'{name}="{value}"'))
