#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leaves a mark at both ends of every device below /dev/carveout, or reads the marks. Run it on the host, as root.

    marks.py write TEXT
    marks.py read

Prints the marks as JSON: by name the texts at the device's start and at the start of its last page, up to a NUL.
"""

from __future__ import annotations

import json
import mmap
import sys
from pathlib import Path

PAGE = 4096
LINKS = Path("/dev/carveout")
BUS = Path("/sys/bus/dax/devices")


def marks(link: Path, text: str) -> list[str]:
    """The marks of one device; with a ``text`` they are written first, each with the device's name and its place."""
    size = int((BUS / link.resolve().name / "size").read_text())
    found = []
    with (
        open(link, "r+b", buffering=0) as file,
        mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory,
    ):
        for place in (0, size - PAGE):
            if text:
                mark = f"{text} {link.name} {place}".encode() + b"\0"
                memory[place : place + len(mark)] = mark
            found.append(memory[place : place + PAGE].split(b"\0", 1)[0].decode(errors="replace"))
    return found


def main() -> int:
    text = sys.argv[2] if sys.argv[1] == "write" else ""
    print(json.dumps({link.name: marks(link, text) for link in sorted(LINKS.iterdir())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
