# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a kernel will make of a host's memory with any command line: the rooms of the model together.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._host.model import Host, MapEntry
from .e820 import Ignored, apply_arguments, table_limit
from .iomem import IomemRange, iomem, late_table, ram_pages
from .node_memory import NodeMemory, memory_of_nodes, spans_of


@dataclass(frozen=True)
class Warn:
    """Something to know about a prediction; ``code`` is a stable word for programs."""

    code: str
    message: str


@dataclass(frozen=True)
class Prediction:
    """What a kernel makes of a host's memory.

    ``kernel_map`` is the table after the arguments (what the kernel prints as "user:" where an
    argument changed it); ``iomem`` are the lines of /proc/iomem that stem from it; ``nodes`` tells
    the RAM in whole pages and the bytes of struct pages of each node. All ranges are bytes
    ``[start, end)``.
    """

    kernel: str
    command_line: str
    kernel_map: tuple[MapEntry, ...]
    iomem: tuple[IomemRange, ...]
    nodes: Mapping[int, NodeMemory]
    ignored_arguments: tuple[Ignored, ...]
    warnings: tuple[Warn, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "command_line": self.command_line,
            "kernel_map": [list(entry) for entry in self.kernel_map],
            "iomem": [list(line) for line in self.iomem],
            "nodes": {str(node): memory._asdict() for node, memory in sorted(self.nodes.items())},
            "ignored_arguments": [
                {"argument": ignored.argument, "reason": ignored.reason} for ignored in self.ignored_arguments
            ],
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
        }


def predict(host: Host, tokens: Sequence[str], kernel: str = "") -> Prediction:
    """What the kernel ``kernel`` (default: the one that boots next) makes of the command line.

    ``tokens`` are the complete line, foreign arguments and ours. Raises
    :class:`~.._errors.NotPossible` (code ``does-not-boot``) where the kernel would stop for good.
    """
    release = kernel or host.kernel
    limit = table_limit(host.kernel_config)
    user = apply_arguments(host.firmware_map, tokens, release, limit)
    warnings: list[Warn] = []
    if user.overflowed:
        warnings.append(
            Warn("table-full", f"the kernel's table has room for {limit} ranges; what came after is lost")
        )
    late = late_table(user.entries, limit)
    ram = ram_pages(late, release)
    spans = spans_of(host.node_ranges, ram, tokens)
    warnings += [Warn("nodes", message) for message in spans.messages]
    return Prediction(
        kernel=release,
        command_line=" ".join(tokens),
        kernel_map=user.entries,
        iomem=iomem(late, release),
        nodes=memory_of_nodes(ram, spans),
        ignored_arguments=user.ignored,
        warnings=tuple(warnings),
    )
