# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The map of each node before and after as bars to scale, and the layout as text, in 80 columns.

Patterns, not colours, tell the uses apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import SYSTEM_RAM, Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.auto import NOTE
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size

from .memory_map import FIRMWARE, HOLE, KERNEL, LOST
from .picture_legend import device_labels, is_idle, legend, pools
from .picture_scale import Band, Drawing, NodeMap, node_maps

_WIDTH = 68
_CUT = "//"
_MARKS = {KERNEL: ".", LOST: "!", FIRMWARE: "x", HOLE: " "}
_POOL_MARKS = "ABCDEFGHIJKLMNOPQRSTUVWYZ0123456789"


def pool_marks(layout: Layout) -> dict[str, str]:
    """A letter (a digit from the 26th on) for each pool; parts without a device have the small one."""
    return {name: _POOL_MARKS[index % len(_POOL_MARKS)] for index, name in enumerate(pools(layout))}


def node_bars(host: Host, layout: Layout) -> list[str]:
    """Two bars for each node with usable RAM, one more where it has devices, and the legend."""
    maps = node_maps(host, layout)
    drawings = [one.drawn(_WIDTH, 1, len(_CUT)) for one in maps]
    labels = device_labels(layout)
    text = []
    for one, drawing in zip(maps, drawings, strict=True):
        text += wrap(_title(host, one, drawing), "")
        before, after = (
            "".join(row) for row in zip(*(_cells(b, layout) for b in drawing.bands), strict=True)
        )
        text += [f" before |{before}|", f"  after |{after}|"]
        if any(band.device for band in drawing.bands):
            text.append(f"devices |{_device_cells(drawing.bands, labels)}|")
    text += ["", *_legend(maps, layout)]
    if any(drawing.enlarged for drawing in drawings):
        text += wrap("What is smaller than a column has a column nevertheless, not to scale.", "  ")
    left_out = sum(drawing.left_out for drawing in drawings)
    if left_out:
        text += wrap(f"For {left_out} small parts there was no room.", "  ")
    return text


def _title(host: Host, one: NodeMap, drawing: Drawing) -> str:
    text = (
        f"node {one.node}: {approximate_size(host.node_usable(one.node).size)} of RAM from "
        f"{approximate_size(one.start)} to {approximate_size(one.end)}, "
        f"{approximate_size(drawing.cell)} a column"
    )
    return (
        f"{text}; {_CUT} leaves out {approximate_size(drawing.holes)} without memory"
        if drawing.holes
        else text
    )


def _cells(band: Band, layout: Layout) -> tuple[str, str]:
    if band.cut:
        return (_CUT[: band.width],) * 2
    marks = {**_MARKS, **pool_marks(layout)}
    after = marks[band.after].lower() if is_idle(band, layout) else marks[band.after]
    return marks[band.before] * band.width, after * band.width


def _device_cells(bands: Sequence[Band], labels: dict[str, list[str]]) -> str:
    """Lines of - and = in turn with the name in them; its number where that is too long."""
    result, line = "", "="
    for band in bands:
        if not band.device:
            result += " " * band.width
            continue
        line = "-" if line == "=" else "="
        fit = [n for n in labels[band.device] if len(n) < band.width or len(n) == band.width == 1]
        result += (fit[0] if fit else "").center(band.width, line)
    return result


def _legend(maps: Sequence[NodeMap], layout: Layout) -> list[str]:
    marks = {**_MARKS, **pool_marks(layout)}
    text = [f"  {'':<58}{'before':>9}{'after':>9}"]
    for row in legend(maps, layout):
        mark = marks[row.use].lower() if row.idle else marks[row.use]
        sizes = "".join(f"{approximate_size(size) if size else '-':>12}" for size in (row.before, row.after))
        words = f"  {mark}  {'  ' if row.use == LOST else ''}{row.words}"
        text += [f"{words:<54}{sizes}"] if len(words) < 54 else [*wrap(words, "  "), f"{'':<54}{sizes}"]
    return text


def wrap(text: str, indent: str, width: int = 79) -> list[str]:
    """Break at blanks, and words that are longer than a line, so that no line exceeds ``width``."""
    result, line = [], ""
    most = width - len(indent)
    for word in text.strip().split(" "):
        if line and len(line) + 1 + len(word) > most:
            result.append(indent + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
        while len(line) > most:
            result.append(indent + line[:most])
            line = line[most:]
    return [*result, indent + line] if line else result


def layout_text(host: Host, layout: Layout) -> str:
    """The whole layout for people."""
    text = [*wrap(f"layout {layout.id} for kernel {layout.kernel}", ""), "", "Kernel arguments"]
    text += [f"  {argument}" for argument in layout.kernel_arguments or ("none",)]
    text += ["", "Memory map", *node_bars(host, layout)]
    if layout.reservations:
        text += ["", "Reservations"]
    for r in layout.reservations:
        text += _row(
            r.pool,
            f"{r.mechanism:<9} node {r.node}  {format_size(r.range.size):>10}  {r.start:#x} - {r.end:#x}",
        )
    if layout.devices:
        text += ["", "Devices"]
        for number, d in enumerate(layout.devices, 1):
            text += _row(
                f"{number:<3} {d.name}",
                f"node {d.node}  {format_size(d.size):>10} in {len(d.extents)} "
                f"extent{'s' if len(d.extents) > 1 else ''}, align {format_size(d.align)}, "
                + (f"{d.namespace}, map {d.map}, " if d.namespace else "")
                + (f"system-ram, online: {d.online}" if d.use == SYSTEM_RAM else _access(d)),
            )
    text += hugepage_lines(layout)
    text += ["", *memory_table(layout)]
    for warning in layout.warnings:
        word = "" if warning.code == NOTE else "warning: "
        text += ["", *wrap(f"{word}{warning.message}", "  ")]
    return "\n".join(text) + "\n"


def hugepage_lines(layout: Layout) -> list[str]:
    """Huge pages, which are part of the kernel's RAM, and their mounts; nothing where there are none."""
    if not layout.hugepages:
        return []
    text = ["", "Huge pages (of the kernel's RAM)"]
    for h in layout.hugepages:
        words = f"{'hugetlb':<9} node {h.node}  {format_size(h.size):>10}  {h.count} of {format_size(h.page_size)}"
        text += _row(h.pool, words)
    for m in layout.mounts:
        words = f"{m.kind} {format_size(m.size)} at {m.path}, {m.owner}:{m.group} {m.mode}"
        text += _row(m.pool, words)
    return text


def _access(device: Device) -> str:
    services = f", for {', '.join(device.units)}" if device.units else ""
    return f"{device.owner}:{device.group} {device.mode}{services}"


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
