# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host remembers of its layouts: which is committed, which was before it, and what it was verified with.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from ._host_files import COMMITTED, PREVIOUS, VERIFIED
from ._layout import LAYOUT_ID, RELEASE
from ._system import System


def committed_layout_id(system: System) -> str | None:
    """The ID in /etc/carveout/committed, None where there is none."""
    return _layout_id(system, COMMITTED)


def previous_layout_id(system: System) -> str | None:
    """The ID in /etc/carveout/previous, None where there is none."""
    return _layout_id(system, PREVIOUS)


def verified_release(system: System, layout_id: str | None) -> str:
    """The release that this layout was verified with when it was committed, empty where none is recorded.

    The record is about one layout: another's says nothing.
    """
    return recorded_release(system.read(VERIFIED) or "", layout_id)


def recorded_release(text: str, layout_id: str | None) -> str:
    """The same from the record's text."""
    words = text.split()
    if len(words) != 2 or words[0] != layout_id or not RELEASE.fullmatch(words[1]):
        return ""
    return words[1]


def _layout_id(system: System, path: str) -> str | None:
    name = (system.read(path) or "").strip()
    return name if LAYOUT_ID.fullmatch(name) else None
