# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replay a recording write by write, and hold what GRUB and Linux would find to the layouts that there were."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_words import GrubScriptError
from tests.tenant.host import TenantError

from .views import GrubView, check_linux, grub_checksum, grub_view, journal
from .writes import Disk, Recording, Write

#: Subsets that are tried of the writes between two flushes.
_SUBSETS = 3


@dataclass
class Result:
    """``booted``: after which write GRUB boots what, from there on; ``problems`` are where it is nothing whole."""

    prefixes: int = 0
    looked: int = 0
    subsets: int = 0
    linux: int = 0
    booted: list[tuple[int, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Replay:
    """``names`` gives each whole command line that may boot a name; ``layouts`` are arguments by a layout's ID."""

    def __init__(
        self,
        disk: Path,
        recording: Recording,
        names: Mapping[str, str],
        layouts: Mapping[str, str],
        seed: int,
    ) -> None:
        self._disk = Disk(disk)
        self._recording = recording
        self._names = names
        self._layouts = layouts
        self._chance = random.Random(seed)
        self._journal = journal(disk)
        self._undo = disk.with_suffix(".undo")
        self._seen: GrubView | None = None
        self._images: dict[str, str] = {}
        self.result = Result()

    def run(self, linux_every: int, until: int | None = None) -> Result:
        """All prefixes for GRUB; for Linux each ``linux_every``-th flush, and wherever GRUB's answer changes."""
        self._look(0)
        flushes = 0
        for number, write in enumerate(self._recording.writes[:until], 1):
            self.result.prefixes += 1
            changed = False
            if write.size:
                self._disk.apply(write, self._recording.data(write))
                changed = not self._in_journal(write) and self._look(number)
            if write.flush:
                flushes += 1
                if self._disk.pending > 1:
                    self._reordered(number)
                self._disk.flush()
            if changed or (write.flush and flushes % linux_every == 0):
                self._linux(number)
        return self.result

    def _in_journal(self, write: Write) -> bool:
        return any(start <= write.start and write.start + write.size <= end for start, end in self._journal)

    def _look(self, number: int) -> bool:
        """Whether GRUB finds something else than before."""
        view = grub_view(self._disk.path)
        self.result.looked += 1
        if view == self._seen:
            return False
        self._seen = view
        name = self._name(view, f"write {number}")
        if name and (not self.result.booted or self.result.booted[-1][1] != name):
            self.result.booted.append((number, name))
        return True

    def _name(self, view: GrubView, where: str) -> str:
        try:
            entry = view.entry()
        except GrubScriptError as error:
            self.result.problems.append(f"{where}: GRUB's menu: {error}")
            return ""
        name = self._names.get(entry.command_line)
        if name is None:
            self.result.problems.append(f"{where}: GRUB would boot {entry.command_line}")
            return ""
        image = entry.words[0].partition(")")[2] or entry.words[0]
        for path in (image, image.replace("vmlinuz", "initrd.img")):
            checksum = grub_checksum(self._disk.path, path)
            if self._images.setdefault(path, checksum) != checksum:
                self.result.problems.append(f"{where}: {path} is damaged: {checksum}")
        return name

    def _linux(self, number: int) -> None:
        self.result.linux += 1
        try:
            check_linux(self._disk.path, self._undo, self._layouts)
        except TenantError as error:
            self.result.problems.append(f"write {number}: {error}")

    def _reordered(self, number: int) -> None:
        """Before a flush, other parts of what was written than the first ones may have reached the disk."""
        for _ in range(_SUBSETS):
            with self._disk.some(self._chance):
                view = grub_view(self._disk.path)
                self.result.subsets += 1
                if view != self._seen:
                    self._name(view, f"a part of the writes before {number}")
