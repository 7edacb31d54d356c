# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Does KVM really run a guest here? The device alone proves nothing: try it, and remember the verdict."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from . import tools
from .errors import LabError
from .image import Image
from .machine import accel_arguments
from .progress import Progress

# printed by the kernel when all of its own start has worked and user space begins
_ALIVE = b"Run /init as init process"
_LIMIT = 20.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def choose(wanted: str, image: Image, cache: Path, progress: Progress) -> str:
    """``kvm`` or ``tcg``; ``wanted`` is one of them, or ``auto``: KVM where the image's kernel boots with it."""
    if wanted == "tcg":
        return "tcg"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        if wanted == "kvm":
            raise LabError("--accel kvm: /dev/kvm is missing, or not yours to open (group kvm)")
        return "tcg"
    if wanted == "kvm":
        return "kvm"
    verdict_file = cache / "accel.json"
    key = f"{_BOOT_ID.read_text(encoding='ascii').strip()} {image.digest}"
    works = _remembered(verdict_file, key)
    if works is None:
        progress.step(f"trying whether /dev/kvm runs a guest (at most {_LIMIT:.0f} s)")
        works = _boots(image)
        progress.step("KVM works" if works else "KVM does not run a guest here: software emulation it is")
        new = verdict_file.with_name(f".accel.{os.getpid()}")
        new.write_text(json.dumps({"key": key, "kvm": works}) + "\n", encoding="utf-8")
        new.replace(verdict_file)
    return "kvm" if works else "tcg"


def _remembered(path: Path, key: str) -> bool | None:
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))
        return bool(verdict["kvm"]) if verdict["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _boots(image: Image) -> bool:
    argv = [
        tools.find("qemu-system-x86_64"), *accel_arguments("kvm"), "-machine", "pc", "-m", "512M", "-smp", "2",
        "-nodefaults", "-vga", "none", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", "console=ttyS0 ignore_loglevel panic=-1 break=top",
    ]  # fmt: skip
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seen = b""
    deadline = time.monotonic() + _LIMIT
    try:
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            seen += process.stdout.read() or b""
            if _ALIVE in seen or ended:
                break
            time.sleep(0.1)
        return _ALIVE in seen
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
