# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.loaders``: what Carveout writes for a host, booted by the real loader.

A tree of files is changed as a host would be, put on a disk with the loader, and booted; /proc/cmdline has to be what
was predicted, and a choice for one boot has to be taken back. ``booted.json`` keeps what was on the disk and what
arrived, for the unit tests.

``grub`` and ``grub-bls`` need grub-mkimage, sfdisk and mtools, and GRUB's folder i386-pc or x86_64-efi (Debian's
grub-pc-bin and grub-efi-amd64-bin, unpacked by ``dpkg -x``; blscfg is in 2.14 or later); ``systemd-boot`` needs
systemd-bootx64.efi (package systemd-boot-efi). What boots by UEFI needs OVMF.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._boot.grubenv import variables_of
from tests.kernel import packages
from tests.kernel.initrd import Entry, newc

from . import disk
from .kinds import KINDS, PARTS, on_disk, prepare

RECORD = Path(__file__).with_name("booted.json")
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo @@@
/bin/busybox cat /proc/cmdline
/bin/busybox echo @@@
/bin/busybox reboot -f
"""


def main() -> int:
    """0 where everything arrived as predicted."""
    parser = argparse.ArgumentParser(prog="python -m tests.loaders", description=__doc__)
    parser.add_argument("loader", choices=[*KINDS])
    parser.add_argument("--files", type=Path, required=True, help="GRUB's folder, or systemd-bootx64.efi")
    parser.add_argument("--firmware", type=Path, default=Path("/usr/share/ovmf/OVMF.fd"), help="for UEFI")
    parser.add_argument("--kernel", default="6.12", help="a series of tests/kernel/kernels.json")
    options = parser.parse_args()
    kernel = packages.kernel(options.kernel).image
    initrd = newc(
        [
            *(Entry(name, None, 0o755) for name in ("bin", "dev", "proc")),
            Entry("bin/busybox", packages.busybox(), 0o755),
            Entry("init", _INIT.encode(), 0o755),
        ]
    )
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    failed = 0
    for kind in KINDS[options.loader]:
        for part in range(PARTS):
            with tempfile.TemporaryDirectory() as folder:
                prepared = prepare(Path(folder) / "host", kind, part)
                tree = Path(folder) / "disk"
                _put(tree, on_disk(prepared.files), kernel.read_bytes(), initrd)
                got, problem = _boot_from(options, tree, kind)
            # the loader's own argument in front is not what is tested
            if split(got)[1:] != prepared.arguments:
                problem = f"expected {prepared.arguments}"
            failed += bool(problem)
            name = f"{kind} {part}" if options.loader != "grub" else f"{kind} {_firmware(options)} {part}"
            print(f"{options.loader}: {name}: {problem or 'as predicted'}\n  {got}", flush=True)
            record[name] = {"files": prepared.files, "cmdline": got}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _firmware(options: argparse.Namespace) -> str:
    return "bios" if options.files.name == "i386-pc" else "uefi"


def _boot_from(options: argparse.Namespace, tree: Path, kind: str) -> tuple[str, str]:
    """/proc/cmdline of a boot from a disk with these files, and what is wrong with the disk afterwards."""
    if options.loader == "systemd-boot":
        (tree / "EFI/BOOT").mkdir(parents=True)
        shutil.copy(options.files, tree / "EFI/BOOT/BOOTX64.EFI")
        return _boot(["-bios", str(options.firmware), "-drive", f"file=fat:rw:{tree},format=raw"]), ""
    image = tree.with_name("disk.raw")
    disk.make(image, tree, options.files, ("blsuki",) if options.loader == "grub-bls" else ())
    firmware = ["-bios", str(options.firmware)] if _firmware(options) == "uefi" else []
    got = _boot([*firmware, "-drive", f"file={image},format=raw"])
    left = variables_of(disk.read(image, "/boot/grub/grubenv")).get("next_entry", "")
    return got, f"it would boot {left} again" if left and kind.endswith("-trial") else ""


def _put(tree: Path, files: Mapping[str, str], kernel: bytes, initrd: bytes) -> None:
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
    (tree / "boot").mkdir(exist_ok=True)
    (tree / "boot/initrd").write_bytes(initrd)
    for release in ("6.12.0", "6.99.0"):
        (tree / f"boot/vmlinuz-{release}").write_bytes(kernel)


def _boot(arguments: Sequence[str]) -> str:
    """/proc/cmdline of a machine's boot."""
    done = subprocess.run(
        ["timeout", "300", "qemu-system-x86_64", "-nodefaults", "-display", "none", "-m", "1024", "-no-reboot",
         "-serial", "stdio", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    parts = done.stdout.decode("utf-8", "replace").replace("\r", "").split("@@@\n")
    if len(parts) < 3:
        sys.exit("the machine did not tell its command line; the end of its console:\n" + parts[-1][-2000:])
    return parts[1].rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
