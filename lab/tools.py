# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs of the operator's machine: find them, run them, and say which package has a missing one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError

# the Debian package of every program that the lab calls
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mkfs.ext4": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sudo": "sudo",
}
# where an ordinary user's PATH does not look
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def find(program: str) -> str:
    """The absolute path of ``program``; LabError names its package when it is missing."""
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":" + _SBIN)
    if path is None:
        package = PACKAGES[program]
        raise LabError(
            f"the program {program} is missing: install the package {package} (apt-get install {package})"
        )
    return path


def require(programs: Sequence[str]) -> None:
    """Find all programs, and sudo for who is not root, before anything is begun; LabError names all that is missing."""
    missing = set()
    for program in programs if os.geteuid() == 0 else [*programs, "sudo"]:
        try:
            find(program)
        except LabError:
            missing.add(PACKAGES[program])
    if missing:
        names = " ".join(sorted(missing))
        raise LabError(f"missing packages: {names} (apt-get install {names})")


def as_root(argv: Sequence[str]) -> list[str]:
    """``argv`` as root: as it is for root, through sudo for everybody else."""
    return list(argv) if os.geteuid() == 0 else [find("sudo"), *argv]


def run(
    argv: Sequence[str], *, stdin: str | None = None, timeout: float | None = None, cwd: Path | None = None
) -> str:
    """Run a program to its end and return its standard output; LabError carries its last words."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} did not end within {timeout:.0f} s") from error
    except OSError as error:
        raise LabError(f"{argv[0]} could not be run: {error.strerror}") from error
    if done.returncode != 0:
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = words[-1] if words else "it said nothing"
        raise LabError(f"{os.path.basename(argv[0])} failed with status {done.returncode}: {last}")
    return done.stdout
