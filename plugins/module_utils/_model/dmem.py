# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The regions that a dmemfs kernel registers for ``dmem=``.

Follows dmem_reserve_size and dmem_reserve_region (mm/dmem_reserve.c) and dmem_region_register,
dmem_region_init (mm/dmem.c) of the OpenCloudOS 5.4 kernels. They run right after the NUMA setup, over
what memblock still has free then. That is everything but the kernel's image, the initrd, the low MiB
and the first allocations on each node, none of which a host's maps tell exactly: :class:`EarlyMemory`.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .._arguments import iterate
from .._host.model import RAM, Host, MapEntry, NodeRange
from .._ranges import Range, RangeSet
from .._units import GIB, KIB, MIB, PAGE, align_down, align_up, approximate_size, format_size
from .dmem_argument import DmemArguments, DmemRequest, read_dmem
from .node_memory import spans_of
from .releases import has

#: Where a kernel that is not moved by KASLR lies (CONFIG_PHYSICAL_START of x86_64).
_KERNEL_START = 16 * MIB
#: A region larger than this needs an error bitmap of more than KMALLOC_MAX_SIZE (4 MiB, a bit a page).
REGION_LIMIT = 128 * GIB


class EarlyMemory(NamedTuple):
    """Bytes that are taken before dmem, and the address that the initrd ends below."""

    kernel: int
    initrd: int
    initrd_below: int
    node_data: int


#: As measured on small hosts under QEMU.
SMALL = EarlyMemory(24 * MIB, 2 * MIB, 4 * GIB, 32 * KIB)
#: What a distribution's kernel may come to, with the initrd where QEMU and where GRUB put it
#: (GRUB_LINUX_INITRD_MAX_ADDRESS).
_OTHERS = (
    EarlyMemory(64 * MIB, 192 * MIB, 4 * GIB, 2 * MIB),
    EarlyMemory(64 * MIB, 192 * MIB, 0x38000000, 2 * MIB),
)


class Region(NamedTuple):
    start: int
    end: int
    node: int


class DmemWarning(NamedTuple):
    code: str
    message: str


class DmemResult(NamedTuple):
    """What becomes of the ``dmem=`` arguments.

    ``regions`` are in order of address. ``messages`` are the kernel's own words, without its lines on
    regions. ``refused``: pairs of argument and reason. ``missing``: bytes asked for and not reserved, by
    node; under -1 for a range. ``table_full``: more regions were found than the kernel has room for.
    ``pool_lost``: the pool is dropped at the end of the boot, its memory lost until the next one.
    """

    regions: tuple[Region, ...]
    messages: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    missing: Mapping[int, int]
    table_full: bool
    pool_lost: bool
    warnings: tuple[DmemWarning, ...]

    @property
    def by_node(self) -> dict[int, int]:
        """Bytes registered on each node."""
        result: dict[int, int] = {}
        for region in self.regions:
            result[region.node] = result.get(region.node, 0) + region.end - region.start
        return result


def memory_by_node(ram: RangeSet, ranges: Sequence[NodeRange]) -> list[Region]:
    """RAM in pieces that lie on one node each, in order of address."""
    return sorted(
        Region(part.start, part.end, r.node) for r in ranges for part in ram.intersect([(r.start, r.end)])
    )


def free_memory(memory: Sequence[Region], early: EarlyMemory) -> list[Region]:
    """What memblock has free when dmem looks: memory by node without what was taken by then."""
    ram = RangeSet(piece[:2] for piece in memory)
    taken = RangeSet([(0, MIB), (_KERNEL_START, _KERNEL_START + early.kernel)])
    low = ram.intersect([(0, early.initrd_below)]).subtract(taken)
    taken = taken.union(_highest(low, early.initrd))
    for node in sorted({piece.node for piece in memory}):
        own = RangeSet(piece[:2] for piece in memory if piece.node == node).subtract(taken)
        taken = taken.union(_highest(own, early.node_data))
    return [
        Region(part.start, part.end, piece.node)
        for piece in memory
        for part in RangeSet([piece[:2]]).subtract(taken)
    ]


