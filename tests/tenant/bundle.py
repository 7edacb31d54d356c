# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""This machine's QEMU as a handful of files that run on any host: nothing has to be installed there.

The program comes with its libraries and its own dynamic loader, so that the host's C library does not matter.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.carveout.memory.lab import tools

#: Where the files go on the host, and what starts QEMU there.
FOLDER = "/opt/carveout-tenant"
PROGRAM = f"{FOLDER}/qemu"

#: The firmware of a PC, and what loads kernels of Linux and of the Multiboot protocol.
_FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "multiboot_dma.bin")
#: Debian keeps the software emulation in a module of its own.
_MODULE = "accel-tcg-x86_64.so"
_MODULES = (Path("/usr/lib/x86_64-linux-gnu/qemu"), Path("/usr/lib64/qemu"), Path("/usr/lib/qemu"))
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)")


def bundle() -> dict[str, tuple[bytes, int]]:
    """Content and mode by path on the host; LabError where this machine's QEMU lacks a file."""
    program = Path(tools.find("qemu-system-x86_64")).resolve()
    modules = [folder / _MODULE for folder in _MODULES if (folder / _MODULE).exists()]
    files = {f"{FOLDER}/lib/{path.name}": path for path in _libraries([program, *modules])}
    loader = next(name for name in files if "/ld-linux" in name)
    files |= {f"{FOLDER}/modules/{path.name}": path for path in modules}
    files |= {f"{FOLDER}/firmware/{name}": _firmware(program, name) for name in _FIRMWARE}
    files[f"{FOLDER}/qemu-system-x86_64"] = program
    start = (
        f"#!/bin/sh\nQEMU_MODULE_DIR={FOLDER}/modules exec {loader} --library-path {FOLDER}/lib "
        f'{FOLDER}/qemu-system-x86_64 -L {FOLDER}/firmware "$@"\n'
    )
    return {PROGRAM: (start.encode(), 0o755)} | {
        name: (path.read_bytes(), 0o755) for name, path in files.items()
    }


def _libraries(programs: Iterable[Path]) -> set[Path]:
    said = [tools.run(["ldd", str(program)]) for program in programs]
    return {Path(name) for text in said for name in _LIBRARY.findall(text)}


def _firmware(program: Path, name: str) -> Path:
    said = subprocess.run([program, "-L", "help"], capture_output=True, text=True, check=True).stdout
    folders = [Path(line) for line in said.splitlines()]
    found = [folder / name for folder in folders if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"QEMU's firmware {name} is in none of {', '.join(map(str, folders))}")
    return found[0]
