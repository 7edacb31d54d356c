# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far a long run is: one line on standard error, where that is a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

_T = TypeVar("_T")
_INTERVAL = 0.1
_BAR = 24


def with_progress(items: Iterable[_T], total: int, what: str, stream: TextIO | None = None) -> Iterator[_T]:
    """Pass the items on and show how many of ``total`` have gone by; the line goes when they end."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield from items
        return
    started = shown = time.monotonic()
    try:
        for count, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - shown >= _INTERVAL:
                shown = now
                width = shutil.get_terminal_size().columns - 1
                stream.write("\r" + line(what, count, total, now - started)[:width].ljust(width))
                stream.flush()
    finally:
        stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        stream.flush()


def line(what: str, count: int, total: int, seconds: float) -> str:
    """``planning [######......] 512/1024 hosts, 800/s, 0:01 left``"""
    filled = _BAR * count // total
    rate = count / seconds
    left = round((total - count) / rate)
    bar = "#" * filled + "." * (_BAR - filled)
    return f"{what} [{bar}] {count}/{total} hosts, {rate:.0f}/s, {left // 60}:{left % 60:02d} left"
