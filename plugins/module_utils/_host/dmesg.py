# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host from the text of its kernel log: enough to plan for it offline.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .._errors import InvalidInput
from .e820 import MAX_ENTRIES, checked_map, log_type
from .model import Host, MapEntry, NodeRange
from .nodes import from_early_ranges, node_ranges
from .text import printable

#: The longest line that is looked at; printk() itself cuts messages at about 1000 characters.
_LINE = 8192

_COLOUR = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
#: What may stand before a message: <6>, "kern  :info  :" (dmesg -x), "... host kernel:" (journalctl, syslog),
#: then any number of [timestamps], [T0], [CPU0].
_PREFIX = re.compile(
    r"\s*(?:<\d{1,3}>|[a-z]+\s*:[a-z]+\s*:\s*|[^\[\"]{1,200}?\bkernel:\s*)?"
    r"(?:\[(?!mem |gap )[^\]\[]{1,60}\]:?\s*)*"
)
_HEX = r"0x([0-9a-fA-F]{1,16})"
_RANGE = rf"\[mem {_HEX}-{_HEX}\]"

_E820 = re.compile(rf"BIOS-e820: {_RANGE}\s*(.*)")
_E820_OTHER = re.compile(r"BIOS-e820: \[gap ")
_SRAT = re.compile(rf"(?:ACPI: )?SRAT: Node (\d{{1,4}}) PXM \d{{1,10}} {_RANGE}[ a-z-]*")
_EARLY = re.compile(rf"node\s+(\d{{1,4}}): {_RANGE}")
_VERSION = re.compile(r"Linux version ([A-Za-z0-9_.+~-]{1,128})(?: .*)?")
_COMMAND_LINE = re.compile(r"(Kernel command|Command) line: ?(.*)")
_EFI = re.compile(r"efi: EFI v\d")
_HMAT = re.compile(r"ACPI: HMAT 0x[0-9A-Fa-f]+ ")


@dataclass
class _Boot:
    """What one boot said."""

    version: str = ""
    lines: dict[str, str] = field(default_factory=dict)
    entries: list[MapEntry] = field(default_factory=list)
    srat: list[NodeRange] = field(default_factory=list)
    early: list[NodeRange] = field(default_factory=list)
    efi: bool = False
    hmat: bool = False


def host_from_dmesg(text: str) -> Host:
    """Read a kernel log (``dmesg``, ``journalctl -k``, a serial console), with prefixes or without.

    Of several boots in one text the last counts. The log tells neither the entry that boots next
    nor what runs now: ``boot_arguments`` is None, ``state`` empty. Raises :class:`InvalidInput` where
    there is no firmware map ("BIOS-e820:" lines, x86 only), or one that makes no sense.
    """
    boot = _Boot()
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COLOUR.sub("", raw[:_LINE])
        prefix = _PREFIX.match(line)
        message = line[prefix.end() if prefix else 0 :].rstrip()
        version = _VERSION.fullmatch(message)
        if version and (boot.version or boot.entries):
            boot = _Boot()
        if version:
            boot.version = version.group(1)
        else:
            _read_message(boot, message, f"line {number}")
    if not boot.entries:
        raise InvalidInput.of(
            "dmesg",
            "dmesg-no-map",
            'no firmware memory map: the log has no line "BIOS-e820: [mem 0x...-0x...] usable"; take it '
            "on an x86_64 host soon after boot (journalctl -k -b), before the kernel's buffer wraps",
        )
    firmware_map = checked_map(boot.entries, "dmesg")
    if boot.srat:
        nodes = node_ranges(boot.srat, firmware_map)
    else:
        nodes = from_early_ranges(boot.early, firmware_map)
    return Host(
        architecture="x86_64",
        firmware_map=firmware_map,
        node_ranges=nodes,
        hmat=boot.hmat,
        firmware_boot="efi" if boot.efi else "bios",
        kernel_running=boot.version,
        kernel_default="",
        kernel_config={},
        cmdline=boot.lines.get("Command", boot.lines.get("Kernel command", "")),
        boot_arguments=None,
        foreign=(),
        committed=None,
        layouts={},
        hmat_targets=tuple(boot.srat) if boot.hmat else (),
    )


def _read_message(boot: _Boot, message: str, where: str) -> None:
    match = _COMMAND_LINE.match(message)
    if match:
        boot.lines.setdefault(match.group(1), printable(match.group(2)))
    elif message.startswith("BIOS-e820: "):
        _read_entry(boot, message, where)
    elif "SRAT: Node" in message:
        match = _SRAT.fullmatch(message)
        if match:
            start, end = int(match.group(2), 16), int(match.group(3), 16) + 1
            _append(boot.srat, NodeRange(int(match.group(1)), start, end), where)
    elif message.startswith("node"):
        match = _EARLY.fullmatch(message)
        if match:
            start, end = int(match.group(2), 16), int(match.group(3), 16) + 1
            _append(boot.early, NodeRange(int(match.group(1)), start, end), where)
    elif _EFI.match(message):
        boot.efi = True
    elif _HMAT.match(message):
        boot.hmat = True


def _read_entry(boot: _Boot, message: str, where: str) -> None:
    if _E820_OTHER.match(message):
        return
    match = _E820.fullmatch(message)
    kind = log_type(match.group(3)) if match else None
    if match is None or kind is None:
        raise InvalidInput.of(
            "dmesg",
            "dmesg-line",
            f"{where}: {printable(message[:120])!r} is not a firmware map entry that we know",
        )
    if len(boot.entries) >= 2 * MAX_ENTRIES:
        raise InvalidInput.of(
            "dmesg", "map-too-long", f"{where}: more firmware map entries than a kernel takes"
        )
    boot.entries.append(MapEntry(int(match.group(1), 16), int(match.group(2), 16) + 1, kind))


def _append(ranges: list[NodeRange], found: NodeRange, where: str) -> None:
    # NR_NODE_MEMBLKS is 2 * 1024 (include/linux/numa_memblks.h)
    if len(ranges) >= 4096 or found.start >= found.end:
        raise InvalidInput.of("dmesg", "dmesg-line", f"{where}: too many node ranges, or one without a size")
    ranges.append(found)
