# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as one page of HTML that refers to nothing outside of it: each host's map, and what deviates."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from html import escape

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size

from ..picture_svg import layout_svg
from .amounts import carved, saved
from .record import DEVIATES, FINE, UNKNOWN, Record

_WORDS = {FINE: "as committed", DEVIATES: "deviates", UNKNOWN: "not verified"}
#: Nothing of the page may load or run anything, whatever a host has put into its names.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #111; background: #fff }
table { border-collapse: collapse } td, th { border-bottom: 1px solid #ccc; padding: .2em .8em; text-align: left }
img { max-width: 100%; height: auto } code, td { overflow-wrap: anywhere }
.fine { color: #17632d } .deviates, .unknown { color: #9c1c1c; font-weight: bold }
"""


def report_page(names: Iterable[str], read: Callable[[str], Record]) -> Iterator[str]:
    """Pieces of the page, hosts that deviate first; one record is held at a time."""
    verdicts = {name: read(name).verdict for name in names}
    counts = Counter(verdicts.values())
    words = ", ".join(f"{counts[word]} {_WORDS[word]}" for word in _WORDS if counts[word])
    ordered = sorted(verdicts, key=lambda name: verdicts[name] == FINE)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>Memory of {counts.total()} hosts</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Memory of {counts.total()} hosts</h1>\n<p>{words}</p>\n<table>\n"
        "<tr><th>host</th><th>verdict</th><th>layout</th><th>carved out</th><th>given back</th></tr>\n"
    )
    for index, name in enumerate(ordered):
        record = read(name)
        cells = (approximate_size(carved(record)), approximate_size(saved(record)))
        yield (
            f'<tr><td><a href="#h{index}">{_text(name)}</a></td>'
            f'<td class="{record.verdict}">{_WORDS[record.verdict]}</td><td><code>{_text(record.id)}</code></td>'
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
        )
    yield "</table>\n"
    for index, name in enumerate(ordered):
        yield _section(index, read(name))
    yield "</body>\n</html>\n"


def _section(index: int, record: Record) -> str:
    parts = [f'<h2 id="h{index}">{_text(record.host)}</h2>']
    parts.append(f'<p class="{record.verdict}">{_WORDS[record.verdict]}</p>')
    if record.unmet:
        parts.append(
            "<table>\n<tr><th>what</th><th>place in the plan</th><th>expected</th><th>measured</th></tr>"
        )
        for expectation in record.unmet:
            cells = (expectation[key] for key in ("name", "path", "expected", "measured"))
            parts.append(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>")
        parts.append("</table>")
    if record.other_failures:
        items = "".join(f"<li>{_text(failure)}</li>" for failure in record.other_failures)
        parts.append(f"<ul>{items}</ul>")
    parts.append(_map(record))
    return "\n".join(filter(None, parts)) + "\n"


def _map(record: Record) -> str:
    """As a picture of its own, so that its parts have names of their own."""
    if not record.layout or not record.snapshot:
        return ""
    try:
        svg = layout_svg(host_from_json(record.snapshot), Layout.from_json(record.layout))
    except CarveoutError as error:
        return f"<p>It has no map: {_text(str(error))}</p>"
    data = base64.b64encode(svg.encode()).decode()
    words = _text(f"The memory of {record.host} before and after the layout {record.id}")
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{data}">'


def _text(text: str) -> str:
    return escape(printable(str(text)))
