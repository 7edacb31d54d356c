# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACPI table HMAT as bytes: which memory it speaks of, and whether kernels go by it at all.

DAX regions depend on no more than that: the ranges themselves stand in the SRAT (hmat_init in
drivers/acpi/numa/hmat.c, 5.10 to 7.2).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .acpi import Srat, read_srat
from .model import NodeRange

#: The header and four reserved bytes come before the structures.
_HEADER = 40
#: A structure's type, two reserved bytes and its length.
_STRUCTURE = 8
_PROXIMITY, _LOCALITY, _CACHE = 0, 1, 2
_PROXIMITY_LENGTH, _LOCALITY_LENGTH, _CACHE_LENGTH = 40, 32, 32
_PROCESSOR_VALID, _MEMORY_VALID = 1, 2


@dataclass(frozen=True)
class Proximity:
    """A "memory proximity domain attributes" structure; None where its flags say that a domain is not given."""

    memory: int | None
    processors: int | None


@dataclass(frozen=True)
class Hmat:
    """An HMAT: its proximity structures and, where kernels ignore the table, why."""

    revision: int
    proximity: tuple[Proximity, ...]
    ignored: str = ""


def hmat_targets(data: bytes, srat: bytes) -> tuple[NodeRange, ...]:
    """The memory ranges that kernels combine with this HMAT; none where they ignore the table.

    Raises :class:`InvalidInput` where ``srat`` is damaged.
    """
    affinity = read_srat(srat)
    if parse_hmat(data, affinity).ignored:
        return ()
    return tuple(NodeRange(a.node, a.start, a.end) for a in affinity.memory)


def parse_hmat(data: bytes, srat: Srat) -> Hmat:
    """Read an HMAT as the kernel does beside this SRAT; a table it cannot use says so in ``ignored``."""
    if len(data) < _HEADER or data[:4] != b"HMAT":
        return Hmat(0, (), "this is not an ACPI HMAT table")
    (length,) = struct.unpack_from("<I", data, 4)
    revision = data[8]
    if not _HEADER <= length <= len(data):
        return Hmat(revision, (), f"it states a length of {length} bytes; {len(data)} are there")
    if revision not in (1, 2):
        return Hmat(revision, (), f"kernels know revisions 1 and 2, not {revision}")
    if not srat.targets:
        return Hmat(revision, (), "the SRAT has no memory for it")
    found: list[Proximity] = []
    for kind, structure in _structures(data[:length]):
        problem = _problem(kind, structure)
        if kind == _PROXIMITY and not problem:
            proximity = _proximity(structure, revision)
            problem = _domain_problem(proximity, srat)
            found.append(proximity)
        if problem:
            return Hmat(revision, tuple(found), problem)
    return Hmat(revision, tuple(found))


def _structures(table: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, bytes) of each; the last is cut where the table ends. A length of 0 ends the walk as type -1."""
    position = _HEADER
    while position + _STRUCTURE < len(table):
        kind, _reserved, length = struct.unpack_from("<HHI", table, position)
        if length == 0:
            yield -1, b""
            return
        yield kind, table[position : position + length]
        position += length


def _problem(kind: int, structure: bytes) -> str:
    """Why the kernel rejects a structure, and the whole table with it."""
    if kind == -1:
        return "a structure has no length"
    if kind == _PROXIMITY and len(structure) != _PROXIMITY_LENGTH:
        return f"a proximity structure has {len(structure)} bytes instead of {_PROXIMITY_LENGTH}"
    if kind == _CACHE and len(structure) < _CACHE_LENGTH:
        return f"a cache structure has only {len(structure)} bytes"
    if kind == _LOCALITY:
        if len(structure) < _LOCALITY_LENGTH:
            return f"a locality structure has only {len(structure)} bytes"
        initiators, targets = struct.unpack_from("<II", structure, 12)
        wanted = _LOCALITY_LENGTH + 4 * (initiators + targets) + 2 * initiators * targets
        if len(structure) < wanted:
            return f"a locality structure has {len(structure)} bytes of the {wanted} that it needs"
    return ""


def _proximity(structure: bytes, revision: int) -> Proximity:
    flags, _reserved, processors, memory = struct.unpack_from("<HHII", structure, 8)
    given = revision > 1 or flags & _MEMORY_VALID
    return Proximity(memory if given else None, processors if flags & _PROCESSOR_VALID else None)


def _domain_problem(proximity: Proximity, srat: Srat) -> str:
    if proximity.memory is None:
        return ""
    if proximity.memory not in srat.targets:
        return f"proximity domain {proximity.memory} has no memory in the SRAT"
    if proximity.processors is not None and proximity.processors not in srat.nodes:
        return f"proximity domain {proximity.processors} is not in the SRAT"
    return ""
