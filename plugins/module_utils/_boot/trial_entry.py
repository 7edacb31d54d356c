# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The entry file of a trial boot: a copy of another entry with other arguments. Pure.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

from .bls_text import options_of

_HEADER = "# Written by Carveout for one trial boot; gone when it is over.\n"
#: What tells an entry from others, and decides about its place in the menu.
_OWN = re.compile(r"[ \t]*(?:title|sort-key|id)[ \t]")


def with_tail(value: str, tail: str) -> str:
    """A value of ``options`` with arguments behind all that the kernel reads."""
    end = re.search(r"(?:^|(?<=[ \t]))--(?=[ \t]|$)", value)
    if end:
        return f"{value[: end.start()]}{tail} {value[end.start() :]}"
    return f"{value.rstrip()} {tail}" if value.strip() else tail


def entry_text(path: str, text: str, options: str, layout_id: str) -> str:
    """A copy of the entry in ``path`` whose text is ``text``. Raises :class:`NotPossible` as :func:`options_of`."""
    start, end = options_of(path, text)
    copied = text[:start] + options + text[end:]
    lines = [line for line in copied.rstrip("\n").split("\n") if not _OWN.match(line) and line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    return _HEADER + f"title Carveout: trial of layout {layout_id}\n" + "".join(f"{line}\n" for line in lines)
