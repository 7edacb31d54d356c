# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Firmware memory maps: what the kernel calls the e820 types, and a map checked for sense.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._errors import InvalidInput
from .._units import U64
from .model import ACPI, NVS, PMEM, PRAM, RAM, RESERVED, SOFT_RESERVED, UNUSABLE, MapEntry

#: E820_MAX_ENTRIES of a kernel with NODES_SHIFT=10: 128 + 3 * 1024 (arch/x86/include/asm/e820/types.h).
MAX_ENTRIES = 3200

#: Where only "unknown" is said, this number stands: of the types without a name it is the one that
#: firmware (through GRUB: EFI runtime services) really reports.
UNKNOWN = 20

#: e820_print_type() of arch/x86/kernel/e820.c: "BIOS-e820:" lines of the kernel's log, up to 6.x and from
#: 7.0 on. "ACPI" alone is "ACPI data" or "ACPI NVS" with the second word lost: neither is RAM.
_LOG_WORDS = {
    "usable": RAM,
    "System RAM": RAM,
    "reserved": RESERVED,
    "device reserved": RESERVED,
    "ACPI data": ACPI,
    "ACPI": ACPI,
    "ACPI NVS": NVS,
    "unusable": UNUSABLE,
    "soft reserved": SOFT_RESERVED,
}
_LOG_NUMBER = re.compile(r"(?:type (\d{1,10})|persistent(?: RAM)? \(type (\d{1,10})\))")

#: e820_type_to_string() of the same file: /sys/firmware/memmap/*/type, the same words from 5.x to 7.x.
_SYSFS_WORDS = {
    "System RAM": RAM,
    "Reserved": RESERVED,
    "ACPI Tables": ACPI,
    "ACPI Non-volatile Storage": NVS,
    "Unusable memory": UNUSABLE,
    "Persistent Memory": PMEM,
    "Persistent Memory (legacy)": PRAM,
    "Soft Reserved": SOFT_RESERVED,
    "Unknown E820 type": UNKNOWN,
}


def log_type(words: str) -> int | None:
    """The e820 number of a type as the kernel's log words it; None where the wording is not known."""
    words = words.strip()
    found = _LOG_WORDS.get(words)
    if found is None:
        match = _LOG_NUMBER.fullmatch(words)
        if match is None:
            return None
        found = int(match.group(1) or match.group(2))
    return found if 0 < found < 1 << 32 else None


def sysfs_type(words: str) -> int:
    """The e820 number of a type as /sys/firmware/memmap words it.

    A wording that is not known gives :data:`UNKNOWN`: never RAM, so nothing is placed there.
    """
    return _SYSFS_WORDS.get(words.strip(), UNKNOWN)


def checked_map(entries: Iterable[MapEntry], path: str = "firmware.map") -> tuple[MapEntry, ...]:
    """The map in order of addresses, each entry once.

    A kernel never shows entries that overlap: it resolves what the firmware says before it prints
    or publishes the table (e820__update_table). Raises :class:`InvalidInput` where one is empty, out of
    64 bits, or overlaps another, and where there are too many.
    """
    ordered = sorted(set(entries))
    if len(ordered) > MAX_ENTRIES:
        raise InvalidInput.of(path, "map-too-long", f"{len(ordered)} entries; a kernel takes {MAX_ENTRIES}")
    previous = 0
    for entry in ordered:
        start, end, kind = entry
        if not 0 <= start < end <= U64 or not 0 < kind < 1 << 32:
            raise InvalidInput.of(
                path, "map-invalid", f"[{start:#x}, {end:#x}) of type {kind} is not a range"
            )
        if start < previous:
            raise InvalidInput.of(
                path, "map-overlap", f"[{start:#x}, {end:#x}) of type {kind} overlaps the entry before it"
            )
        previous = end
    return tuple(ordered)
