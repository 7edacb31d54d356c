# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan says of pools of huge pages, beside their nodes.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._mounts import path_problem
from .._units import GIB, MIB, align_down, align_up, format_size
from .reading import REST, Amount, Reader

HUGETLB = "hugetlb"
#: Sizes of huge pages on x86_64.
PAGE_SIZES = (2 * MIB, GIB)
#: Keys of a pool that only some mechanisms have, and these.
_KEYS = {
    "page_size": (HUGETLB, "dmemfs"),
    "mounts": (HUGETLB,),
    "optimize_vmemmap": (HUGETLB,),
    "mount": ("dmemfs",),
    "kernel": ("dmemfs",),
}
#: Keys that pools with a page size do without.
_NOT_PAGED = ("align", "devices", "use", "online", "existing")


@dataclass(frozen=True)
class MountPlan:
    """``size`` is None for all that the pool has."""

    path: str
    place: str
    size: int | None
    owner: str
    group: str
    mode: str


@dataclass(frozen=True)
class HugetlbOptions:
    page_size: int
    mounts: tuple[MountPlan, ...]
    optimize_vmemmap: bool


def check_keys(reader: Reader, pool: Mapping[str, Any], path: str) -> None:
    """Keys that mean nothing to the pool's mechanism are refused, not ignored."""
    mechanism = pool["mechanism"]
    paged = mechanism in _KEYS["page_size"]
    foreign = [key for key, mechanisms in _KEYS.items() if mechanism not in mechanisms]
    for key in (*foreign, *(_NOT_PAGED if paged else ())):
        if key in pool:
            instead = "; the size of its pages is page_size" if key == "align" else ""
            reader.fail(f"{path}.{key}", "key-of-others", f"a {mechanism!r} pool has no {key}{instead}")


def hugetlb_options(
    reader: Reader, pool: Mapping[str, Any], nodes: Mapping[int, Amount], path: str
) -> HugetlbOptions:
    """Read ``page_size``, ``mounts`` and ``optimize_vmemmap``, and hold the sizes to whole pages."""
    page_size = PAGE_SIZES[0]
    if "page_size" in pool:
        page_size = reader.size(pool["page_size"], f"{path}.page_size")
        if page_size not in PAGE_SIZES:
            text = f"{pool['page_size']!r} is not a size of huge pages; use 2MiB or 1GiB"
            reader.fail(f"{path}.page_size", "align-invalid", text)
            page_size = PAGE_SIZES[0]
    for node, amount in nodes.items():
        if amount == REST:
            text = "the kernel makes huge pages out of its own memory, so there is no 'rest'; give a size"
            reader.fail(f"{path}.nodes.{node}", "size-invalid", text)
        elif isinstance(amount, int):
            _whole_pages(reader, amount, page_size, f"{path}.nodes.{node}")
    mounts = tuple(
        _mount(reader, mount, page_size, f"{path}.mounts[{index}]")
        for index, mount in enumerate(pool.get("mounts", []))
    )
    return HugetlbOptions(page_size, mounts, bool(pool.get("optimize_vmemmap", False)))


def _mount(reader: Reader, mount: Mapping[str, Any], page_size: int, path: str) -> MountPlan:
    problem = path_problem(mount["path"])
    if problem:
        reader.fail(f"{path}.path", "mount-path", problem)
    size = None
    if "size" in mount:
        size = reader.size(mount["size"], f"{path}.size")
        _whole_pages(reader, size, page_size, f"{path}.size")
    return MountPlan(path, mount["path"], size, *reader.access(mount, path, "0755"))


def _whole_pages(reader: Reader, size: int, page_size: int, path: str) -> None:
    if size == 0:
        reader.fail(path, "size-invalid", "the size must be more than 0")
    elif size % page_size:
        near = [s for s in (align_down(size, page_size), align_up(size, page_size)) if s]
        reader.fail(
            path,
            "misaligned",
            f"{format_size(size)} is not a multiple of the page size, {format_size(page_size)}; nearest "
            f"{'are' if len(near) > 1 else 'is'} {' or '.join(map(format_size, near))}",
        )


def check_places(reader: Reader, mounts: list[MountPlan]) -> None:
    """No two mounts in one place or one inside the other."""
    for index, mount in enumerate(mounts):
        for other in mounts[:index]:
            if f"{mount.place}/".startswith(f"{other.place}/") or f"{other.place}/".startswith(
                f"{mount.place}/"
            ):
                reader.fail(f"{mount.path}.path", "mount-path", f"{other.path} is mounted at {other.place}")
