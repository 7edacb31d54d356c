# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A recording of a disk's writes, and the disk as it was after any of them.

QEMU's blklogwrites writes the format of the kernel's dm-log-writes: a superblock (magic, version, number of entries,
sector size), then for each request a sector of header (sector, count, flags, length) and its data.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_MAGIC = 0x6A736677736872
_FLUSH, _DISCARD = 1, 4


class Write(NamedTuple):
    """A request: ``size`` bytes at ``start``; ``place`` is where its data lies in the recording, -1 for zeroes.

    ``flush``: all that was written before is on the disk.
    """

    start: int
    size: int
    place: int
    flush: bool


class Recording:
    """The requests of a recording in their order."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        magic, version, count, sector = struct.unpack("<QQQI", os.pread(self._handle, 28, 0))
        if (magic, version) != (_MAGIC, 1):
            raise ValueError(f"{path}: no recording of writes")
        self.writes: list[Write] = []
        place = int(sector)
        for _ in range(count):
            start, sectors, flags, _length = struct.unpack("<QQQQ", os.pread(self._handle, 32, place))
            place += sector
            discard = bool(flags & _DISCARD)
            size = sectors * sector
            self.writes.append(Write(start * sector, size, -1 if discard else place, bool(flags & _FLUSH)))
            if not discard:
                place += size

    def data(self, write: Write) -> bytes:
        """What was written."""
        return bytes(write.size) if write.place < 0 else os.pread(self._handle, write.size, write.place)


class Disk:
    """A disk in a file, to which a recording is applied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT)
        self._pending: list[tuple[Write, bytes, bytes]] = []

    def apply(self, write: Write, data: bytes) -> None:
        """Do a write; it may be lost until :meth:`flush`."""
        before = os.pread(self._handle, write.size, write.start)
        self._pending.append((write, before, data))
        os.pwrite(self._handle, data, write.start)

    def flush(self) -> None:
        """Nothing of before can be lost any more."""
        self._pending.clear()

    @property
    def pending(self) -> int:
        """How many writes may be lost."""
        return len(self._pending)

    @contextmanager
    def some(self, chance: random.Random) -> Iterator[None]:
        """The disk with any of the writes that may be lost, each by itself; with all of them again afterwards."""
        self._lose()
        for write, _, data in self._pending:
            if chance.random() < 0.5:
                os.pwrite(self._handle, data, write.start)
        try:
            yield
        finally:
            self._lose()
            for write, _, data in self._pending:
                os.pwrite(self._handle, data, write.start)

    def _lose(self) -> None:
        for write, before, _ in reversed(self._pending):
            os.pwrite(self._handle, before, write.start)
