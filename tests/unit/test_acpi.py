# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The SRAT: from bytes to the kernel's nodes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.acpi import Affinity, parse_srat
from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._host.nodes import (
    are_disjoint,
    node_ranges,
    one_node,
)

GIB = 1 << 30


def table(*entries: bytes, revision: int = 3, signature: bytes = b"SRAT") -> bytes:
    """A SRAT with a right length and checksum (ACPI 6.5, 5.2.16)."""
    body = b"".join(entries)
    data = bytearray(
        struct.pack(
            "<4sIBB6s8sI4sI", signature, 48 + len(body), revision, 0, b"TESTS ", b"CARVEOUT", 1, b"TEST", 1
        )
        + struct.pack("<IQ", 1, 0)
        + body
    )
    data[9] = -sum(data) & 0xFF
    return bytes(data)


def memory(domain: int, start: int, size: int, flags: int = 1) -> bytes:
    return struct.pack("<BBIHQQIIQ", 1, 40, domain, 0, start, size, 0, flags, 0)


def processor(domain: int, flags: int = 1) -> bytes:
    high = (domain >> 8).to_bytes(3, "little")
    return struct.pack("<BBBBIB3sI", 0, 16, domain & 0xFF, 7, flags, 0, high, 0)


def x2apic(domain: int, flags: int = 1) -> bytes:
    return struct.pack("<BBHIIIII", 2, 24, 0, domain, 300, flags, 0, 0)


def initiator(domain: int, flags: int = 1) -> bytes:
    return struct.pack("<BBBBI16sII", 5, 32, 0, 1, domain, bytes(16), flags, 0)


#: The SRAT of a QEMU 7.2 machine with nodes of 5 and 4 GiB, as its kernel showed it.
QEMU = bytes.fromhex(
    """
    53524154f000000001d0424f434853204258504320202020010000004258504301000000
    010000000000000000000000
    00100000010000000000000000000000
    00100101010000000000000000000000
    0128000000000000000000000000000000000a000000000000000000010000000000000000000000
    012800000000000000001000000000000000f0bf0000000000000000010000000000000000000000
    01280000000000000000000001000000000000800000000000000000010000000000000000000000
    01280100000000000000008001000000000000000100000000000000010000000000000000000000
    """
)


def nodes(data: bytes) -> list[tuple[int, int]]:
    return [(a.node, a.domain) for a in parse_srat(data)]


def test_memory_ranges_with_their_flags() -> None:
    data = table(
        processor(0),
        processor(1),
        memory(0, 0, 0xA0000),
        memory(0, 0x100000, 2 * GIB - 0x100000),
        memory(1, 4 * GIB, GIB, 1 | 2),
        memory(1, 5 * GIB, GIB, 1 | 4),
        memory(1, 6 * GIB, GIB, 0),
        memory(1, 7 * GIB, GIB, 2),
    )
    assert parse_srat(data) == (
        Affinity(0, 0, 0, 0xA0000, False, False),
        Affinity(0, 0, 0x100000, 2 * GIB, False, False),
        Affinity(1, 1, 4 * GIB, 5 * GIB, True, False),
        Affinity(1, 1, 5 * GIB, 6 * GIB, False, True),
    )


def test_a_real_table() -> None:
    """The kernel printed: node 0 [0-0x9ffff], [0x100000-0xbfffffff], [0x100000000-0x17fffffff], node 1
    [0x180000000-0x27fffffff].
    """
    assert [(a.node, a.start, a.end) for a in parse_srat(QEMU)] == [
        (0, 0, 0xA0000),
        (0, 0x100000, 0xC0000000),
        (0, 0x100000000, 0x180000000),
        (1, 0x180000000, 0x280000000),
    ]


def test_bytes_past_the_stated_length_do_not_count() -> None:
    data = table(memory(0, 0, GIB))
    assert parse_srat(data + b"\xff" * 7) == parse_srat(data)


def test_processors_come_first_in_the_numbering() -> None:
    """drivers/acpi/numa/srat.c walks all processors and initiators before any memory."""
    assert nodes(table(memory(5, 0, GIB), memory(9, GIB, GIB), processor(9))) == [(1, 5), (0, 9)]
    assert nodes(table(memory(5, 0, GIB), memory(9, GIB, GIB), x2apic(9))) == [(1, 5), (0, 9)]
    assert nodes(table(memory(5, 0, GIB), memory(9, GIB, GIB), initiator(9))) == [(1, 5), (0, 9)]


def test_processors_of_both_kinds_are_met_in_the_tables_order() -> None:
    data = table(
        x2apic(8), processor(4), initiator(2), x2apic(1), *(memory(d, d * GIB, GIB) for d in (1, 2, 4, 8))
    )
    assert nodes(data) == [(3, 1), (2, 2), (1, 4), (0, 8)]


