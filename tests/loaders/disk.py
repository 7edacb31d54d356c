# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that a real GRUB boots from, and writes its environment to: one FAT partition, for BIOS or for UEFI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.carveout.memory.lab.disk import PARTITION_START, SECTOR, boot_sectors

_SIZE = 128 * 2**20
_TABLE = f"label: dos\nunit: sectors\n\nstart={PARTITION_START // SECTOR}, type=c, bootable\n"
#: What the menus of the tests run; the core has it all, so no modules lie on the disk.
_MODULES = (
    "part_msdos",
    "fat",
    "normal",
    "linux",
    "serial",
    "terminal",
    "loadenv",
    "test",
    "echo",
    "configfile",
)


def make(image: Path, tree: Path, modules: Path, more: tuple[str, ...] = ()) -> None:
    """Make the disk ``image`` with the files of ``tree``; ``modules`` is GRUB's folder i386-pc or x86_64-efi.

    ``more`` are modules beside the usual ones.
    """
    with open(image, "xb") as file:
        os.truncate(file.fileno(), _SIZE)
    _run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(image)], stdin=_TABLE)
    core = image.with_suffix(".core")
    bios = modules.name == "i386-pc"
    target, prefix = ("i386-pc", "(hd0,msdos1)/boot/grub") if bios else ("x86_64-efi", "/boot/grub")
    names = [*_MODULES, *(["biosdisk"] if bios else []), *more]
    _run(["grub-mkimage", "-d", str(modules), "-O", target, "-p", prefix, "-o", str(core), *names])
    if bios:
        with open(image, "r+b") as file:
            table = file.read(SECTOR)
            file.seek(0)
            file.write(boot_sectors((modules / "boot.img").read_bytes(), core.read_bytes(), table))
    else:
        (tree / "EFI/BOOT").mkdir(parents=True)
        (tree / "EFI/BOOT/BOOTX64.EFI").write_bytes(core.read_bytes())
    at = f"{image}@@{PARTITION_START}"
    sectors = (_SIZE - PARTITION_START) // SECTOR
    _run(
        [
            "mformat",
            "-i",
            at,
            "-F",
            "-T",
            str(sectors),
            "-h",
            "16",
            "-s",
            "63",
            "-H",
            str(PARTITION_START // SECTOR),
            "::",
        ]
    )
    _run(["mcopy", "-i", at, "-s", "-Q", *map(str, sorted(tree.iterdir())), "::"])


def read(image: Path, path: str) -> str:
    """A file on the disk."""
    done = subprocess.run(
        ["mtype", "-i", f"{image}@@{PARTITION_START}", f"::{path}"], check=True, capture_output=True
    )
    return done.stdout.decode()


def _run(argv: list[str], stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True)
