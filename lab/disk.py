# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bootable disk in one file, without loop devices and without mounts: partition table, file system, GRUB."""

from __future__ import annotations

import os
from pathlib import Path

from . import tools
from .errors import LabError

SECTOR = 512
DISK_SIZE = 6 * 2**30
PARTITION_START = 2**20
# boot code before the disk signature and the partition table of an MBR
_BOOT_CODE = 440
# inodes: ext4's default for this size would be three times as many, each zeroed while the image is made
_INODES = 131072
# bookworm's and trixie's mke2fs differ in what they switch on; GRUB must be able to read it in both
_FEATURES = "^orphan_file,^metadata_csum_seed"


def sfdisk_script(disk_id: int) -> str:
    """The input of sfdisk: one bootable Linux partition from 1 MiB to the end."""
    start = PARTITION_START // SECTOR
    return f"label: dos\nlabel-id: {disk_id:#010x}\nunit: sectors\n\nstart={start}, type=83, bootable\n"


def mkfs_arguments(image: Path, tree: Path, uuid: str) -> list[str]:
    """The arguments of mkfs.ext4 that fill the partition with the content of ``tree``."""
    return [
        "-q", "-F", "-L", "root", "-U", uuid, "-d", str(tree), "-N", str(_INODES), "-m", "0", "-O", _FEATURES,
        # nothing is left to be done by the kernel in the background of the first boot
        "-E", f"offset={PARTITION_START},lazy_itable_init=0,lazy_journal_init=0",
        str(image), f"{(DISK_SIZE - PARTITION_START) // 1024}k",
    ]  # fmt: skip


def boot_sectors(boot: bytes, core: bytes, table: bytes) -> bytes:
    """The first sectors of the disk: GRUB's boot.img with this disk's partition table, then GRUB's core image.

    boot.img loads sector 1 (its ``kernel_sector`` as shipped) and diskboot.img, the first sector of core.img, goes on
    from sector 2 (its block list as grub-mkimage writes it), so nothing has to be patched.
    Raises LabError when the core does not fit below the partition.
    """
    if len(boot) != SECTOR or len(table) != SECTOR:
        raise LabError(
            f"GRUB's boot.img has {len(boot)} bytes and the disk's first sector {len(table)}, not {SECTOR}"
        )
    room = PARTITION_START - SECTOR
    if len(core) > room:
        raise LabError(f"GRUB's core image has {len(core)} bytes: only {room} lie below the first partition")
    return boot[:_BOOT_CODE] + table[_BOOT_CODE:] + core


def make(image: Path, tree: Path, uuid: str, disk_id: int) -> None:
    """Make the disk ``image`` (it must not exist) out of the root file system ``tree``, as root where needed."""
    with open(image, "xb") as file:
        os.truncate(file.fileno(), DISK_SIZE)
    tools.run(
        [tools.find("sfdisk"), "--quiet", "--no-reread", "--no-tell-kernel", str(image)],
        stdin=sfdisk_script(disk_id),
    )
    tools.run(tools.as_root([tools.find("mkfs.ext4"), *mkfs_arguments(image, tree, uuid)]))
    grub = tree / "boot/grub/i386-pc"
    with open(image, "r+b") as file:
        table = file.read(SECTOR)
        file.seek(0)
        file.write(boot_sectors((grub / "boot.img").read_bytes(), (grub / "core.img").read_bytes(), table))
