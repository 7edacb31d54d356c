# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a boot showed, read out of the console's text: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ansible_collections.carveout.memory.plugins.module_utils._host.acpi import parse_srat
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry, NodeRange

from .initrd import MARK
from .machine import Machine

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|c)")
_STAMP = re.compile(r"\[ *\d+\.\d+\] ?")
_E820 = re.compile(r"(BIOS-e820|user): \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\] +(.*)")
_RESOURCE = re.compile(r"( *)([0-9a-f]+)-([0-9a-f]+) : (.*)")
_ZONE = re.compile(r"Node (\d+), zone +(\w+)")


class Resource(NamedTuple):
    """A line of /proc/iomem: bytes ``[start, end)``, its name, and how deep it stands (0: top level)."""

    start: int
    end: int
    name: str
    depth: int


class DaxRegion(NamedTuple):
    """A DAX region as its directory below /sys/devices/platform shows it; ``available`` -1: it is not shown."""

    path: str
    size: int
    available: int


class DaxDevice(NamedTuple):
    """/sys/bus/dax/devices/NAME: bytes ``[start, end)`` (start is 0 for an empty device), node, bound driver or ""."""

    name: str
    start: int
    end: int
    node: int
    align: int
    driver: str


@dataclass(frozen=True)
class Observation:
    """One boot.

    ``booted``: the report came through to its end. Otherwise ``reason`` says how it ended, and ``console`` holds
    what the kernel said until then. ``sections`` are the report's parts by name (dmesg, iomem, iomem-after, files,
    drivers, modules, commands), ``files`` texts by path, ``tables`` ACPI tables as bytes.
    """

    release: str
    machine: Machine
    cmdline: str
    booted: bool
    reason: str
    seconds: float
    console: str
    sections: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    tables: dict[str, bytes] = field(default_factory=dict)

    @property
    def tail(self) -> str:
        """The last lines of the console."""
        return "\n".join(self.console.splitlines()[-25:])

    @cached_property
    def dmesg(self) -> list[str]:
        """The kernel's messages without their time stamps."""
        return [_STAMP.sub("", line, count=1) for line in self.sections.get("dmesg", "").splitlines()]

    @cached_property
    def firmware_map(self) -> tuple[MapEntry, ...]:
        """The "BIOS-e820:" lines."""
        return tuple(_map(self.dmesg, "BIOS-e820"))

    @cached_property
    def kernel_map(self) -> tuple[MapEntry, ...]:
        """The "user:" lines, or the firmware's map where the kernel printed none: nothing was changed then."""
        return tuple(_map(self.dmesg, "user")) or self.firmware_map

    @property
    def iomem(self) -> list[Resource]:
        """/proc/iomem before any module was loaded."""
        return parse_iomem(self.sections.get("iomem", ""))

    @property
    def iomem_after(self) -> list[Resource]:
        """/proc/iomem with the modules loaded."""
        return parse_iomem(self.sections.get("iomem-after", ""))

    @property
    def node_ranges(self) -> list[NodeRange]:
        """The SRAT's memory, as the project's own reader gives it; empty without a SRAT."""
        srat = self.tables.get("SRAT")
        return [NodeRange(a.node, a.start, a.end) for a in parse_srat(srat)] if srat else []

    @cached_property
    def present(self) -> dict[int, int]:
        """Bytes of pages present on each node (/proc/zoneinfo), nodes without any left out."""
        return _zone_sums(self.files.get("/proc/zoneinfo", ""), "present")

    @cached_property
    def managed(self) -> dict[int, int]:
        """Bytes of pages that the page allocator has on each node."""
        return _zone_sums(self.files.get("/proc/zoneinfo", ""), "managed")

    @property
    def hugepages(self) -> dict[int, dict[int, int]]:
        """Node to page size in bytes to number of pages; sizes without pages left out."""
        found: dict[int, dict[int, int]] = {}
        pattern = re.compile(r"/sys/devices/system/node/node(\d+)/hugepages/hugepages-(\d+)kB/nr_hugepages")
        for path, text in self.files.items():
            match = pattern.fullmatch(path)
            if match and int(text):
                found.setdefault(int(match[1]), {})[int(match[2]) << 10] = int(text)
        return found

    @property
    def dax_regions(self) -> list[DaxRegion]:
        """The regions that have a driver (dax_hmem)."""
        folders = {p.removesuffix("/size") for p in self.files if p.endswith("/dax_region/size")}
        return [
            DaxRegion(
                folder.removesuffix("/dax_region"),
                int(self.files[f"{folder}/size"]),
                int(self.files.get(f"{folder}/available_size", "-1")),
            )
            for folder in sorted(folders)
        ]

    @property
    def dax_devices(self) -> list[DaxDevice]:
        """The devices on the DAX bus, in order of addresses."""
        drivers = dict(
            line.split() for line in self.sections.get("drivers", "").splitlines() if len(line.split()) == 2
        )
        found = []
        for path in self.files:
            match = re.fullmatch(r"/sys/bus/dax/devices/([^/]+)/size", path)
            if match:
                folder = path.removesuffix("/size")
                start = int(self.files.get(f"{folder}/resource", "0"), 0)
                size = int(self.files[path])
                node, align = (
                    int(self.files.get(f"{folder}/{name}", "-1")) for name in ("target_node", "align")
                )
                driver = drivers.get(match[1], "").rpartition("/")[2]
                found.append(
                    DaxDevice(
                        match[1], start if size else 0, start + size if size else 0, node, align, driver
                    )
                )
        return sorted(found, key=lambda device: device[1:3])


def _map(messages: Iterable[str], who: str) -> Iterator[MapEntry]:
    for message in messages:
        match = _E820.fullmatch(message.rstrip())
        if match and match[1] == who:
            kind = log_type(match[4])
            if kind is None:
                raise ValueError(f"an e820 type that is not known: {message}")
            yield MapEntry(int(match[2], 16), int(match[3], 16) + 1, kind)


def parse_iomem(text: str) -> list[Resource]:
    """The lines of /proc/iomem."""
    found = []
    for line in text.splitlines():
        match = _RESOURCE.fullmatch(line)
        if match:
            found.append(Resource(int(match[2], 16), int(match[3], 16) + 1, match[4], len(match[1]) // 2))
    return found


def _zone_sums(zoneinfo: str, word: str) -> dict[int, int]:
    sums: dict[int, int] = {}
    node = -1
    for line in zoneinfo.splitlines():
        match = _ZONE.match(line)
        if match:
            node = int(match[1])
        words = line.split()
        if len(words) == 2 and words[0] == word and int(words[1]):
            sums[node] = sums.get(node, 0) + int(words[1]) * 4096
    return sums


def read_report(console: str) -> tuple[dict[str, str], dict[str, str], dict[str, bytes]]:
    """(sections, files, tables) out of the console's text."""
    sections: dict[str, str] = {}
    tables: dict[str, bytes] = {}
    for part in _ANSI.sub("", console).replace("\r", "").split(f"\n{MARK} ")[1:]:
        head, _, body = part.partition("\n")
        kind, _, name = head.partition(" ")
        if kind == "section":
            sections[name] = body.removesuffix("\n")
        elif kind == "table":
            tables[name] = bytes.fromhex("".join(body.split()))
    files: dict[str, list[str]] = {}
    for line in sections.pop("files", "").splitlines():
        path, colon, text = line.partition(":")
        if colon:
            files.setdefault(path, []).append(text)
    return sections, {path: "\n".join(lines) for path, lines in files.items()}, tables
