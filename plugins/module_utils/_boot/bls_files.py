# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a host that boots by entry files, as they are or as they would be after a change.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from .._system import System
from .bls_entries import EntryFile, in_order, read_entry
from .reading import names_in, read_text

_MAX_LINKS = 8
#: A trial's own entry. GRUB puts the newest name first, and a tilde makes a name older than all without one (rpm's
#: rule, and gnulib's filevercmp of GRUB 2.14): it is never what boots where nothing is chosen.
TRIAL_ID = "~carveout-trial"


class Files:
    """The host's files, some of them as they would be after a change."""

    def __init__(self, system: System, changed: Mapping[str, str] | None = None) -> None:
        self._system = system
        self._changed = changed or {}

    def text(self, path: str) -> str | None:
        path = resolved(self._system, path)
        return self._changed[path] if path in self._changed else read_text(self._system, path)

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        new = [posixpath.basename(path) for path in self._changed if posixpath.dirname(path) == folder]
        return sorted({*names_in(self._system, folder), *new})

    def entries(self, folder: str, *, trial: bool = False) -> dict[str, EntryFile]:
        """The entry files in a folder by their paths, in the order of GRUB's menu; with that of a trial if asked."""
        read = [
            read_entry(name[: -len(".conf")], self.text(f"{folder}/{name}") or "")
            for name in self.names(folder)
            if len(name) > len(".conf") and name.endswith(".conf") and name[0] != "."
        ]
        ordered = in_order(entry for entry in read if trial or entry.id != TRIAL_ID)
        return {f"{folder}/{entry.id}.conf": entry for entry in ordered}


def resolved(system: System, path: str) -> str:
    """The file that a path leads to: grubenv may be a link to the EFI partition."""
    for _ in range(_MAX_LINKS):
        target = system.readlink(path)
        if target is None:
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return path
