# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Namespaces of libnvdimm from RAM that is declared persistent: ``memmap=SIZE!START``.

Facts: each such item is a region with one namespace over all of it, also where two touch (entries of type 12 are
never merged, arch/x86/kernel/e820.c; seen on 5.10 to 7.2). The namespace keeps an info block in its first 8 KiB, after
which data begins at the next multiple of the align, and its struct pages too where ``map`` says so
(drivers/nvdimm/pfn_devs.c, nd_pfn_init). KASLR keeps out of the first four such items.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import Problem
from .._host.model import PRAM, Host, MapEntry
from .._layout import DEVDAX, Device, Reservation
from .._model.releases import has
from .._model.sections import dax_struct_pages
from .._ranges import RangeSet
from .._units import MIB, PAGE, kernel_size

NAME = "pmem"
#: memremap_compat_align(): nd_pfn_init refuses a namespace that starts elsewhere.
MIN_ALIGN = 2 * MIB
#: What the range is in the kernel's map afterwards.
TYPE = PRAM

#: Ways a namespace is used: a character device that is mapped, or a block device for a file system with DAX.
FSDAX = "fsdax"
MODES = (DEVDAX, FSDAX)
#: Where the struct pages are: in the kernel's memory or on the device.
MAPS = ("mem", "dev")

_NEEDED_CONFIG = ("CONFIG_X86_PMEM_LEGACY", "CONFIG_BLK_DEV_PMEM", "CONFIG_NVDIMM_PFN")


def problems(host: Host, before: Sequence[MapEntry], path: str, idle_foreign: bool) -> list[Problem]:
    """Why this host cannot do it; empty where it can. A snapshot that does not tell an option counts as having it."""
    return [
        Problem(
            path,
            "kernel-config",
            f"the kernel {host.kernel} is built without {option}; boot one that has it",
        )
        for option in _NEEDED_CONFIG
        if host.kernel_config.get(option, "m") not in ("y", "m")
    ]


def arguments(reservations: Sequence[Reservation]) -> list[str]:
    """One argument per reservation: in a list, one item too many would let KASLR forget them all."""
    return [f"memmap={kernel_size(r.range.size)}!{kernel_size(r.start)}" for r in reservations]


def host_arguments() -> list[str]:
    return []


def is_plain(mode: str, place: str) -> bool:
    """Whether it is what the kernel makes of a range without an info block: a block device over all of it.

    ndctl makes no other of such a namespace (do_setup_pfn of ndctl/namespace.c; seen with 81).
    """
    return mode == FSDAX and place == "mem"


def home_of(reservations: Sequence[Reservation], device: Device) -> Reservation:
    """The reservation that a namespace takes."""
    return next(r for r in reservations if r.pool == device.pool and r.range.contains(device.extents[0]))


def device_pages(
    reservations: Sequence[Reservation], device: Device, boot: RangeSet, release: str, block: int
) -> int:
    """A namespace's info block is mapped too, and a block device is mapped page by page (drivers/nvdimm/pmem.c,
    pmem_attach_disk). On the device they cost the kernel nothing.
    """
    if device.map != "mem":
        return 0
    whole = home_of(reservations, device).range
    align = device.align if device.namespace == DEVDAX else PAGE
    return dax_struct_pages((whole,), align, boot, has(release, "dax-deduplicated"))


def pages_in_use(
    reservations: Sequence[Reservation], devices: Sequence[Device], boot: RangeSet, release: str
) -> int:
    """Those of the namespaces that are there: a reservation is one namespace."""
    pools = {r.pool for r in reservations}
    mine = (device for device in devices if device.pool in pools)
    return sum(device_pages(reservations, device, boot, release, 0) for device in mine)
