# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mechanisms side by side: how each spells a pool, what it lacks, and what a host costs once tenants have all.

``auto`` and the comparison go by this one list; a mechanism joins both by standing in it.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._host.model import Host, MapEntry
from .._layout import Layout
from .._mechanisms import MECHANISMS, dax, dmemfs, hugetlb, pmem, reserved
from .._model.sections import boot_struct_pages, ram_of, sections_with_pages

#: Keys under which mechanisms know the page size that tenants map with.
_PAGE_KEYS = ("align", "page_size")
#: Keys under which they know the file systems over a pool: any number, or one.
_MOUNTS, _MOUNT = "mounts", "mount"
#: Keys that permit something to one mechanism and ask nothing of the others.
_PERMITS = ("optimize_vmemmap",)


@dataclass(frozen=True)
class Way:
    """A mechanism, or one with an option that changes what it saves.

    ``page_key`` is its word for the page size, ``by_node`` whether that may differ by node. ``rest``: whether a
    pool can take all that is left. ``door`` is the plan's key for how tenants get at the memory, ``blocks``:
    whether the kernel can have it back while it runs, ``whole``: whether a pool is nothing without devices that
    take all of it. ``lost`` is what a pool does without or pays beside
    memory, ``never`` why ``auto`` leaves it to the operator (empty: it does not).
    """

    label: str
    mechanism: str
    page_key: str = "align"
    by_node: bool = True
    rest: bool = True
    door: str = ""
    blocks: bool = False
    whole: bool = False
    permits: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    never: str = ""


_HUGETLB_LOST = (
    "stays memory of the kernel, in its direct map: root can give the pages back, and boot may make fewer",
    "no 'rest', no pages of 4KiB, one page size for all nodes",
)
_PMEM_LOST = (
    "each device is a reservation of its own, less its info block; no extents; no swap, no migration",
    "namespaces are made anew after power was off",
)
#: In the order in which ``auto`` prefers them where they save the same.
WAYS = (
    Way(
        "dax",
        dax.NAME,
        door="devices",
        blocks=True,
        lost=("in steps of 2MiB at least; no swap and no migration",),
    ),
    Way(
        "pmem",
        pmem.NAME,
        door="devices",
        whole=True,
        lost=_PMEM_LOST,
    ),
    Way(
        "pmem map: dev",
        pmem.NAME,
        door="devices",
        whole=True,
        options={"map": "dev"},
        lost=(*_PMEM_LOST, "tenants' own memory pays for the struct pages"),
        never="it is pmem where the plan says so",
    ),
    Way(
        "dmemfs",
        dmemfs.NAME,
        page_key="page_size",
        by_node=False,
        door=_MOUNT,
        lost=(
            "no stock kernel has it; one pool a host, whole sections of 128MiB, the same of every node or one range",
            "no swap, no migration; how much is free is not seen by df, and who takes too much gets SIGBUS",
        ),
    ),
    Way(
        "hugetlb",
        hugetlb.NAME,
        page_key="page_size",
        by_node=False,
        rest=False,
        door=_MOUNTS,
        permits=_PERMITS,
        lost=_HUGETLB_LOST,
    ),
    Way(
        "hugetlb optimised",
        hugetlb.NAME,
        page_key="page_size",
        by_node=False,
        rest=False,
        door=_MOUNTS,
        options={"optimize_vmemmap": True},
        lost=(*_HUGETLB_LOST, "optimize_vmemmap: true holds for every huge page of the host"),
        never="it is hugetlb where the plan says optimize_vmemmap: true",
    ),
    Way(
        "reserved",
        reserved.NAME,
        lost=("no devices and no files: only a driver of one's own, or /dev/mem, gets at it",),
        never="nothing that a tenant could map comes of it",
    ),
)  # fmt: skip
#: Those that ``auto`` chooses from.
CHOICES = tuple(way for way in WAYS if not way.never)
#: What takes the same memory as any other and always can: stands for pools that are not settled yet.
STAND_IN = next(way for way in WAYS if way.mechanism == reserved.NAME)


def spelled(pool: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """A plan's pool in the way's words. What the way does not know stays, so that its reader says so."""
    apart = (*_PAGE_KEYS, *_PERMITS, _MOUNTS, _MOUNT)
    result = {key: value for key, value in pool.items() if key not in apart}
    result["mechanism"] = way.mechanism
    pages = pool.get("align", pool.get("page_size"))
    if isinstance(pages, Mapping) and not way.by_node:
        same = [size for size in pages.values() if size == next(iter(pages.values()))]
        alike = len(same) == len(pages) == len(pool["nodes"])
        result.update({way.page_key: same[0]} if alike else {"align": pages})
    elif pages is not None:
        result[way.page_key] = pages
    result.update({key: pool[key] for key in way.permits if key in pool})
    return {**result, **_files(pool, way), **way.options}


def _files(pool: Mapping[str, Any], way: Way) -> dict[str, Any]:
    """The pool's file systems as the way has them."""
    mounts = list(pool.get(_MOUNTS, []))
    if _MOUNT in pool:
        given = pool[_MOUNT]
        mounts.append(given if isinstance(given, Mapping) else {"path": given})
    if way.door == _MOUNT and len(mounts) == 1 and "size" not in mounts[0]:
        return {_MOUNT: mounts[0]}
    return {_MOUNTS: mounts} if mounts else {}


def way_of(mechanism: str, pool: Mapping[str, Any]) -> Way | None:
    """The way that a pool of this mechanism goes; None for a mechanism that is none."""
    ways = [
        way
        for way in WAYS
        if way.mechanism == mechanism and all(pool.get(k) == v for k, v in way.options.items())
    ]
    return max(ways, key=lambda way: len(way.options), default=None)


def struct_pages_in_use(host: Host, layout: Layout, without: str = "") -> int:
    """Bytes of struct pages, and what dmemfs has instead, on the whole host once tenants have all that is theirs.

    ``without`` is a pool whose memory is taken to be the kernel's, for anything.
    """
    reservations = [r for r in layout.reservations if r.pool != without]
    ram = ram_of(MapEntry(*entry) for entry in layout.predicted_map)
    ram = ram.union(r.range for r in layout.reservations if r.pool == without)
    # the map does not show what dmem= takes
    ram = ram.subtract(r.range for r in reservations)
    boot = sections_with_pages(ram)
    total = boot_struct_pages(ram)
    for mechanism in sorted({r.mechanism for r in reservations}):
        mine = [r for r in reservations if r.mechanism == mechanism]
        total += MECHANISMS[mechanism].pages_in_use(mine, layout.devices, boot, host.kernel)
    if hugetlb.OPTIMISE in layout.arguments:
        pages = (each for each in layout.hugepages if each.pool != without)
        total += hugetlb.optimised_pages(pages, host.kernel)
    return total