def test_disabled_processors_and_other_entries_do_not_number() -> None:
    gicc = struct.pack("<BBIIII", 3, 18, 6, 0, 1, 0)
    unknown = bytes([77, 4, 0, 0])
    data = table(
        processor(3, 0), x2apic(4, 0), initiator(5, 0), gicc, unknown, memory(2, 0, GIB), memory(6, GIB, GIB)
    )
    assert nodes(data) == [(0, 2), (1, 6)]


def test_empty_memory_numbers_but_has_no_range() -> None:
    assert nodes(table(memory(4, 0, 0), memory(3, 0, GIB))) == [(1, 3)]
    assert nodes(table(memory(4, (1 << 64) - GIB, 2 * GIB), memory(3, 0, GIB))) == [(1, 3)]


def test_a_processors_domain_has_32_bits_from_revision_2_on() -> None:
    entries = processor(0x101), memory(0x101, 0, GIB), memory(1, GIB, GIB)
    assert nodes(table(*entries, revision=2)) == [(0, 0x101), (1, 1)]
    assert nodes(table(*entries, revision=1)) == [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    "entry",
    [
        memory(1024, 0, GIB),
        processor(1024),
        x2apic(0xFFFFFFFF),
        struct.pack("<BB10x", 0, 12),
        struct.pack("<BB10x", 2, 12),
        struct.pack("<BB30x", 1, 32),
    ],
)
def test_a_table_that_the_kernel_gives_up(entry: bytes) -> None:
    assert parse_srat(table(memory(0, 0, GIB), entry)) == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ACPI SRAT"),
        (b"SRAT", "not an ACPI SRAT"),
        (table(memory(0, 0, GIB), signature=b"SLIT"), "not an ACPI SRAT"),
        (table(memory(0, 0, GIB))[:-1], "states a length of 88 bytes; 87 are there"),
        (table(memory(0, 0, GIB)).replace(b"TESTS", b"TESTT"), "checksum"),
        (table(memory(0, 0, GIB), bytes([1, 1])), "entry at byte 88"),
        (table(memory(0, 0, GIB), bytes([1, 40])), "entry at byte 88"),
    ],
)
def test_damaged_tables(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_srat(data)
    assert caught.value.problems[0].path == "firmware.srat"


@given(st.binary(max_size=300), st.integers(0, 255))
def test_no_bytes_lead_to_anything_else(body: bytes, revision: int) -> None:
    try:
        found = parse_srat(table(body, revision=revision))
    except InvalidInput:
        return
    assert all(a.start < a.end <= 1 << 64 and 0 <= a.node < 1024 for a in found)


MAP = (MapEntry(0, 3 * GIB, 1), MapEntry(3 * GIB, 4 * GIB, 2), MapEntry(4 * GIB, 9 * GIB, 1))


@pytest.mark.parametrize(
    ("ranges", "kept"),
    [
        ([NodeRange(0, 0, 5 * GIB), NodeRange(1, 5 * GIB, 9 * GIB)], True),
        # what lies in a hole or past the end of RAM may be claimed twice: it is for hotplug
        ([NodeRange(0, 0, 9 * GIB), NodeRange(1, 9 * GIB, 20 * GIB), NodeRange(2, 9 * GIB, 20 * GIB)], True),
        ([NodeRange(0, 0, 9 * GIB), NodeRange(1, 3 * GIB, 4 * GIB)], True),
        ([NodeRange(0, 0, 5 * GIB), NodeRange(1, 5 * GIB - 1, 9 * GIB)], False),
        # the second range of node 0 hides the first from a look at neighbours only
        ([NodeRange(0, 0, 9 * GIB), NodeRange(0, GIB, 2 * GIB), NodeRange(1, 5 * GIB, 6 * GIB)], False),
        ([NodeRange(0, 0, 5 * GIB), NodeRange(1, 5 * GIB, 9 * GIB - (1 << 20))], False),
        ([NodeRange(0, 0, 5 * GIB), NodeRange(1, 5 * GIB, 9 * GIB - (1 << 20) + 1)], True),
        ([], False),
    ],
)
def test_what_the_kernel_makes_of_the_ranges(ranges: list[NodeRange], kept: bool) -> None:
    assert node_ranges(reversed(ranges), MAP) == (tuple(ranges) if kept else one_node(MAP))


def test_node_0_owns_everything_without_a_srat() -> None:
    assert one_node(MAP) == (NodeRange(0, 0, 9 * GIB),)
    assert one_node(()) == ()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(1, 12)), max_size=8))
def test_no_ram_ever_belongs_to_two_nodes(parts: list[tuple[int, int, int]]) -> None:
    found = node_ranges([NodeRange(n, a * GIB, (a + s) * GIB) for n, a, s in parts], MAP)
    for gib in (0, 1, 2, 4, 5, 6, 7, 8):
        owners = {r.node for r in found if r.start <= gib * GIB < r.end}
        assert len(owners) == 1
    assert are_disjoint(found, MAP)
