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
    "hugetlb-vmemmap": Difference(
        (5, 14),
        "hugetlb_free_vmemmap=on gives back most struct pages of huge pages",
        "f41f2ed43ca5 mm: hugetlb: free the vmemmap pages associated with each HugeTLB page",
    ),
    "hugetlb-vmemmap-one-page": Difference(
        (5, 18),
        "an optimised huge page keeps one page of struct pages; from 5.14 until then two",
        "e7d324850bfc mm: hugetlb: free the 2nd vmemmap page associated with each HugeTLB page",
    ),
    "dax-deduplicated": Difference(
        (5, 19),
        "device-DAX with 2 MiB or 1 GiB pages keeps two pages of struct pages per page",
        "4917f55b4ef9 mm/sparse-vmemmap: improve memory savings for compound devmaps",
    ),
    "hmem-registered-once": Difference(
        (6, 1),
        "a range that is a DAX region already, by the HMAT, is not made one a second time",
        "drivers/dax/hmem/device.c of 6.1: hmem_active; 5.10 has two regions over the same memory then",
    ),
    "hmat-claims-unchecked": Difference(
        (6, 3),
        "with an HMAT every range of the SRAT is handed out first, whatever lies there; it becomes a DAX region "
        "where nothing but soft-reserved memory is in it, and its soft-reserved parts are none of their own",
        "drivers/dax/hmem/device.c and hmem.c of 6.12: hmem_register_resource, hmem_register_device; 6.1 looks first",
    ),
    "dax-defaults-to-kmem": Difference(
        (6, 3),
        "soft-reserved memory goes back to the kernel unless dax_hmem.region_idle=1",
        "e9ee9fe3a9d4 dax: Assign RAM regions to memory-hotplug by default",
    ),
    "orphans-over-one-mib": Difference(
        (6, 8),
        "a host becomes one node where more than 1 MiB of RAM is no node's; before, where it is 1 MiB or more",
        "arch/x86/mm/numa.c of 6.1: numa_meminfo_cover_memory; mm/memblock.c of 6.12: "
        "memblock_validate_numa_coverage",
    ),
    "efi-stub-minds-memmap": Difference(
        (6, 10),
        "the EFI stub does not randomise the kernel's physical place where memmap= is on the command line",
        "15aa8fb852f9 x86/efistub: Omit physical KASLR when memory reservations exist; 6.1.93 by its change log",
        ((6, 1, 93),),
    ),
    "hugepages-by-node": Difference(
        (5, 16),
        "hugepages= takes amounts by node (0:2,1:4), and so does hugetlb_cma=",
        "b5389086ad7b hugetlbfs: extend the definition of hugepages parameter to support node allocation",
    ),
    "hugetlb-vmemmap-switch": Difference(
        (5, 19),
        "hugetlb_free_vmemmap= takes every word for yes and no instead of on and off only",
        "mm/hugetlb_vmemmap.c of 6.1: core_param of type bool; 47010c040dec renamed the option in 5.19",
    ),
    "efi-stub-decompresses": Difference(
        (6, 6),
        "the EFI stub unpacks the kernel and chooses its place itself instead of leaving it to the decompressor",
        "a1b87d54f4e4 x86/efistub: Avoid legacy decompressor when doing EFI boot; 6.1.81 by its change log",
        ((6, 1, 81),),
    ),
    "crashkernel-rounds-ram": Difference(
        (6, 1),
        "ranges of crashkernel= are compared with all RAM rounded up to 128 MiB",
        "kernel/crash_core.c of 6.1 (parse_crashkernel_mem); 5.10 takes it as it is",
    ),
    "crashkernel-generic": Difference(
        (6, 7),
        "crashkernel= is reserved by code common to all machines: ,high is looked for only without a plain form, "
        "an offset must be a multiple of 16 MiB, a size of all RAM is refused",
        "kernel/crash_core.c and crash_reserve.c: reserve_crashkernel_generic; x86 uses it since 9c08a2a139fe",
    ),
    "hugepages-parallel": Difference(
        (6, 9),
        "2 MiB pages without a node are divided among threads, each of which begins at the first node",
        "c6c21c31dfdf hugetlb: parallelize 2M hugetlb allocation and initialization",
    ),
    "hugepages-early": Difference(
        (6, 15),
        "hugepagesz= and hugepages= are collected (at most five) and read together; 1 GiB pages of a node come "
        "from that node only; the number of threads follows the number of processors",
        "mm/hugetlb.c of 7.2: hugetlb_add_param, hugetlb_bootmem_alloc, hugepage_allocation_threads",
    ),
    "crashkernel-cma": Difference(
        (6, 17),
        "crashkernel=SIZE,cma adds memory that the running kernel uses until a crash",
        "kernel/crash_reserve.c of 7.2: SUFFIX_CMA",
    ),
    "hugetlb-cma-whole-pages": Difference(
        (7, 0),
        "hugetlb_cma= is refused where it is no multiple of 1 GiB; hugetlb_cma_only= is there",
        "mm/hugetlb_cma.c of 7.2: hugetlb_cma_reserve; 6.12 rounds up",
    ),
    "reserved-kern-is-no-ram": Difference(
        (6, 15),
        "memory of type 128 is no RAM, and what a boot loader hands over is no range of its own in /proc/iomem",
        "arch/x86/kernel/e820.c: E820_TYPE_RESERVED_KERN and e820__reserve_setup_data are in 6.12 and not in 7.2; "
        "boots: 6.16 and 6.18 are like 7.2",
    ),
    "numbers-saturate": Difference(
        (7, 0),
        "a number past 64 bits counts as the largest one instead of wrapping; a suffix without a number is "
        "not read",
        "lib/kstrtox.c and lib/cmdline.c of 7.2: _parse_integer_limit, memparse; boots: 6.18 still wraps",
    ),
    "set-aside-range-tells-node": Difference(
        (7, 0),
        "the node of an address is that of a firmware range without RAM, where there is one, before that of a range "
        "with RAM around it",
        "mm/numa_memblks.c of 6.12.117 and 7.2: phys_to_target_node; 6.1 asks the other way round",
        ((6, 12, 117),),
    ),
    "acpi-tables-count-as-end": Difference(
        (6, 11),
        "memory counts up to the last RAM or ACPI table, whichever is higher",
        "de60613173df x86/mm: Make e820__end_ram_pfn() cover E820_TYPE_ACPI ranges; boots: 6.12 and 7.2",
    ),
    "nodes-to-the-end-of-memory": Difference(
        (6, 12),
        "memory of type 128 above the last RAM of type 1 has a node and is left unused; before, the kernel dies there",
        "87482708210f mm: introduce numa_memblks (numa_cleanup_meminfo); boots of 6.1 and 6.12",
    ),
    "soft-reserved-not-in-iomem": Difference(
        (7, 0),
        "soft-reserved ranges are not in /proc/iomem before a device is bound",
        "bc62f5b308cb dax/hmem, e820, resource: Defer Soft Reserved insertion until hmem is ready",
    ),
}

