# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Elements of the SVG picture. Colours alone never tell uses apart: each has a pattern of its own.

The colours are Okabe and Ito's for colour-blind readers (jfly.uni-koeln.de/color), alternately
light and dark, so that neighbours differ in grey too.
"""

from __future__ import annotations

from html import escape

from .memory_map import FIRMWARE, HOLE, KERNEL, LOST

#: Colour and strokes on a tile of 8 by 8.
_POOLS = (
    ("#56b4e9", '<path d="M0 4H8"/>'),
    ("#f0e442", '<path d="M4 0V8"/>'),
    ("#009e73", '<circle cx="2" cy="2" r="1.2"/><circle cx="6" cy="6" r="1.2"/>'),
    ("#cc79a7", '<path d="M-1 1 1-1M0 8 8 0M7 9 9 7"/>'),
    ("#0072b2", '<path d="M0 4H8M4 0V8"/>'),
    ("#e69f00", '<path d="M-1 7 1 9M0 0 8 8M7-1 9 1"/>'),
)
_IDS = {KERNEL: "kernel", LOST: "lost", FIRMWARE: "firmware"}
_OTHERS = {
    KERNEL: ("#e0e0e0", ""),
    LOST: (
        "#d55e00",
        '<path d="M-1 7 1 9M0 0 8 8M7-1 9 1" stroke="#fff" stroke-width="1.6" stroke-opacity="1"/>',
    ),
    FIRMWARE: ("#ffffff", '<path d="M-1 1 1-1M0 8 8 0M7 9 9 7M-2 6 6-2M2 10 10 2" stroke-opacity="1"/>'),
}


def fill(use: str, pools: list[str], idle: bool = False) -> str:
    """The value of ``fill`` for a use; ``pools`` are the names in order."""
    if use == HOLE:
        return "none"
    if use in _IDS:
        return f"url(#{_IDS[use]})"
    return f"url(#pool{pools.index(use) % len(_POOLS)}{'i' if idle else ''})"


def definitions() -> str:
    """The ``defs`` element; an idle part of a pool is a paler one of the same pattern."""
    tiles = [_tile(_IDS[use], colour, strokes, 1) for use, (colour, strokes) in _OTHERS.items()]
    for index, (colour, strokes) in enumerate(_POOLS):
        tiles += [_tile(f"pool{index}", colour, strokes, 1), _tile(f"pool{index}i", colour, strokes, 0.3)]
    return f"<defs>{''.join(tiles)}</defs>"


def _tile(name: str, colour: str, strokes: str, opacity: float) -> str:
    return (
        f'<pattern id="{name}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" fill="#fff"/><rect width="8" height="8" fill="{colour}" '
        f'fill-opacity="{opacity}"/><g stroke="#000" stroke-opacity="0.45">{strokes}</g></pattern>\n'
    )


def box(x: float, y: float, width: float, height: float, paint: str, hint: str = "") -> str:
    """A rectangle with what it is as its title."""
    shape = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{paint}"'
    stroke = 'stroke="#777" stroke-dasharray="3 2"' if paint == "none" else 'stroke="#000" stroke-width="0.7"'
    return f"{shape} {stroke}><title>{escape(hint)}</title></rect>"


def label(
    x: float,
    y: float,
    words: str,
    anchor: str = "start",
    size: int = 12,
    bold: bool = False,
    upright: bool = False,
) -> str:
    more = ' font-weight="bold"' if bold else ""
    more += f' transform="rotate(-90 {x:g} {y:g})"' if upright else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def plate(x: float, y: float, width: float, height: float) -> str:
    """What makes words on a pattern readable: white below them, centred on ``x``."""
    left = x - width / 2
    shape = f'<rect x="{left:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2"'
    return f'{shape} fill="#fff" fill-opacity="0.88"/>'


def tear(x: float, y: float, width: float, height: float, hint: str) -> str:
    """A torn place in a bar: something large is left out."""
    steps = [(x + (2 if n % 2 else -2), y + height * n / 4) for n in range(5)]
    lines = "".join(
        "M" + "L".join(f"{a + shift:g} {b:g}" for a, b in steps) for shift in (width / 4, width * 3 / 4)
    )
    return (
        f'<path d="{lines}" fill="none" stroke="#000" stroke-width="1.2"><title>{escape(hint)}</title></path>'
    )
