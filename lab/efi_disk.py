# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that UEFI firmware boots, in one file, without loop devices and without mounts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import tools
from .disk import DISK_SIZE, SECTOR, mkfs_arguments

_MIB = 2**20
EFI_START = _MIB
#: Room for kernels and their initramfs: systemd-boot reads them from here.
EFI_SIZE = 384 * _MIB
ROOT_START = EFI_START + EFI_SIZE
#: The second copy of the partition table lies at the end of the disk.
_ROOT_END = DISK_SIZE - _MIB
#: Partition types (UEFI specification; systemd's Discoverable Partitions Specification).
_EFI_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_ROOT_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
#: Where the EFI partition is mounted.
_EFI_FOLDER = "boot/efi"


def sfdisk_script() -> str:
    """The input of sfdisk: a table with the EFI partition and the one for Linux."""
    parts = [(EFI_START, EFI_SIZE, _EFI_TYPE), (ROOT_START, _ROOT_END - ROOT_START, _ROOT_TYPE)]
    lines = [f"start={start // SECTOR}, size={size // SECTOR}, type={kind}\n" for start, size, kind in parts]
    return "label: gpt\nunit: sectors\n\n" + "".join(lines)


def serial(uuid: str) -> str:
    """The EFI file system's serial number: fstab on the root file system with that UUID names it."""
    return uuid[:8].upper()


def make(image: Path, tree: Path, uuid: str) -> None:
    """Make the disk ``image`` (it must not exist) out of the root file system ``tree``, as root where needed.

    What lies in /boot/efi goes to the EFI partition.
    """
    with open(image, "xb") as file:
        os.truncate(file.fileno(), DISK_SIZE)
    table = [tools.find("sfdisk"), "--quiet", "--no-reread", "--no-tell-kernel", str(image)]
    tools.run(table, stdin=sfdisk_script())
    efi = image.with_name("efi.img")
    _efi_partition(efi, tree / _EFI_FOLDER, serial(uuid))
    with open(image, "r+b") as target, open(efi, "rb") as source:
        target.seek(EFI_START)
        shutil.copyfileobj(source, target, 4 * _MIB)
    efi.unlink()
    arguments = mkfs_arguments(image, tree, uuid)
    arguments[arguments.index("-E") + 1] = f"offset={ROOT_START},lazy_itable_init=0,lazy_journal_init=0"
    arguments[-1] = f"{(_ROOT_END - ROOT_START) // 1024}k"
    tools.run(tools.as_root([tools.find("mkfs.ext4"), *arguments]))


def _efi_partition(efi: Path, folder: Path, number: str) -> None:
    """A FAT file system with what is in ``folder``, which is empty afterwards."""
    with open(efi, "xb") as file:
        os.truncate(file.fileno(), EFI_SIZE)
    tools.run([tools.find("mformat"), "-i", str(efi), "-F", "-N", number, "-v", "EFI", "::"])
    names = sorted(os.listdir(folder))
    paths = [str(folder / name) for name in names]
    tools.run(tools.as_root([tools.find("mcopy"), "-i", str(efi), "-s", "-Q", *paths, "::"]))
    tools.run(tools.as_root(["rm", "-rf", "--one-file-system", *paths]))
