# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The map of each node before and after as an SVG picture, to scale; patterns tell the uses apart."""

from __future__ import annotations

from html import escape

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size

from .memory_map import FIRMWARE, KERNEL, Part, map_before, node_extent, on_node, parts

_WIDTH, _LEFT, _BAR, _ROW, _TOP = 900, 70, 34, 125, 30

#: Fill of the pools in turn: light and dark alternate and each has its own hatching, so that the
#: picture reads without colours (Okabe and Ito's palette for colour-blind readers).
_FILLS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")


def layout_svg(host: Host, layout: Layout) -> str:
    """One picture of the whole host."""
    pools = list(dict.fromkeys(r.pool for r in layout.reservations))
    before = parts(map_before(host), None)
    after = parts((MapEntry(*entry) for entry in layout.predicted_map), layout)
    body = []
    for row, node in enumerate(host.nodes):
        top = _TOP + row * _ROW
        extent, span = node_extent(host, node), host.node_span(node)
        saved = layout.memory_nodes[node].saved if node in layout.memory_nodes else 0
        size = approximate_size(host.node_usable(node).size)
        title = f"node {node}: {size} of RAM, struct pages given back: {approximate_size(saved)}"
        body.append(_text(_LEFT, top, title, bold=True))
        for line, (word, items) in enumerate((("before", before), ("after", after))):
            y = top + 12 + line * (_BAR + 8)
            body.append(_text(4, y + 21, word))
            scale = (_WIDTH - _LEFT - 10) / extent.size
            body.append(_rect(_LEFT, y, extent.size * scale, "#ffffff", "hole: no memory"))
            for item in on_node(items, span):
                body.append(_part(item, y, extent.start, scale, pools))
    top = _TOP + len(host.nodes) * _ROW
    body += _legend(top, pools)
    height = top + 40
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12">'
    )
    title = f"<title>Memory layout {escape(layout.id)}</title>"
    background = f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, title, _patterns(), background, *body, "</svg>"]) + "\n"


def _patterns() -> str:
    lines = ['<defs><pattern id="firmware" width="6" height="6" patternUnits="userSpaceOnUse">'
             '<path d="M0 6 6 0" stroke="#000" stroke-width="1"/></pattern>']  # fmt: skip
    for index, fill in enumerate(_FILLS):
        angle = 25 * index
        lines.append(
            f'<pattern id="pool{index}" width="9" height="9" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate({angle})"><rect width="9" height="9" fill="{fill}"/>'
            '<path d="M0 4.5H9" stroke="#000" stroke-opacity="0.35"/></pattern>'
        )
    return "".join(lines) + "</defs>"


def _fill(item: Part, pools: list[str]) -> str:
    if item.use == KERNEL:
        return "#dddddd"
    if item.use == FIRMWARE:
        return "url(#firmware)"
    return f"url(#pool{pools.index(item.use) % len(_FILLS)})"


def _part(item: Part, y: float, origin: int, scale: float, pools: list[str]) -> str:
    x, width = _LEFT + (item.start - origin) * scale, max(0.5, item.size * scale)
    name = item.device or item.label
    hint = f"{name}: {format_size(item.size)} at {item.start:#x}"
    text = _rect(x, y, width, _fill(item, pools), hint)
    if item.use not in (FIRMWARE,) and width > 8 * len(name):
        text += (
            f'<rect x="{x + width / 2 - 3.6 * len(name):.1f}" y="{y + 9}" width="{7.2 * len(name):.1f}" height="16" '
            'fill="#fff" fill-opacity="0.8"/>'
        ) + _text(x + width / 2, y + 21, name, anchor="middle")
    return text


def _rect(x: float, y: float, width: float, fill: str, hint: str) -> str:
    return (
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_BAR}" fill="{fill}" stroke="#000" '
        f'stroke-width="0.6"><title>{escape(hint)}</title></rect>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _legend(top: float, pools: list[str]) -> list[str]:
    items = [("#dddddd", "kernel"), ("url(#firmware)", "firmware"), ("#ffffff", "no memory")]
    items += [(f"url(#pool{index % len(_FILLS)})", name) for index, name in enumerate(pools)]
    result, x = [], float(_LEFT)
    for fill, name in items:
        result.append(
            f'<rect x="{x}" y="{top}" width="14" height="14" fill="{fill}" stroke="#000" stroke-width="0.6"/>'
        )
        result.append(_text(x + 19, top + 12, name))
        x += 40 + 7 * len(name)
    return result
