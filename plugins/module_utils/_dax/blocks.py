# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory blocks: what the kernel onlines and takes offline of memory that it got back (drivers/base/memory.c).

``memoryN`` is the block that starts at N times the block size. daxctl finds the blocks of a device's first extent
only; here each extent has its own.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .._errors import NotPossible
from .._ranges import Range, whole_blocks
from .._system import System

MEMORY = "/sys/devices/system/memory"
#: What the kernel does with memory as it is added: left to it, it would online it as it likes.
POLICY = f"{MEMORY}/auto_online_blocks"
MOVABLE = "Movable"

#: Seconds for one block to become empty. Pages that are pinned for long let the kernel try for ever.
_OFFLINE_SECONDS = 60


class Blocks(NamedTuple):
    """Blocks that follow each other and are alike; ``zone`` is empty unless they are online in one zone."""

    start: int
    end: int
    state: str
    zone: str


def block_size(system: System) -> int:
    """Bytes. Raises :class:`NotPossible` where the kernel has no memory hotplug."""
    text = (system.read(f"{MEMORY}/block_size_bytes") or "").strip()
    try:
        return int(text, 16)
    except ValueError:
        raise NotPossible.of(
            "", "no-memory-hotplug", "this kernel cannot take memory back (CONFIG_MEMORY_HOTPLUG)"
        ) from None


def read_blocks(system: System, extents: Sequence[Range]) -> tuple[Blocks, ...]:
    """The blocks that there are of the extents, neighbours that are alike together."""
    found: list[Blocks] = []
    for part, path in _places(system, extents):
        state = (system.read(f"{path}/state") or "").strip()
        if not state:
            continue
        zone = (system.read(f"{path}/valid_zones") or "").strip() if state == "online" else ""
        last = found[-1] if found else None
        if last is not None and (last.end, last.state, last.zone) == (part.start, state, zone):
            found[-1] = last._replace(end=part.end)
        else:
            found.append(Blocks(part.start, part.end, state, zone))
    return tuple(found)


def as_wanted(blocks: Blocks, online: str) -> bool:
    """Whether blocks are online as one of the ways of a layout says."""
    if online == "no":
        return blocks.state == "offline"
    return blocks.state == "online" and (blocks.zone == MOVABLE) == (online == "movable")


def set_online(system: System, extents: Sequence[Range], online: str) -> None:
    """Online every block as wanted, or take it offline. Raises :class:`OSError` or :class:`NotPossible`."""
    for part, path in _places(system, extents):
        (now,) = read_blocks(system, [part]) or (Blocks(part.start, part.end, "missing", ""),)
        if as_wanted(now, online):
            continue
        if now.state == "online":
            system.write_sysfs(f"{path}/state", "offline", _OFFLINE_SECONDS)
        if online != "no":
            system.write_sysfs(f"{path}/state", f"online_{online}")


def take_offline(system: System, extents: Sequence[Range]) -> None:
    """Take every block offline, or none: where one stays, those before it are onlined again as they were.

    Raises :class:`NotPossible` with the block and the reason.
    """
    done: list[tuple[str, str]] = []
    for part, path in _places(system, extents):
        for now in read_blocks(system, [part]):
            if now.state == "offline":
                continue
            try:
                system.write_sysfs(f"{path}/state", "offline", _OFFLINE_SECONDS)
            except OSError as error:
                for before, how in reversed(done):
                    system.write_sysfs(f"{before}/state", how)
                raise NotPossible.of(
                    "", "memory-in-use", f"the kernel does not let go of {part}: {_why(error)}"
                ) from None
            done.append((path, "online_movable" if now.zone == MOVABLE else "online_kernel"))


def _why(error: OSError) -> str:
    reasons = {
        errno.EBUSY: "it holds pages that cannot be moved, or there is no room elsewhere for them",
        errno.ETIMEDOUT: f"its pages could not be moved within {_OFFLINE_SECONDS} s (something pins them)",
    }
    name = os.strerror(error.errno) if error.errno else str(error)
    reason = reasons.get(error.errno or 0)
    hint = "; free memory, or reboot with the new layout" if reason else ""
    return f"{name}: {reason}{hint}" if reason else name


def _places(system: System, extents: Sequence[Range]) -> Iterator[tuple[Range, str]]:
    size = block_size(system)
    for part in whole_blocks(extents, size):
        for start in range(part.start, part.end, size):
            yield Range(start, start + size), f"{MEMORY}/memory{start // size}"
