#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks into a guest's memory from its host: into the very file that its QEMU has open. Run it there, as root.

    guest_memory.py PID PATH SIZE words SEED FIRST END STEP    each STEP holds its own offset, exclusive or SEED
    guest_memory.py PID PATH SIZE pages TEXT                   how many pages of 4 KiB begin with TEXT

PATH is a device's link, or the folder of a mount, in which QEMU's file has no name any more. Prints a line of JSON.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from pathlib import Path

PAGE = 4096
BLOCK = 1 << 20


def descriptor(pid: str, path: str) -> Path:
    """QEMU's descriptor of the file, or of a file without a name in the folder."""
    real = os.path.realpath(path)
    for link in sorted(Path(f"/proc/{pid}/fd").iterdir()):
        target = os.readlink(link)
        if target == real or (os.path.isdir(real) and target.startswith(f"{real}/")):
            return link
    sys.exit(f"process {pid} has no file at {path}")


def main() -> int:
    pid, path, size, what, *numbers = sys.argv[1:]
    with open(descriptor(pid, path), "r+b", buffering=0) as file:
        memory = mmap.mmap(file.fileno(), int(size), mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    if what == "words":
        seed, first, end, step = map(int, numbers)
        words = memoryview(memory).cast("I")[first // 4 : end // 4 : step // 4].tolist()
        wrong = sum(
            found != offset ^ seed for found, offset in zip(words, range(first, end, step), strict=True)
        )
        print(json.dumps({"compared": len(words), "wrong": wrong}))
    else:
        text = numbers[0].encode()
        blocks = (memory[start : start + BLOCK] for start in range(0, int(size), BLOCK))
        found = sum(block.startswith(text, at) for block in blocks for at in range(0, len(block), PAGE))
        print(json.dumps({"pages": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
