# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which layout a running host has: the one it was booted for, or a later one with the same kernel arguments.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json
import posixpath

from .._arguments import carries, layout_id, split
from .._errors import CarveoutError, InvalidInput, NotPossible
from .._host_files import COMMITTED, layout_path
from .._layout import LAYOUT_ID, Layout
from .._system import System

#: ID of the layout whose devices were last made in this boot. In /run: like the devices it is gone with the next one.
CURRENT = "/run/carveout/layout"


def booted_layout_id(system: System) -> str | None:
    """The layout that this boot is for (``carveout.layout=ID`` in /proc/cmdline)."""
    return layout_id(_tokens(system))


def current_layout_id(system: System) -> str | None:
    """The layout that the host has now.

    That is the one of :data:`CURRENT` where it is stored and this boot has its arguments, else the booted one. A
    boot for none has the committed layout where that needs no arguments: no command line names such a layout.
    """
    noted = (system.read(CURRENT) or "").strip()
    if LAYOUT_ID.fullmatch(noted):
        try:
            if carried(system, stored_layout(system, noted)):
                return noted
        except CarveoutError:
            pass  # a note that nothing stands behind
    return booted_layout_id(system) or _committed_without_arguments(system)


def _committed_without_arguments(system: System) -> str | None:
    committed = (system.read(COMMITTED) or "").strip()
    try:
        return committed if committed and not stored_layout(system, committed).arguments else None
    except CarveoutError:
        return None


def carried(system: System, layout: Layout) -> bool:
    """Whether this boot has the arguments of the layout, under its own ID or another's."""
    tokens = _tokens(system)
    booted = layout_id(tokens)
    stored = []
    if booted is not None and booted != layout.id:
        try:
            stored.append(stored_layout(system, booted).kernel_arguments)
        except CarveoutError:
            return False  # what it was booted with cannot be told from what others add
    return carries(tokens, layout.kernel_arguments, stored)


def note_current(system: System, layout: Layout) -> None:
    """Remember that the host has this layout now."""
    system.write(CURRENT, layout.id + "\n")


def forget_current(system: System) -> None:
    """Take the note away; the host then has the layout that it was booted for."""
    if system.remove(CURRENT):
        system.run(["rmdir", "--ignore-fail-on-non-empty", posixpath.dirname(CURRENT)])


def stored_layout(system: System, layout_id: str) -> Layout:
    """The layout of this ID as it is stored on the host.

    Raises :class:`NotPossible` where it is not there, :class:`InvalidInput` where it is damaged.
    """
    path = layout_path(layout_id)
    text = system.read(path) if LAYOUT_ID.fullmatch(layout_id) else None
    if text is None:
        raise NotPossible.of(
            "", "layout-unknown", f"this boot is for the layout {layout_id!r}, but {path} does not exist"
        )
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidInput.of("", "layout-invalid", f"{path} is not JSON: {error}") from None
    try:
        layout = Layout.from_json(data)
    except InvalidInput as error:
        raise InvalidInput.of("", "layout-invalid", f"{path}: {error}") from None
    if layout.id != layout_id:
        raise InvalidInput.of("", "layout-invalid", f"{path} holds another layout, {layout.id}")
    return layout


def _tokens(system: System) -> list[str]:
    return split(system.read("/proc/cmdline") or "")
