# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACPI table SRAT as bytes: its memory ranges with the kernel's node numbers.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .._errors import InvalidInput
from .._units import U64

#: The header, a revision and eight reserved bytes come before the SRAT's entries.
_SRAT_HEADER = 48
#: MAX_PXM_DOMAINS of a kernel with NODES_SHIFT=10, as distributions for x86_64 have it.
_MAX_DOMAINS = 1024

_PROCESSOR, _MEMORY, _X2APIC, _INITIATOR = 0, 1, 2, 5
_ENABLED, _HOTPLUG, _NON_VOLATILE = 1, 2, 4


class Affinity(NamedTuple):
    """Bytes ``[start, end)`` that an enabled memory entry gives to a proximity domain and its node."""

    node: int
    domain: int
    start: int
    end: int
    hotplug: bool
    non_volatile: bool


def _checked(data: bytes) -> bytes:
    """The bytes of a SRAT, cut to the length it states."""
    if len(data) < _SRAT_HEADER or data[:4] != b"SRAT":
        raise _invalid("this is not an ACPI SRAT table")
    (length,) = struct.unpack_from("<I", data, 4)
    if not _SRAT_HEADER <= length <= len(data):
        raise _invalid(f"the SRAT states a length of {length} bytes; {len(data)} are there")
    if sum(data[:length]) & 0xFF:
        raise _invalid("the checksum of the SRAT is wrong: it is damaged")
    return data[:length]


def _invalid(message: str) -> InvalidInput:
    return InvalidInput.of("firmware.srat", "srat-invalid", message)


@dataclass(frozen=True)
class Srat:
    """What the kernel takes from a SRAT; nothing where it gives the table up.

    ``memory``: ranges in the table's order. ``nodes``: the node of each proximity domain. ``targets``:
    the domains of enabled memory, those of empty ranges among them.
    """

    memory: tuple[Affinity, ...] = ()
    nodes: Mapping[int, int] = field(default_factory=dict)
    targets: frozenset[int] = frozenset()


def parse_srat(data: bytes) -> tuple[Affinity, ...]:
    """The memory ranges of a SRAT; see :func:`read_srat`."""
    return read_srat(data).memory


def read_srat(data: bytes) -> Srat:
    """Read a SRAT.

    Nodes are numbered as the kernel numbers them (drivers/acpi/numa/srat.c, acpi_numa_init,
    5.10 and later): each proximity domain gets the next number when it is first met, in one walk over
    the enabled processors and generic initiators, then in one over the enabled memory. An empty memory
    entry takes part in the numbering only. Where the kernel gives the table up (a domain out of its
    range, an entry of the wrong size) nothing is returned: everything is node 0 then. Raises
    :class:`InvalidInput` where the bytes are no SRAT.
    """
    table = _checked(data)
    revision = table[8]
    nodes: dict[int, int] = {}
    entries = list(_entries(table))
    for kind, entry in entries:
        domain = _initiator_domain(kind, entry, revision)
        if domain is not None:
            if not 0 <= domain < _MAX_DOMAINS:
                return Srat()
            nodes.setdefault(domain, len(nodes))
    found = []
    targets = set()
    for kind, entry in entries:
        if kind != _MEMORY:
            continue
        if len(entry) < 40:
            return Srat()
        domain, _reserved, start, size, _reserved, flags = struct.unpack_from("<IHQQII", entry, 2)
        if not flags & _ENABLED:
            continue
        if revision <= 1:
            domain &= 0xFF
        if domain >= _MAX_DOMAINS:
            return Srat()
        node = nodes.setdefault(domain, len(nodes))
        targets.add(domain)
        if size and start + size <= U64:
            found.append(
                Affinity(
                    node, domain, start, start + size, bool(flags & _HOTPLUG), bool(flags & _NON_VOLATILE)
                )
            )
    return Srat(tuple(found), nodes, frozenset(targets))


def _entries(table: bytes) -> Iterator[tuple[int, bytes]]:
    position = _SRAT_HEADER
    while position + 2 <= len(table):
        kind, length = table[position], table[position + 1]
        if length < 2 or position + length > len(table):
            raise _invalid(f"the SRAT's entry at byte {position} has an impossible length")
        yield kind, table[position : position + length]
        position += length


def _initiator_domain(kind: int, entry: bytes, revision: int) -> int | None:
    """The domain of an enabled processor or generic initiator, -1 where the kernel gives up."""
    if kind == _PROCESSOR:
        if len(entry) != 16:
            return -1
        low, _apic, flags, _eid, high = struct.unpack_from("<BBIB3s", entry, 2)
        domain = low | (int.from_bytes(high, "little") << 8 if revision >= 2 else 0)
    elif kind == _X2APIC:
        if len(entry) < 24:
            return -1
        domain, _apic, flags = struct.unpack_from("<III", entry, 4)
    elif kind == _INITIATOR and len(entry) >= 32:
        (domain,) = struct.unpack_from("<I", entry, 4)
        (flags,) = struct.unpack_from("<I", entry, 24)
    else:
        return None
    return int(domain) if flags & _ENABLED else None
