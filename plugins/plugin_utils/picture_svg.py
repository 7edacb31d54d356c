# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The map of each node before and after as an SVG picture, to scale.

Nothing is told by colour alone: there are patterns and words, and a title on each part. The picture
brings its own background, so it stands on dark pages too, and refers to nothing outside of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from html import escape

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size

from .memory_map import FIRMWARE, HOLE, KERNEL, LOST
from .picture_elements import box, definitions, fill, label, plate, tear
from .picture_legend import Row, device_labels, is_idle, legend, pools
from .picture_scale import Band, Drawing, NodeMap, node_maps

_WIDTH, _LEFT, _BAR = 900, 62, 824
_LEAST, _GAP = 6, 16
_TOP, _NODE, _LINE = 26, 148, 20
#: Below the node's title: where the bars start and how high they are, and the lines of words below.
_BEFORE, _BEFORE_HEIGHT, _AFTER, _AFTER_HEIGHT, _USES, _PLACES = 8, 24, 38, 36, 90, 106
#: Rough widths of a character, generous so that words stay inside of what they label.
_CHARACTER, _SMALL = 7.4, 6.2
_WORDS = {KERNEL: "kernel", LOST: "lost", FIRMWARE: "firmware", HOLE: "no memory"}


def layout_svg(host: Host, layout: Layout) -> str:
    """One picture of the whole host."""
    maps = node_maps(host, layout)
    drawings = [one.drawn(_BAR, _LEAST, _GAP) for one in maps]
    rows = legend(maps, layout)
    body: list[str] = []
    y = _TOP
    for one, drawing in zip(maps, drawings, strict=True):
        body += _node(host, layout, one, drawing, y)
        y += _NODE
    body += _legend(rows, pools(layout), y)
    y += _LINE * len(rows) + 4
    for line in _notes(drawings, layout):
        step = _BAR / len(line)
        body += [
            label(_LEFT + column * step, y, words, size=11) for column, words in enumerate(line) if words
        ]
        y += _LINE - 4
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" '
        'role="img" aria-labelledby="title desc" font-family="sans-serif" fill="#111">'
    )
    names = (
        f'<title id="title">Memory layout {escape(layout.id)}, before and after</title>\n'
        f'<desc id="desc">{escape(_description(host, layout, rows))}</desc>'
    )
    background = f'<rect width="{_WIDTH}" height="{y}" rx="6" fill="#fff"/>'
    return "\n".join([head, names, definitions(), background, *body, "</svg>"]) + "\n"


def _description(host: Host, layout: Layout, rows: Sequence[Row]) -> str:
    nodes = ", ".join(
        f"node {node} with {approximate_size(host.node_usable(node).size)} of RAM" for node in host.nodes
    )
    uses = "; ".join(f"{row.words}: {_amounts(row)}" for row in rows)
    return f"{nodes}. {uses}. {approximate_size(layout.memory.saved)} of struct pages given back."


def _node(host: Host, layout: Layout, one: NodeMap, drawing: Drawing, y: int) -> list[str]:
    saved = layout.memory_nodes[one.node].saved if one.node in layout.memory_nodes else 0
    title = (
        f"node {one.node}: {approximate_size(host.node_usable(one.node).size)} of RAM, "
        f"{approximate_size(saved)} of struct pages given back"
    )
    placed = list(_placed(drawing.bands))
    body = [label(_LEFT, y, title, size=13, bold=True)]
    body += [
        label(_LEFT - 8, y + _BEFORE + 16, "before", "end"),
        label(_LEFT - 8, y + _AFTER + 22, "after", "end"),
    ]
    names, labels = pools(layout), device_labels(layout)
    for use, run in itertools.groupby(placed, key=lambda item: (item[1].before, item[1].cut)):
        body.append(_before(use, list(run), names, y + _BEFORE))
    for x, band in placed:
        body.append(_after(x, band, names, labels, is_idle(band, layout), y + _AFTER))
    for (use, cut), run in itertools.groupby(placed, key=lambda item: (item[1].after, item[1].cut)):
        body += _use(use, cut, list(run), y + _USES)
    return [*body, *_places(one, placed, y + _PLACES)]


def _placed(bands: Iterable[Band]) -> Iterable[tuple[int, Band]]:
    x = _LEFT
    for band in bands:
        yield x, band
        x += band.width


def _extent(run: Sequence[tuple[int, Band]]) -> tuple[int, int]:
    """Left side and width."""
    return run[0][0], sum(band.width for _, band in run)


def _hint(name: str, size: int, start: int) -> str:
    return f"{name}: {format_size(size)} from {start:#x}"


def _before(use: tuple[str, bool], run: Sequence[tuple[int, Band]], names: list[str], y: int) -> str:
    x, width = _extent(run)
    size = sum(band.size for _, band in run)
    hint = _hint(_WORDS[use[0]], size, run[0][1].start)
    if use[1]:
        return tear(x, y, width, _BEFORE_HEIGHT, hint)
    words = f"{_WORDS[use[0]]} {approximate_size(size)}"
    text = box(x, y, width, _BEFORE_HEIGHT, fill(use[0], names), hint)
    return text + _inside(x, y, width, _BEFORE_HEIGHT, [words, _WORDS[use[0]]])


