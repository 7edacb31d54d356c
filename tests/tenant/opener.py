#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tenant that tries every door: opens and maps each device below /dev/carveout, touches it, and tells what it got.

Run it in a service; the argument is what it calls itself. Prints one line of JSON: the devices that it mapped, and
for the others the kernel's answer. A device cgroup answers "Operation not permitted", a node's mode "Permission
denied". What it touches stays as it was. Exit status 0, whatever it was refused. Needs Python's standard library only.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from pathlib import Path

LINKS = Path("/dev/carveout")
BUS = Path("/sys/bus/dax/devices")


def attempt(path: Path) -> None:
    """Open, map and touch one page of the device's align; OSError where the kernel refuses."""
    align = int((BUS / path.resolve().name / "align").read_text())
    handle = os.open(path, os.O_RDWR)
    try:
        with mmap.mmap(handle, align, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
            memory[0] = memory[0]
    finally:
        os.close(handle)


def main() -> int:
    mapped: list[str] = []
    refused: dict[str, str] = {}
    for path in sorted(LINKS.iterdir()):
        try:
            attempt(path)
        except OSError as error:
            refused[path.name] = os.strerror(error.errno) if error.errno else str(error)
        else:
            mapped.append(path.name)
    print(json.dumps({"tenant": sys.argv[1], "mapped": mapped, "refused": refused}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
