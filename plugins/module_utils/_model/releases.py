# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs between kernel releases: ONE table, each row with its source.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Difference(NamedTuple):
    """A behaviour that holds from release ``since`` on (``(major, minor)``).

    ``stable`` are branches older than that which got it too, each with the first patch level that
    has it.
    """

    since: tuple[int, int]
    meaning: str
    source: str
    stable: tuple[tuple[int, int, int], ...] = ()


DIFFERENCES: dict[str, Difference] = {
    "dmem-second-posting": Difference(
        (5, 10),
        "a kernel with dmemfs has room for 85 regions instead of 93, and a region may be larger than 128 GiB",
        "dmemfs patches, second posting (7 December 2020, on 5.10-rc3); OpenCloudOS 5.4 has the first form",
    ),
    "memmap-soft-reserved-dax": Difference(
        (5, 10),
        "every soft-reserved range becomes a DAX region that can be divided",
        "5ccac54f3e12 ACPI: HMAT: attach a device for each soft-reserved range",
    ),
    "dax-deduplicated": Difference(
        (5, 19),
        "device-DAX with 2 MiB or 1 GiB pages keeps two pages of struct pages per page",
        "4917f55b4ef9 mm/sparse-vmemmap: improve memory savings for compound devmaps",
    ),
    "dax-defaults-to-kmem": Difference(
        (6, 3),
        "soft-reserved memory goes back to the kernel unless dax_hmem.region_idle=1",
        "e9ee9fe3a9d4 dax: Assign RAM regions to memory-hotplug by default",
    ),
    "efi-stub-minds-memmap": Difference(
        (6, 10),
        "the EFI stub does not randomise the kernel's physical place where memmap= is on the command line",
        "15aa8fb852f9 x86/efistub: Omit physical KASLR when memory reservations exist; 6.1.93 by its change log",
        ((6, 1, 93),),
    ),
    "reserved-kern-is-no-ram": Difference(
        (7, 0),
        "memory of type 128 is no RAM, and what a boot loader hands over is no range of its own in /proc/iomem",
        "arch/x86/kernel/e820.c of 7.2: no E820_TYPE_RESERVED_KERN, no e820__reserve_setup_data",
    ),
    "numbers-saturate": Difference(
        (7, 0),
        "a number past 64 bits counts as the largest one instead of wrapping; a suffix without a number is "
        "not read",
        "lib/kstrtox.c and lib/cmdline.c of 7.2: _parse_integer_limit, memparse",
    ),
    "soft-reserved-not-in-iomem": Difference(
        (7, 0),
        "soft-reserved ranges are not in /proc/iomem before a device is bound",
        "bc62f5b308cb dax/hmem, e820, resource: Defer Soft Reserved insertion until hmem is ready",
    ),
}

_RELEASE = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")


def version(release: str) -> tuple[int, int] | None:
    """``(major, minor)`` of a release string, None where it has none."""
    match = _RELEASE.match(release)
    return (int(match.group(1)), int(match.group(2))) if match else None


def has(release: str, difference: str) -> bool:
    """Whether a release behaves as the row says; an unreadable release counts as the newest.

    Distributions whose releases do not tell the patch level (Debian's 6.1.0-50-amd64) count as the
    first of their branch: what only its later ones have is not relied on.
    """
    match = _RELEASE.match(release)
    if match is None:
        return True
    major, minor, patch = (int(part or 0) for part in match.groups())
    row = DIFFERENCES[difference]
    return (major, minor) >= row.since or any(
        branch[:2] == (major, minor) and patch >= branch[2] for branch in row.stable
    )