def _after(x: int, band: Band, names: list[str], labels: dict[str, list[str]], idle: bool, y: int) -> str:
    use = _WORDS.get(band.after, band.after)
    hint = _hint(f"{use}, {band.device}" if band.device else use, band.size, band.start)
    if band.cut:
        return tear(x, y, band.width, _AFTER_HEIGHT, hint)
    text = box(x, y, band.width, _AFTER_HEIGHT, fill(band.after, names, idle), hint)
    words = ["no device"] if idle else labels[band.device]
    return text + _inside(x, y, band.width, _AFTER_HEIGHT, words)


def _inside(x: int, y: int, width: int, height: int, words: Sequence[str]) -> str:
    """The first of the words that fits, on a plate or upright; nothing where none does."""
    for word in words:
        needed = len(word) * _SMALL + 4 if word.isdecimal() else len(word) * _CHARACTER + 6
        if needed <= width:
            middle = x + width / 2
            size = 10 if word.isdecimal() else 12
            return plate(middle, y + height / 2 - 8, needed - 2, 16) + label(
                middle, y + height / 2 + 4, word, "middle", size
            )
    for word in words:
        if width >= _SMALL + 3 and len(word) * _SMALL <= height - 4:
            return label(x + width / 2 + 3, y + height / 2, word, "middle", 9, upright=True)
    return ""


def _use(use: str, cut: bool, run: Sequence[tuple[int, Band]], y: int) -> list[str]:
    """What a stretch of the bar above is used as, below a line as long."""
    if cut or use == HOLE:
        return []
    x, width = _extent(run)
    name = _WORDS.get(use, use)
    words = [f"{name} {approximate_size(sum(band.size for _, band in run))}", name]
    ends = "".join(f"M{side} {y - 10}v-4" for side in (x + 1, x + width - 1))
    line = f'<path d="{ends}M{x + 1} {y - 11}H{x + width - 1}" stroke="#111"/>'
    for word in words:
        if len(word) * _SMALL + 8 <= width:
            return [line, label(x + width / 2, y, word, "middle", 11)]
    return []


def _places(one: NodeMap, placed: Sequence[tuple[int, Band]], y: int) -> list[str]:
    """Addresses below the bar, as many as there is room for; the first and the last always."""
    last = approximate_size(one.end)
    result = [label(_LEFT, y, approximate_size(one.start), size=10)]
    free = _LEFT + len(approximate_size(one.start)) * _SMALL + 12
    stop = _LEFT + _BAR - len(last) * _SMALL - 12
    for (_, left), (x, band) in itertools.pairwise(placed):
        words = approximate_size(band.start)
        width = len(words) * _SMALL
        # beside a torn place two addresses stand, of its end and of its start
        anchor, shift = ("end", width) if band.cut else ("start", 0) if left.cut else ("middle", width / 2)
        low, high = x - shift, x - shift + width
        if left.uses != band.uses and (free <= low or left.cut) and high <= stop:
            result.append(label(x, y, words, anchor, 10))
            free = high + 12
    return [*result, label(_LEFT + _BAR, y, last, "end", 10)]


def _amounts(row: Row) -> str:
    if row.before == row.after:
        return approximate_size(row.after)
    if not row.before:
        return approximate_size(row.after)
    return f"{approximate_size(row.before)} before, {approximate_size(row.after)} after"


def _legend(rows: Sequence[Row], names: list[str], y: int) -> list[str]:
    result = []
    for index, row in enumerate(rows):
        top = y + _LINE * index
        result.append(box(_LEFT, top - 12, 28, 15, fill(row.use, names, row.idle)))
        result.append(label(_LEFT + 38, top, f"{row.words}: {_amounts(row)}"))
    return result


def _notes(drawings: Sequence[Drawing], layout: Layout) -> list[list[str]]:
    """How far the picture is to scale, and in columns the devices without a name in it."""
    notes: list[list[str]] = []
    for h in layout.hugepages:
        notes.append([f"{h.pool}: {format_size(h.size)} of huge pages on node {h.node}, of the kernel's RAM"])
    if any(drawing.enlarged for drawing in drawings):
        notes.append([f"Small parts are {_LEAST} pixels wide, not to scale."])
    if any(drawing.holes for drawing in drawings):
        notes.append(["Where a bar is torn, a large hole without memory is left out."])
    left_out = sum(drawing.left_out for drawing in drawings)
    if left_out:
        notes.append([f"For {left_out} small parts there was no room."])
    drawn = [band for drawing in drawings for band in drawing.bands if band.device]
    named = {band.device for band in drawn if len(band.device) * _CHARACTER + 6 <= band.width}
    labels = device_labels(layout)
    words = [
        f"{labels[d.name][1]} {d.name}: node {d.node}, {format_size(d.size)}"
        for d in layout.devices
        if d.name not in named
    ]
    if words:
        columns = max(1, int(_BAR / (max(map(len, words)) * _SMALL + 14)))
        rows = -(-len(words) // columns)
        words += [""] * (columns * rows - len(words))
        notes += [words[row::rows] for row in range(rows)]
    return notes
