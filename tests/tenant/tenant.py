#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tenant: fills every device with a pattern that says whose each byte is and where it belongs, and reads it back.

Run it as root on a carved host, without arguments for all of /dev/carveout. Every device is mapped MAP_SHARED in
whole, as a virtual machine monitor would map it. All devices are written before the first is read, so memory that
two devices share shows; reading goes through a second mapping of a node opened anew. Each page of 4 KiB is filled
with the device's tag of 64 bytes again and again, the first with the page's offset in it.

Prints a summary as JSON. Exit status: 0 where every byte is right, 1 where one is not, 2 where a device cannot be
used. Needs Python's standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

LINKS = Path("/dev/carveout")
BUS = Path("/sys/bus/dax/devices")
PAGE = 4096
# What is built and compared at a time: the size of every device is a multiple of it
BLOCK = 2 << 20
OFFSET_WORD = 4  # where the offset stands in a page, in words of 8 bytes


class Unusable(Exception):
    """A device that cannot be opened or mapped, and why."""


class Device:
    """A device as a tenant sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.node = path.resolve()
        try:
            self.size = int((BUS / self.node.name / "size").read_text())
            self.align = int((BUS / self.node.name / "align").read_text())
        except (OSError, ValueError) as error:
            raise Unusable(f"{path} is not a DAX device: {error}") from None
        if self.size == 0 or self.size % BLOCK or self.size % self.align:
            raise Unusable(f"{path}: {self.size} bytes are not a multiple of the align {self.align}")

    def map(self) -> mmap.mmap:
        """All of the device. The kernel places the mapping at a multiple of the align, or refuses."""
        try:
            handle = os.open(self.node, os.O_RDWR)
        except OSError as error:
            raise Unusable(f"{self.path}: {error.strerror}") from None
        try:
            return mmap.mmap(handle, self.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except (OSError, ValueError) as error:
            raise Unusable(f"{self.path} cannot be mapped: {error}") from None
        finally:
            os.close(handle)

    def blocks(self) -> Iterator[tuple[int, bytearray]]:
        """Offset and right content of each block; the same buffer is handed out each time."""
        tag = hashlib.sha512(str(self.path).encode()).digest()
        block = bytearray(tag * (BLOCK // len(tag)))
        words = memoryview(block).cast("Q")
        for offset in range(0, self.size, BLOCK):
            words[OFFSET_WORD :: PAGE // words.itemsize] = array("Q", range(offset, offset + BLOCK, PAGE))
            yield offset, block

    def write(self) -> None:
        with self.map() as memory:
            for offset, block in self.blocks():
                memory[offset : offset + BLOCK] = block

    def first_wrong_byte(self) -> int | None:
        """Offset of the first byte that is not what was written there, None where all are."""
        with self.map() as memory, memoryview(memory) as view:
            for offset, block in self.blocks():
                # a bytearray compares with the mapping itself, without a copy
                if block != view[offset : offset + BLOCK]:
                    return offset + next(i for i in range(BLOCK) if view[offset + i] != block[i])
        return None


def check(devices: list[Device]) -> list[dict[str, object]]:
    """Write all, then read all; one result for each device."""
    for device in devices:
        device.write()
    results: list[dict[str, object]] = []
    for device in devices:
        wrong = device.first_wrong_byte()
        results.append(
            {
                "path": str(device.path),
                "node": str(device.node),
                "size": device.size,
                "align": device.align,
                "ok": wrong is None,
                "first_wrong_byte": wrong,
            }
        )
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description="Fill DAX devices with a pattern and read it back.")
    parser.add_argument(
        "device", nargs="*", type=Path, help=f"a device node or link (default: all of {LINKS})"
    )
    options = parser.parse_args()
    started = time.monotonic()
    try:
        paths = options.device or sorted(LINKS.iterdir() if LINKS.is_dir() else [])
        if not paths:
            raise Unusable(f"there is no device below {LINKS}")
        results = check([Device(path) for path in paths])
    except Unusable as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        return 2
    seconds = time.monotonic() - started
    total = sum(int(str(result["size"])) for result in results)
    summary = {
        "ok": all(result["ok"] for result in results),
        "devices": results,
        "bytes": total,
        "seconds": round(seconds, 1),
        "mib_per_second": round(2 * total / seconds / (1 << 20), 1),  # written once and read once
    }
    print(json.dumps(summary, indent=1))
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
