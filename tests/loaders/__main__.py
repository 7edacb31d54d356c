# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.loaders``: what Carveout writes for a host of entry files, booted by the real loader.

A tree of files is changed as a host would be, put on a disk with the loader, and booted; /proc/cmdline has to be what
was predicted. ``booted.json`` keeps what was on the disk and what arrived, for the unit tests.

``grub-bls`` needs grub-mkrescue, xorriso and mtools, and the folder i386-pc of a GRUB that has blscfg (Debian's
grub-pc-bin 2.14 or later, unpacked by ``dpkg -x``); ``systemd-boot`` needs OVMF and systemd-bootx64.efi (package
systemd-boot-efi).
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

from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import apply, plan, read_loader
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem
from tests.kernel import packages
from tests.kernel.initrd import Entry, newc

from .hosts import NASTY, PLAIN_LOADER, VARIABLE, on_disk, tree

RECORD = Path(__file__).with_name("booted.json")
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo @@@
/bin/busybox cat /proc/cmdline
/bin/busybox echo @@@
/bin/busybox reboot -f
"""
#: The kernel takes 32 arguments that it does not know for init (init/main.c, MAX_INIT_ARGS).
_PARTS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.loaders", description=__doc__)
    parser.add_argument("loader", choices=["grub-bls", "systemd-boot"])
    parser.add_argument("--files", type=Path, required=True, help="i386-pc of GRUB, or systemd-bootx64.efi")
    parser.add_argument("--firmware", type=Path, default=Path("/usr/share/ovmf/OVMF.fd"))
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
    boot = _boot_grub if options.loader == "grub-bls" else _boot_systemd
    kinds = {"grub-bls": ("literal", "variable"), "systemd-boot": ("systemd",)}[options.loader]
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    failed = 0
    for kind in kinds:
        for part in range(_PARTS):
            with tempfile.TemporaryDirectory() as folder:
                files, expected = _changed(Path(folder) / "host", kind, part)
                got = boot(options, Path(folder), files, kernel.read_bytes(), initrd)
            # the loader's own argument in front is not what is tested
            right = got.split(" ")[1:] == expected.split(" ")[1:]
            failed += not right
            print(
                f"{options.loader} {kind} {part}: {'as predicted' if right else 'NOT AS PREDICTED'}",
                flush=True,
            )
            if not right:
                print(f"  expected {expected}\n  got      {got}")
            record[f"{kind} {part}"] = {"files": files, "cmdline": got}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _changed(root: Path, kind: str, part: int) -> tuple[dict[str, str], str]:
    """The files of a host after Carveout's change, and the command line it predicts."""
    for path, text in tree(kind).items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("utf-8", "surrogateescape"))
    system = RealSystem(str(root))
    extra = {"systemd": PLAIN_LOADER, "variable": VARIABLE}.get(kind, ())
    wanted = ["carveout.layout=0123456789abcdef", *[*NASTY, *extra][part::_PARTS]]
    change = plan(system, None, read_loader(system, None), wanted)
    state = apply(system, None, change)
    return {path: system.read(path) or "" for path in tree(kind)}, state.command_line


def _boot_grub(
    options: argparse.Namespace, folder: Path, files: Mapping[str, str], kernel: bytes, initrd: bytes
) -> str:
    disk, image = folder / "disk", folder / "boot.iso"
    _put(disk, on_disk(files), kernel, initrd)
    subprocess.run(
        ["grub-mkrescue", "-d", str(options.files), "-o", str(image), str(disk)],
        check=True,
        capture_output=True,
    )
    return _boot(["-boot", "d", "-cdrom", str(image)])


def _boot_systemd(
    options: argparse.Namespace, folder: Path, files: Mapping[str, str], kernel: bytes, initrd: bytes
) -> str:
    disk = folder / "disk"
    _put(disk, on_disk(files), kernel, initrd)
    (disk / "EFI/BOOT").mkdir(parents=True)
    shutil.copy(options.files, disk / "EFI/BOOT/BOOTX64.EFI")
    return _boot(["-bios", str(options.firmware), "-drive", f"file=fat:rw:{disk},format=raw"])


def _put(disk: Path, files: Mapping[str, str], kernel: bytes, initrd: bytes) -> None:
    for path, text in files.items():
        (disk / path).parent.mkdir(parents=True, exist_ok=True)
        (disk / path).write_text(text, encoding="utf-8")
    (disk / "boot").mkdir(exist_ok=True)
    (disk / "boot/initrd").write_bytes(initrd)
    for release in ("6.12.0", "6.99.0"):
        (disk / f"boot/vmlinuz-{release}").write_bytes(kernel)


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
