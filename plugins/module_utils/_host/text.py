# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Text that a host gave, made fit for JSON, terminals and messages.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

#: Controls of terminals, half characters, line ends of other readers, and what lets text run backwards.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    # surrogateescape keeps the byte in the low eight bits
    return f"\\x{code & 0xFF:02x}" if code < 0x100 or 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def printable(text: str) -> str:
    r"""``text`` with control characters and undecodable bytes as ``\xNN``; tabs and newlines stay."""
    return _UNFIT.sub(_escaped, text)


def one_line(text: str) -> str:
    """:func:`printable` for what has to stay in its line: a comment of a file, an item of a list."""
    return printable(text).replace("\n", r"\x0a")


def is_printable(text: str) -> bool:
    """Whether :func:`printable` would change nothing."""
    return _UNFIT.search(text) is None
