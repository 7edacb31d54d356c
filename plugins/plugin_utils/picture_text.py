# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The map of each node before and after as bars to scale, and the layout as text, in 80 columns.

Patterns, not colours, tell the uses apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size

from .memory_map import FIRMWARE, KERNEL, Part, map_before, node_extent, on_node, parts

_WIDTH = 64
_KERNEL_MARK, _FIRMWARE_MARK, _HOLE_MARK = ".", "x", " "
_POOL_MARKS = "ABCDEFGHIJKLMNOPQRSTUVWYZ"


def pool_marks(layout: Layout) -> dict[str, str]:
    """A letter for each pool, by order of the plan."""
    names = list(dict.fromkeys(r.pool for r in layout.reservations))
    return {name: _POOL_MARKS[index % len(_POOL_MARKS)] for index, name in enumerate(names)}


def bar(items: Sequence[Part], start: int, end: int, marks: dict[str, str]) -> str:
    """``_WIDTH`` characters to scale: in each cell the use that has most of its bytes."""
    cells = []
    for index in range(_WIDTH):
        low = start + (end - start) * index // _WIDTH
        high = start + (end - start) * (index + 1) // _WIDTH
        share: dict[str, int] = {}
        for item in items:
            overlap = min(high, item.end) - max(low, item.start)
            if overlap > 0:
                share[_mark(item, marks)] = share.get(_mark(item, marks), 0) + overlap
        best = max(share, key=lambda mark: share[mark]) if share else _HOLE_MARK
        cells.append(best if share and 2 * sum(share.values()) >= high - low else _HOLE_MARK)
    return "".join(cells)


def _mark(part: Part, marks: dict[str, str]) -> str:
    if part.use == KERNEL:
        return _KERNEL_MARK
    if part.use == FIRMWARE:
        return _FIRMWARE_MARK
    return marks[part.use]


def node_bars(host: Host, layout: Layout) -> list[str]:
    """Two bars for each node with usable RAM."""
    marks = pool_marks(layout)
    before, after = parts(map_before(host), None), parts(_predicted(layout), layout)
    text = []
    for node in host.nodes:
        extent, span = node_extent(host, node), host.node_span(node)
        text.append(
            f"node {node}: {approximate_size(host.node_usable(node).size)} of RAM between "
            f"{approximate_size(extent.start)} and {approximate_size(extent.end)}"
        )
        for word, items in (("before", before), ("after", after)):
            text.append(f"  {word:>6} |{bar(on_node(items, span), extent.start, extent.end, marks)}|")
    legend = [f"{_KERNEL_MARK} kernel", f"{_FIRMWARE_MARK} firmware", "blank: no memory"]
    legend += [f"{mark} {name}" for name, mark in marks.items()]
    return [*text, *wrap("         " + "   ".join(legend), "         ")]


def _predicted(layout: Layout) -> Iterable[MapEntry]:
    return (MapEntry(*entry) for entry in layout.predicted_map)


def wrap(text: str, indent: str, width: int = 79) -> list[str]:
    """Break at blanks so that no line is longer than ``width`` where a word allows it."""
    result, line = [], ""
    for word in text.strip().split(" "):
        if line and len(indent) + len(line) + 1 + len(word) > width:
            result.append(indent + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*result, indent + line] if line else result


def layout_text(host: Host, layout: Layout) -> str:
    """The whole layout for people."""
    text = [f"layout {layout.id} for kernel {layout.kernel}", "", "Kernel arguments"]
    text += [f"  {argument}" for argument in layout.kernel_arguments]
    text += ["", "Memory map", *node_bars(host, layout), "", "Reservations"]
    for r in layout.reservations:
        text += _row(
            r.pool,
            f"{r.mechanism:<9} node {r.node}  {format_size(r.range.size):>10}  {r.start:#x} - {r.end:#x}",
        )
    if layout.devices:
        text += ["", "Devices"]
        for d in layout.devices:
            text += _row(
                d.name,
                f"node {d.node}  {format_size(d.size):>10} in {len(d.extents)} "
                f"extent{'s' if len(d.extents) > 1 else ''}, align {format_size(d.align)}, "
                f"{d.owner}:{d.group} {d.mode}",
            )
    text += ["", *memory_table(layout)]
    for warning in layout.warnings:
        text += ["", *wrap(f"warning: {warning.message}", "  ")]
    return "\n".join(text) + "\n"


def _row(name: str, text: str) -> list[str]:
    """A name and what there is to say; where that is too long for a line, it goes on in others."""
    row = f"  {name:<14} {text}"
    return [row] if len(row) < 80 else [f"  {name}", *wrap(text, "      ")]


def memory_table(layout: Layout) -> list[str]:
    """What the kernel has and what describing memory costs, before and after, by node."""
    text = [
        "Memory                kernel's RAM                struct pages",
        "               before         after        before         after      saved",
    ]
    rows = [(f"node {n}", m) for n, m in sorted(layout.memory_nodes.items())]
    for name, m in [*rows, ("total", layout.memory)]:
        text.append(
            f"  {name:<8}{approximate_size(m.kernel_before):>11}   {approximate_size(m.kernel_after):>11}"
            f"   {approximate_size(m.struct_pages_before):>11}   {approximate_size(m.struct_pages_after):>11}"
            f" {approximate_size(m.saved):>10}"
        )
    return text
