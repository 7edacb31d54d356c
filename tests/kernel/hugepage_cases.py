# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Arguments for huge pages and the crash kernel, good ones and refused ones, and what became of them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from ansible_collections.carveout.memory.plugins.module_utils._model.predict import Prediction

from .machine import GIB, Machine
from .observation import Observation

#: Where the model says one of these the numbers are the most that can come out.
_MAY_BE_LESS = frozenset({"hugepages-short", "hugepages-tight"})
_MAY_FAIL = frozenset({"crashkernel-tight", "crashkernel-fails"})


def huge_tokens(rng: random.Random, machine: Machine) -> list[str]:
    """One to four groups of arguments; now and then a size no kernel has, an order nobody would write."""
    tokens = [token for _ in range(rng.choice((1, 1, 2, 2, 3, 4))) for token in _group(rng, machine)]
    if rng.random() < 0.15:
        tokens.insert(
            rng.randrange(len(tokens) + 1), rng.choice(("default_hugepagesz=2M", "default_hugepagesz=1G"))
        )
    if rng.random() < 0.1:
        rng.shuffle(tokens)
    if rng.random() < 0.1:
        tokens.append("hugetlb_free_vmemmap=" + rng.choice(("on", "off", "1", "maybe")))
    return tokens


def _group(rng: random.Random, machine: Machine) -> list[str]:
    size = rng.choice(("2M", "2M", "2M", "2048K", "1G", "0x200000", "4M", "2", "", None))
    most = max(1, machine.nodes[0] // GIB - 3) if size == "1G" else rng.choice((7, 40, 200))
    amount = _amount(rng, machine, most)
    return [*([] if size is None else [f"hugepagesz={size}"]), f"hugepages={amount}"]


def _amount(rng: random.Random, machine: Machine, most: int) -> str:
    nodes = range(len(machine.nodes) + (rng.random() < 0.1))
    by_node = ",".join(f"{node}:{rng.randrange(most + 1)}" for node in nodes if rng.random() < 0.8)
    plain = str(rng.randrange(most + 1))
    odd = rng.choice(
        ("", "0x10", "010", "3,4", "x", f"{plain}:", f"{by_node},5", f"{by_node},", f"{plain}pages")
    )
    return rng.choice((plain, plain, plain, by_node, by_node, odd))


def crash_tokens(rng: random.Random) -> list[str]:
    """One to three ``crashkernel=`` of all forms."""
    return [f"crashkernel={_crash_value(rng)}" for _ in range(rng.choice((1, 1, 1, 2, 3)))]


def _crash_value(rng: random.Random) -> str:
    size = f"{rng.choice((0, 16, 64, 100, 128, 192, 256, 512))}M"
    return rng.choice(
        (
            size,
            size,
            f"{size},high",
            f"{size},low",
            f"{size},cma",
            f"1G-4G:{size},4G-:{rng.choice((32, 96, 300))}M",
            f"64G-:{size}",
            f"4G-2G:{size}",
            f"1G:{size}",
            f"{size},medium",
            "auto",
        )
    )


Words = tuple[str, ...]


def amounts(predicted: Prediction, seen: Observation) -> list[tuple[str, Words, Words]]:
    """(subject, predicted, real) of huge pages by node and of what is kept for a crash, where they differ."""
    codes = {warning.code for warning in predicted.warnings}
    found = []
    if not codes & _MAY_BE_LESS:
        found.append(("hugepages", _page_words(predicted.hugepages), _page_words(seen.hugepages)))
    if not codes & _MAY_FAIL:
        low, high = predicted.crashkernel
        found.append(("crashkernel", _crash_words(low, high), _crash_words(*_crash_seen(seen))))
    return [row for row in found if row[1] != row[2]]


def _page_words(nodes: Mapping[int, Mapping[int, int]]) -> Words:
    return tuple(
        f"node {node}: {count} pages of {size >> 20} MiB"
        for node, pages in sorted(nodes.items())
        for size, count in sorted(pages.items())
        if count
    )


def _crash_seen(seen: Observation) -> tuple[int, int]:
    kept = [line for line in seen.iomem if line.name == "Crash kernel"]
    low = sum(line.end - line.start for line in kept if line.start < 4 * GIB)
    return low, sum(line.end - line.start for line in kept) - low


def _crash_words(low: int, high: int) -> Words:
    return (f"{low:,} bytes below 4 GiB", f"{high:,} bytes above")
