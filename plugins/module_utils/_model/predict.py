# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a kernel will make of a host's memory with any command line: the rooms of the model together.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._arguments import COMMAND_LINE_SIZE, split
from .._host.model import Host, MapEntry
from .crashkernel import crashkernel
from .dax_regions import DaxRegion, dax_regions
from .dmem import DmemResult, Region, dmem_prediction, has_dmem
from .e820 import Ignored, apply_arguments, table_limit
from .firmware_tables import firmware_tables, with_firmware_tables
from .hugepages import hugepages
from .iomem import IomemRange, address_limit, iomem, last_page, late_table, ram_pages
from .kaslr import Verdict, placement, verdict
from .node_memory import NodeMemory, memory_of_nodes, ram_of_nodes, spans_of
from .notes import Note
from .releases import version
from .survival import Memory, check_survival
from .windows import expanded, top_level, windows_of


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
    dax_regions: tuple[DaxRegion, ...]
    dmem_regions: tuple[Region, ...]
    hugepages: Mapping[int, Mapping[int, int]]
    crashkernel: tuple[int, int]
    kaslr: Verdict
    nodes: Mapping[int, NodeMemory]
    ignored_arguments: tuple[Ignored, ...]
    warnings: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "command_line": self.command_line,
            "kernel_map": [list(entry) for entry in self.kernel_map],
            "iomem": [list(line) for line in self.iomem],
            "dax_regions": [list(region) for region in self.dax_regions],
            "dmem_regions": [list(region) for region in self.dmem_regions],
            "hugepages": {
                str(node): {str(size): count for size, count in sorted(pages.items())}
                for node, pages in sorted(self.hugepages.items())
            },
            "crashkernel": {"low": self.crashkernel[0], "high": self.crashkernel[1]},
            "kaslr": self.kaslr.to_json(),
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
    warnings: list[Note] = []
    line, ignored = _seen(tokens)
    if ignored:
        warnings.append(
            Note(
                "command-line-too-long",
                f"the kernel reads {COMMAND_LINE_SIZE - 1} bytes; the rest is cut off",
            )
        )
    limit = table_limit(host.kernel_config)
    user = apply_arguments(host.firmware_map, line, release, limit)
    if user.overflowed:
        warnings.append(
            Note("table-full", f"the kernel's table has room for {limit} ranges; what came after is lost")
        )
    late = late_table(user.entries, limit)
    ram = ram_pages(late, release)
    end = last_page(late, release)
    spans = spans_of(host.node_ranges, ram, line, release, end)
    warnings += [Note("nodes", message) for message in spans.messages]
    fixed_place = host.firmware_boot != "efi" and not placement(line, release).randomised
    plain = _without_arguments(host, release, limit)
    warnings += check_survival(host.firmware_map, plain, Memory(ram, spans.orphans), fixed_place)
    ram = ram.intersect([(0, end)])
    place = verdict(line, release, host.firmware_boot, plain.ram.subtract(ram))
    dax = dax_regions(late, host, line, release)
    warnings += [Note(warning.code, warning.message) for warning in dax.warnings]
    dmem = dmem_prediction(host, line, user.entries, release)
    warnings += [Note(*warning) for warning in dmem.warnings]
    if _dmem_takes(host, release, dmem):
        ram = ram.subtract((region.start, region.end) for region in dmem.regions)
    crash = crashkernel(line, ram, release)
    huge = hugepages(line, release, ram_of_nodes(ram, spans), host.kernel_config or None)
    warnings += [*crash.warnings, *huge.warnings]
    limit_of_addresses = address_limit(host.firmware_map)
    for entry in late:
        if entry.end > limit_of_addresses:
            warnings.append(
                Note(
                    "address-width",
                    f"[{entry.start:#x}, {entry.end:#x}) is past {limit_of_addresses:#x}: it is predicted to be "
                    "missing in /proc/iomem, but a processor that can address more shows it",
                )
            )
    windows = windows_of(host.state)
    shown = with_firmware_tables(late, firmware_tables(host, limit), limit)
    lines = iomem(shown, release, limit_of_addresses)
    return Prediction(
        kernel=release,
        command_line=" ".join(line),
        kernel_map=user.entries,
        iomem=top_level(expanded(lines, windows), windows),
        dax_regions=dax.regions,
        dmem_regions=dmem.regions,
        hugepages=huge.pages,
        crashkernel=(crash.low, crash.high),
        kaslr=place,
        nodes=memory_of_nodes(ram, spans),
        ignored_arguments=(
            *user.ignored,
            *(Ignored(*refused) for refused in dmem.refused),
            *crash.ignored,
            *huge.ignored,
            *ignored,
        ),
        warnings=tuple(warnings),
    )


def _without_arguments(host: Host, release: str, limit: int) -> Memory:
    """What the kernel has where the command line says nothing about memory."""
    table = late_table(apply_arguments(host.firmware_map, (), release, limit).entries, limit)
    ram = ram_pages(table, release)
    return Memory(ram, spans_of(host.node_ranges, ram, (), release, last_page(table, release)).orphans)


def _seen(tokens: Sequence[str]) -> tuple[list[str], list[Ignored]]:
    """The tokens that the kernel sees of a line (COMMAND_LINE_SIZE holds a NUL too), and those cut off."""
    whole = " ".join(tokens).encode("utf-8", "surrogateescape")
    if len(whole) < COMMAND_LINE_SIZE:
        return list(tokens), []
    seen = split(whole[: COMMAND_LINE_SIZE - 1].decode("utf-8", "ignore"))
    kept = next((i for i, (a, b) in enumerate(zip(tokens, seen)) if a != b), len(seen))
    return seen, [Ignored(token, "the command line is too long") for token in tokens[kept:]]


def _dmem_takes(host: Host, release: str, dmem: DmemResult) -> bool:
    """Whether the regions are taken from the nodes: known of the kernel, or it is of the only line with dmemfs."""
    known = has_dmem(host)
    return bool(dmem.regions) and (known or (known is None and version(release) == (5, 4)))