def _highest(ranges: RangeSet, size: int) -> list[Range]:
    """The highest place for ``size`` bytes, as memblock allocates from the top down."""
    for part in reversed(list(ranges)):
        end = align_down(part.end, PAGE)
        if end - part.start >= size:
            return [Range(end - size, end)]
    return []


def dmem_regions(arguments: DmemArguments, free: Sequence[Region], release: str) -> DmemResult:
    """The regions for free memory that is known (in order of address)."""
    request = arguments.request
    if request is None:
        return DmemResult((), arguments.messages, arguments.refused, {}, False, False, ())
    limit = 85 if has(release, "dmem-second-posting") else 93
    wanted = {} if request.base else _wanted(request, free)
    left = request.size
    regions: list[Region] = []
    full = False
    for piece in reversed(free):
        start, end = piece.start, piece.end
        if request.base:
            start, end = max(start, request.base), min(end, request.base + request.size)
        start, end = align_up(start, request.align), align_down(end, request.align)
        if not request.base:
            start = max(start, end - wanted[piece.node])
        if start >= end:
            continue
        if len(regions) >= limit:
            full = True
            break
        regions.append(Region(start, end, piece.node))
        left -= end - start
        if not request.base:
            wanted[piece.node] -= end - start
    missing = {-1: left} if request.base else dict(sorted(wanted.items()))
    missing = {node: size for node, size in missing.items() if size}
    messages = ["dmem: region is not sufficient."] if full else []
    messages += [_shortfall(request, node, size) for node, size in missing.items()]
    lost = not has(release, "dmem-second-posting") and any(r.end - r.start > REGION_LIMIT for r in regions)
    result = DmemResult(
        tuple(sorted(regions)),
        (*arguments.messages, *messages),
        arguments.refused,
        missing,
        full,
        lost,
        (),
    )
    return result._replace(warnings=tuple(_warnings(result, limit)))


def _wanted(request: DmemRequest, free: Sequence[Region]) -> dict[int, int]:
    """Bytes asked for on each node; free memory is rounded UP to the alignment first."""
    amounts: dict[int, int] = {}
    for piece in free:
        amounts[piece.node] = amounts.get(piece.node, 0) + piece.end - piece.start
    for node, amount in amounts.items():
        amount = align_up(amount, request.align)
        amounts[node] = max(0, amount - request.size) if request.keep else min(request.size, amount)
    return amounts


def _shortfall(request: DmemRequest, node: int, size: int) -> str:
    # For a node the kernel prints the size asked for, for a range what is missing of it.
    if node >= 0:
        return f"dmem: {request.size:#x} size of memory is not reserved on node {node} due to misaligned regions."
    return (
        f"dmem: {size:#x} size of memory is not reserved for dmem due to holes and misaligned regions in "
        f"[{request.base:#x}, {request.base + size:#x}]."
    )


def _warnings(result: DmemResult, limit: int) -> Iterable[DmemWarning]:
    for node, size in result.missing.items():
        where = f"on node {node}" if node >= 0 else "of the range"
        yield DmemWarning(
            "dmem-short",
            f"dmem= falls short by {format_size(size)} {where}: memory that is not free in whole aligned pieces "
            "is left to the kernel",
        )
    if result.table_full:
        yield DmemWarning(
            "dmem-table-full", f"the kernel has room for {limit} dmem regions; the rest is left out"
        )
    if result.pool_lost:
        yield DmemWarning(
            "dmem-pool-lost",
            "a dmem region is larger than 128 GiB: this kernel cannot allocate its error bitmap, drops the whole "
            "pool at the end of the boot, and the memory is lost until the next one; holes made by memmap= split it",
        )


