# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stock kernel of Debian as a package that the lab's host takes, and one that claims to have dmemfs."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.kernel import packages

#: What the lab's host has of what kernels of other suites want in newer versions.
_DEPENDS = "Depends: kmod, linux-base, initramfs-tools"
#: What a kernel with dmemfs has in its configuration (plugins/module_utils/_mechanisms/dmemfs.py).
DMEMFS = ("CONFIG_DMEM=y", "CONFIG_DMEM_FS=m")


class KernelPackage(NamedTuple):
    """A package file, and what ``uname -r`` says of its kernel."""

    release: str
    file: Path


def kernel_package(series: str, claims: Iterable[str] = ()) -> KernelPackage:
    """The kernel of a series of tests/kernel/kernels.json that is one package.

    ``claims`` are lines for its configuration in /boot. It is made once and kept beside the kernels' packages.
    """
    release = packages.kernel(series).release
    source = next(packages.cache().glob(f"linux-image-{release}_*.deb"))
    lines = [*claims]
    digest = hashlib.sha256("\n".join([_DEPENDS, *lines, source.name]).encode()).hexdigest()[:12]
    target = packages.cache() / f"carveout-test-{digest}.deb"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="carveout-package-", dir=packages.cache()) as folder:
            _repack(source, Path(folder, "tree"), target, f"boot/config-{release}", lines)
    return KernelPackage(release, target)


def _repack(source: Path, tree: Path, target: Path, config: str, lines: list[str]) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", str(source), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Depends:.*$", _DEPENDS, control.read_text("utf-8")), "utf-8")
    with (tree / config).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    sums = tree / "DEBIAN" / "md5sums"
    digest = hashlib.md5((tree / config).read_bytes(), usedforsecurity=False).hexdigest()
    sums.write_text(
        re.sub(rf"(?m)^[0-9a-f]{{32}}(  {re.escape(config)})$", rf"{digest}\1", sums.read_text("utf-8")),
        "utf-8",
    )
    new = target.with_name(f"{target.name}.{os.getpid()}.part")
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--build", str(tree), str(new)], check=True)
    new.replace(target)
