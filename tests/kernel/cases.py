# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Machines and command lines made from a seed: the same seed and number give the same case."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from .hugepage_cases import crash_tokens, huge_tokens
from .machine import GIB, MIB, Machine
from .words import Words


class Expect(Enum):
    """What a case was made for. What the model says of it is asked all the same."""

    BOOTS = "boots"
    DIES = "dies"
    PLANNED = "planned"
    """its memory arguments come from the planner, for a plan made from the same seed"""


@dataclass(frozen=True)
class Case:
    """One boot: ``tokens`` follow the base command line."""

    seed: int
    number: int
    machine: Machine
    tokens: tuple[str, ...]
    expect: Expect

    @property
    def cmdline(self) -> str:
        return " ".join(self.tokens)


def make_case(seed: int, number: int) -> Case:
    """Case ``number`` of a seed: one in 12 is made to die, one in 8 is planned."""
    rng = random.Random(f"{seed}/{number}")
    machine = make_machine(rng)
    kind = rng.random()
    if kind < 1 / 12:
        return Case(seed, number, machine, _dying(rng, machine), Expect.DIES)
    if kind < 1 / 12 + 1 / 8:
        return Case(seed, number, machine, _kaslr(rng, 0.5), Expect.PLANNED)
    tokens = [*_kaslr(rng, 0.2), *_memory(rng, machine)]
    tokens += huge_tokens(rng, machine) if rng.random() < 0.25 else []
    tokens += crash_tokens(rng) if rng.random() < 0.25 else []
    return Case(seed, number, machine, tuple(tokens), Expect.BOOTS)


def make_machine(rng: random.Random) -> Machine:
    """One to three nodes, with borders at odd places now and then; 3 to 14 GiB in all."""
    count = rng.choice((1, 1, 2, 2, 2, 3))
    # QEMU's RAM comes in 8 KiB
    grain = rng.choice((GIB, GIB, 128 * MIB, 2 * MIB, MIB, 8192))
    sizes = []
    for node in range(count):
        low, high = (2 * GIB, 6 * GIB) if node == 0 else (GIB // 2, 4 * GIB)
        sizes.append(max(grain, rng.randrange(low, high) // grain * grain))
    board = rng.choice(("pc", "pc", "q35"))
    below = rng.choice((0, 0, 0, 2 * GIB, 2 * GIB + 512 * MIB))
    srat = count > 1 or rng.random() < 0.5
    return Machine(tuple(sizes), board, below, srat, hmat=srat and rng.random() < 0.15)


def low_end(machine: Machine) -> int:
    """Where the RAM below 4 GiB ends (hw/i386/pc_piix.c, pc_q35.c of QEMU)."""
    total = sum(machine.nodes)
    limit = machine.below_4g or (7 * GIB // 2 if machine.board == "pc" else 11 * GIB // 4)
    if total < limit:
        return total
    if machine.below_4g:
        return machine.below_4g
    return 3 * GIB if machine.board == "pc" else 2 * GIB


def top(machine: Machine) -> int:
    """Where all RAM ends."""
    low, total = low_end(machine), sum(machine.nodes)
    return 4 * GIB + total - low if total > low else low


def _kaslr(rng: random.Random, share: float) -> tuple[str, ...]:
    return () if rng.random() < share else ("nokaslr",)


def _memory(rng: random.Random, machine: Machine) -> list[str]:
    """Memory arguments that leave the first GiB (nearly) alone."""
    words = Words(rng, low_end(machine), top(machine), sum(machine.nodes), tuple(machine.nodes))
    items: list[str] = []
    if rng.random() < 0.12:
        items += words.exactmap()
    items += [words.item() for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 6, 9)))]
    tokens: list[str] = []
    while items:
        count = rng.choice((1, 1, 1, 2, 3, len(items)))
        tokens.append(words.quoted("memmap=" + ",".join(items[:count])))
        del items[:count]
    if rng.random() < 0.2:
        tokens.insert(rng.randrange(len(tokens) + 1), words.limit())
    if rng.random() < 0.25:
        tokens.insert(rng.randrange(len(tokens) + 1), words.absurd())
    if rng.random() < 0.05:
        # what follows is for init
        tokens += ["--", f"memmap={words.item()}"]
    return tokens


def _dying(rng: random.Random, machine: Machine) -> tuple[str, ...]:
    """Lines with which no kernel comes up, for sure."""
    words = Words(rng, low_end(machine), top(machine), sum(machine.nodes), tuple(machine.nodes))
    size, start = words.number(rng.randrange(1, 64) * 2 * MIB), words.number(words.address())
    kind = rng.choice((1, 2, 7, 12, 77, 0xEFFFFFFF))
    same = f"memmap={size}%{start}-{words.kind(kind)}+{words.kind(kind)}"
    nothing_left = rng.choice(("memmap=exactmap", "memmap=exactmap memmap=1G@0"))
    chosen = rng.choice((same, same, same, nothing_left))
    others = [f"memmap={words.item()}" for _ in range(rng.randrange(2))] if chosen == same else []
    return ("nokaslr", *others, *chosen.split())
