# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan says of a dmemfs pool, beside its nodes.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._layout import RELEASE
from .._model.releases import version
from .._mounts import path_problem
from .._units import GIB, KIB, MIB, SECTION, align_down, align_up, format_size
from .hugetlb_plan import MountPlan
from .reading import Amount, Reader

DMEMFS = "dmemfs"
#: PAGE_SIZE, PMD_SIZE and PUD_SIZE are what dmemfs takes (fs/dmemfs/inode.c, check_dpage_size).
PAGE_SIZES = (4 * KIB, 2 * MIB, GIB)
_DEFAULT_PAGE = 2 * MIB
#: Nothing that a package manager could take for an option.
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~:=-]{0,199}")
_URL = re.compile(r"(?:https?://|file:///)[A-Za-z0-9._~:/@%+-]{1,400}")


@dataclass(frozen=True)
class KernelSource:
    """A kernel and what brings it: a ``package`` of the host's repositories, or of the one at ``url``, whose
    packages ``key`` signs; or a package ``file`` on the controller. Neither: it is there already.
    """

    release: str
    package: str = ""
    file: str = ""
    url: str = ""
    key: str = ""


@dataclass(frozen=True)
class DmemfsOptions:
    page_size: int
    mounts: tuple[MountPlan, ...]
    kernel: KernelSource | None


def unit_of(page_size: int) -> int:
    """What amounts are multiples of: whole pages in whole sections."""
    return max(SECTION, page_size)


def dmemfs_options(
    reader: Reader, pool: Mapping[str, Any], nodes: Mapping[int, Amount], path: str
) -> DmemfsOptions:
    """Read ``page_size``, ``mount`` and ``kernel``, and hold the sizes to whole sections."""
    page_size = _DEFAULT_PAGE
    if "page_size" in pool:
        page_size = reader.size(pool["page_size"], f"{path}.page_size")
        if page_size not in PAGE_SIZES:
            text = f"{pool['page_size']!r} is not a page size of dmemfs; use 4KiB, 2MiB or 1GiB"
            reader.fail(f"{path}.page_size", "align-invalid", text)
            page_size = _DEFAULT_PAGE
    unit = unit_of(page_size)
    for node, amount in nodes.items():
        if isinstance(amount, int):
            _whole(reader, amount, unit, f"{path}.nodes.{node}")
    kernel = _kernel(reader, pool["kernel"], f"{path}.kernel") if "kernel" in pool else None
    return DmemfsOptions(page_size, _mounts(reader, pool, f"{path}.mount"), kernel)


def _whole(reader: Reader, size: int, unit: int, path: str) -> None:
    if size == 0:
        reader.fail(path, "size-invalid", "the size must be more than 0")
    elif size % unit:
        near = [s for s in (align_down(size, unit), align_up(size, unit)) if s]
        what = (
            "the page size"
            if unit > SECTION
            else "the kernel's memory sections, of which dmem= takes whole ones"
        )
        text = (
            f"{format_size(size)} is not a multiple of {format_size(unit)}, {what}; nearest "
            f"{'are' if len(near) > 1 else 'is'} {' or '.join(map(format_size, near))}"
        )
        reader.fail(path, "misaligned", text)


def _mounts(reader: Reader, pool: Mapping[str, Any], path: str) -> tuple[MountPlan, ...]:
    """The mount, written as its path alone or with owner, group and mode."""
    given = pool.get("mount")
    if given is None:
        return ()
    mount = given if isinstance(given, Mapping) else {"path": given}
    problem = path_problem(mount["path"])
    if problem:
        reader.fail(f"{path}.path" if mount is given else path, "mount-path", problem)
    return (MountPlan(path, mount["path"], None, *reader.access(mount, path, "0755")),)


def _kernel(reader: Reader, kernel: Mapping[str, Any], path: str) -> KernelSource:
    release = str(kernel["release"])
    if not RELEASE.fullmatch(release) or version(release) is None:
        text = f"{release!r} is not a kernel's release, as 'uname -r' prints it"
        reader.fail(f"{path}.release", "kernel-invalid", text)
    package, file = kernel.get("package", ""), kernel.get("file", "")
    if package and not _PACKAGE.fullmatch(package):
        text = f"{package!r} is not a package's name: letters, digits and +-._~:= are expected"
        reader.fail(f"{path}.package", "name-invalid", text)
    if file and not re.fullmatch(r"(?!-)[^\x00-\x1f]+\.(?:rpm|deb)", file):
        reader.fail(
            f"{path}.file", "name-invalid", f"{file!r} is not the path of a package file: .rpm or .deb"
        )
    repository = kernel.get("repository", {})
    for name in ("url", "key"):
        if repository and not _URL.fullmatch(repository[name]):
            text = f"{repository[name]!r} is not an address that a package manager can be told: https:// or file:///"
            reader.fail(f"{path}.repository.{name}", "name-invalid", text)
    if package and file:
        reader.fail(
            f"{path}.file", "key-of-others", "the package brings the kernel already; leave one of them out"
        )
    if repository and not package:
        reader.fail(
            f"{path}.repository", "key-of-others", "name the package of it that brings the kernel: package"
        )
    return KernelSource(release, package, file, repository.get("url", ""), repository.get("key", ""))


def check_single(reader: Reader, pools: Sequence[tuple[str, str]]) -> None:
    """``pools``: path and mechanism of each. The kernel has one pool, from which every mount takes."""
    paths = [path for path, mechanism in pools if mechanism == DMEMFS]
    for extra in paths[1:]:
        text = (
            f"{paths[0]} is the host's dmemfs pool already: the kernel has room for one dmem= and one pool; "
            "put both into one, whose files tenants share by their sizes"
        )
        reader.fail(f"{extra}.mechanism", "dmemfs-twice", text)