_RELEASE = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")
#: Debian 12 calls its kernels 6.1.0-ABI-amd64: the patch level that an ABI number has at least, by the
#: change log of its source package.
_DEBIAN_12 = re.compile(r"6\.1\.0-(\d{1,6})-(?:[a-z]+-)?amd64")
_DEBIAN_12_LEVELS = ((22, 94), (19, 82))


def version(release: str) -> tuple[int, int] | None:
    """``(major, minor)`` of a release string, None where it has none."""
    match = _RELEASE.match(release)
    return (int(match.group(1)), int(match.group(2))) if match else None


def has(release: str, difference: str) -> bool:
    """Whether a release behaves as the row says; an unreadable release counts as the newest.

    Distributions whose releases do not tell the patch level (Ubuntu's 6.8.0-31-generic) count as the
    first of their branch: what only its later ones have is not relied on. Debian 12's are known.
    """
    match = _RELEASE.match(release)
    if match is None:
        return True
    major, minor, patch = (int(part or 0) for part in match.groups())
    debian = _DEBIAN_12.match(release)
    if debian:
        patch = next((level for abi, level in _DEBIAN_12_LEVELS if int(debian.group(1)) >= abi), 0)
    row = DIFFERENCES[difference]
    return (major, minor) >= row.since or any(
        branch[:2] == (major, minor) and patch >= branch[2] for branch in row.stable
    )