def dmem_prediction(
    host: Host, tokens: Sequence[str], entries: Sequence[MapEntry], release: str = ""
) -> DmemResult:
    """What a dmemfs kernel registers on this host for this command line.

    ``entries`` are the map after the arguments. Where the host's kernel is known to have no dmemfs the
    regions are still those of a kernel that has it, and a warning and ``refused`` say that nothing is
    reserved; see :func:`has_dmem`.
    """
    arguments = read_dmem(tokens)
    release = release or host.kernel
    memory = _memory(host, tokens, entries)
    result = dmem_regions(arguments, free_memory(memory, SMALL), release)
    if arguments.request is None:
        return result
    warnings = list(result.warnings)
    if has_dmem(host) is False:
        reason = "the kernel has no dmemfs (CONFIG_DMEM is not set): it hands the argument to init and reserves nothing"
        given = [a.text for a in iterate(tokens) if a.name == "dmem"]
        result = result._replace(refused=tuple((text, reason) for text in given))
        warnings = [DmemWarning("dmem-not-in-kernel", f"dmem=: {reason}")]
    warnings += _doubts(arguments, memory, result, release, tokens)
    return result._replace(warnings=tuple(warnings))


def possible_regions(host: Host, tokens: Sequence[str], entries: Sequence[MapEntry]) -> list[DmemResult]:
    """What :func:`dmem_prediction` finds for each size and place that kernel and initrd may have.

    Where all have the same regions, these do not depend on what a host's maps do not tell.
    """
    arguments = read_dmem(tokens)
    memory = _memory(host, tokens, entries)
    return [dmem_regions(arguments, free_memory(memory, early), host.kernel) for early in (SMALL, *_OTHERS)]


def _memory(host: Host, tokens: Sequence[str], entries: Sequence[MapEntry]) -> list[Region]:
    ram = RangeSet((align_up(e.start, PAGE), align_down(e.end, PAGE)) for e in entries if e.type == RAM)
    return memory_by_node(ram, spans_of(host.node_ranges, ram, tokens).ranges)


def free_pieces(host: Host, tokens: Sequence[str], entries: Sequence[MapEntry], align: int) -> list[Region]:
    """Memory by node that dmem finds free on a small host, in whole pieces of ``align`` bytes."""
    found = []
    for piece in free_memory(_memory(host, tokens, entries), SMALL):
        start, end = align_up(piece.start, align), align_down(piece.end, align)
        if start < end:
            found.append(Region(start, end, piece.node))
    return found


def has_dmem(host: Host) -> bool | None:
    """Whether the kernel that boots next knows ``dmem=``; None where its configuration is not known."""
    if not host.kernel_config:
        return None
    return host.kernel_config.get("CONFIG_DMEM") == "y"


def _doubts(
    arguments: DmemArguments,
    memory: Sequence[Region],
    result: DmemResult,
    release: str,
    tokens: Sequence[str],
) -> Iterable[DmemWarning]:
    """What the regions rest on beyond the inputs, only where it makes a difference."""
    for early in _OTHERS:
        other = dmem_regions(arguments, free_memory(memory, early), release)
        if other.regions != result.regions:
            size, less = sum(result.by_node.values()), sum(other.by_node.values())
            yield DmemWarning(
                "dmem-depends-on-initrd",
                "the dmem regions depend on the size and place of kernel and initrd: with a kernel of "
                f"{approximate_size(early.kernel)} and an initrd of {approximate_size(early.initrd)} below "
                f"{early.initrd_below:#x} they are {approximate_size(less)}, not {approximate_size(size)}, "
                "or elsewhere",
            )
            break
    if "nokaslr" not in [a.text for a in iterate(tokens)]:
        yield DmemWarning(
            "dmem-kaslr",
            "KASLR knows nothing of dmem= and may put the kernel where a dmem region is predicted, which splits "
            "it; nokaslr rules that out",
        )
    if any(a.name in ("cma", "hugetlb_cma") for a in iterate(tokens)):
        yield DmemWarning(
            "dmem-after-cma",
            "cma= takes its memory before dmem=: regions beside it may differ from the prediction",
        )
