# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dmemfs: ``dmem=`` takes memory from the kernel before it has struct pages, a file system hands it out.

Facts (mm/dmem_reserve.c, mm/dmem.c and fs/dmemfs/inode.c of the OpenCloudOS 5.4 kernels): one request
only, whatever the number of pools; whole sections of 128 MiB; one pool and one page size for all mounts.
The memory is taken from memblock, so the map and /proc/iomem still call it System RAM. No kernel of a
stock distribution has it.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._errors import Problem
from .._host.model import RAM, Host, MapEntry
from .._layout import Device, Reservation
from .._model.releases import has
from .._model.struct_pages import dmemfs_cost
from .._ranges import RangeSet
from .._units import PAGE, SECTION

NAME = "dmemfs"
MIN_ALIGN = SECTION
#: What the range is in the kernel's map afterwards: the map does not show it.
TYPE = RAM

ARGUMENT = "dmem"
#: Takes transparent huge pages from the whole host.
HUGE_PAGES_OFF = "transparent_hugepage=never"
#: What may not stand on the line beside ours: one request is all the kernel has room for, and these take
#: memory before it.
CONFLICTING = ("dmem", "cma", "hugetlb_cma")

#: Options of the kernel, each with the values that do.
NEEDED_CONFIG = (("CONFIG_DMEM", ("y",)), ("CONFIG_DMEM_FS", ("y", "m")))


def problems(host: Host, before: Sequence[MapEntry], path: str, idle_foreign: bool) -> list[Problem]:
    """What the kernel that boots next lacks; empty where it has dmemfs, or nothing is known of it."""
    missing = missing_config(host.kernel_config) if host.kernel_config else []
    if not missing:
        return []
    text = f"the kernel that boots next, {host.kernel}, is built without {' and '.join(missing)}"
    return [Problem(path, "kernel-config", text)]


def missing_config(config: Mapping[str, str]) -> list[str]:
    """What of dmemfs a kernel is built without."""
    return [option for option, good in NEEDED_CONFIG if config.get(option) not in good]


def arguments(reservations: Sequence[Reservation]) -> list[str]:
    """None by reservation: the one argument is of all together, and the planner finds it."""
    return []


def host_arguments() -> list[str]:
    return []


def device_pages(
    reservations: Sequence[Reservation], device: Device, boot: RangeSet, release: str, block: int
) -> int:
    """Its files are no devices."""
    return 0


def pages_in_use(
    reservations: Sequence[Reservation], devices: Sequence[Device], boot: RangeSet, release: str
) -> int:
    """Bitmaps in their stead."""
    return sum(
        dmemfs_cost([r.range for r in reservations if r.align == size], size, release).bitmaps
        for size in sorted({r.align for r in reservations})
    )


def huge_pages_in_the_way(host: Host, page_size: int) -> bool:
    """Whether the first touch of a mapped file would end in SIGBUS under the host's huge page setting.

    As run on 5.4.119: with "always" every page size fails, with "madvise" all but 4 KiB, with "never" none
    (its dmemfs_huge_fault refuses what the kernel tries first). The second posting handles these faults.
    """
    if has(host.kernel, "dmem-second-posting"):
        return False
    setting = huge_pages_argument(host)
    if not setting:
        config = host.kernel_config
        by_config = (("ALWAYS", "always"), ("MADVISE", "madvise"))
        found = [word for key, word in by_config if config.get(f"CONFIG_TRANSPARENT_HUGEPAGE_{key}") == "y"]
        setting = found[0] if found else "always"
    return setting != "never" and not (setting == "madvise" and page_size == PAGE)


def huge_pages_argument(host: Host) -> str:
    """What others say with ``transparent_hugepage=`` on the command line; the last one counts."""
    prefix = "transparent_hugepage="
    given = [token[len(prefix) :] for token in host.foreign_tokens if token.startswith(prefix)]
    return given[-1] if given else ""
