# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Device-DAX from soft-reserved ranges: ``memmap=SIZE%START-1+0xefffffff``.

Facts: the kernel makes one DAX region of each such range on one node (drivers/dax/hmem/device.c),
whose start and length must be multiples of 2 MiB. Since 6.3 the memory goes back to the kernel
unless ``dax_hmem.region_idle=1`` (drivers/dax/hmem/hmem.c), which is for the whole host. What an HMAT
makes of the regions is seen once the reservations are known (_model/dax_regions.py).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import Problem
from .._host.model import RAM, SOFT_RESERVED, Host, MapEntry
from .._layout import SYSTEM_RAM, Device, Reservation
from .._model.releases import DIFFERENCES, has
from .._model.sections import dax_struct_pages
from .._model.struct_pages import devices_cost
from .._ranges import RangeSet, whole_blocks
from .._units import MIB, PAGE, STRUCT_PAGE, kernel_size

NAME = "dax"
MIN_ALIGN = 2 * MIB
#: What the range is in the kernel's map afterwards.
TYPE = SOFT_RESERVED

#: Takes the HMAT, with all that it says about memory, out of the kernel's sight (numa_setup, arch/x86/mm/numa.c).
IGNORE_HMAT = "numa=nohmat"

_NEEDED_CONFIG = ("CONFIG_DEV_DAX", "CONFIG_DEV_DAX_HMEM")


def problems(host: Host, before: Sequence[MapEntry], path: str, idle_foreign: bool) -> list[Problem]:
    """Why this host cannot do it; empty where it can.

    ``before`` is the map without our arguments, ``path`` the pool's mechanism.
    """
    found = []
    if not has(host.kernel, "memmap-soft-reserved-dax"):
        major, minor = DIFFERENCES["memmap-soft-reserved-dax"].since
        found.append(
            Problem(
                path,
                "kernel-too-old",
                f"the kernel that boots next, {host.kernel}, makes no DAX device of soft-reserved memory; "
                f"{major}.{minor} or newer is needed",
            )
        )
    for option in _NEEDED_CONFIG:
        if host.kernel_config and host.kernel_config.get(option) not in ("y", "m"):
            found.append(
                Problem(
                    path,
                    "kernel-config",
                    f"the kernel {host.kernel} is built without {option}; boot one that has it",
                )
            )
    if not idle_foreign and any(entry.type == SOFT_RESERVED for entry in before):
        found.append(
            Problem(
                path,
                "foreign-dax-regions",
                "memory is soft-reserved already (by the firmware or other arguments), and "
                "dax_hmem.region_idle=1 would leave that idle "
                "too; if nothing uses it as RAM, say so with policy.idle_foreign_dax: true",
            )
        )
    return found


def arguments(reservations: Sequence[Reservation]) -> list[str]:
    """One item per reservation. The RAM type is the only one converted: holes stay holes."""
    return [
        f"memmap={kernel_size(r.range.size)}%{kernel_size(r.start)}-{RAM}+{SOFT_RESERVED:#x}"
        for r in reservations
    ]


def host_arguments() -> list[str]:
    """What the mechanism needs once on the line."""
    return ["dax_hmem.region_idle=1"]


def device_pages(
    reservations: Sequence[Reservation], device: Device, boot: RangeSet, release: str, block: int
) -> int:
    """What the kernel gets back has all its struct pages, in whole memory blocks (drivers/dax/kmem.c)."""
    if device.use == SYSTEM_RAM:
        return sum(part.size for part in whole_blocks(device.extents, block)) // PAGE * STRUCT_PAGE
    return dax_struct_pages(device.extents, device.align, boot, has(release, "dax-deduplicated"))


def pages_in_use(
    reservations: Sequence[Reservation], devices: Sequence[Device], boot: RangeSet, release: str
) -> int:
    """As if each reservation were one device: what of it has none yet gets one some day."""
    return devices_cost((((r.range,), r.align) for r in reservations), boot, release).struct_pages
