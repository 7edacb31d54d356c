# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which DAX regions a kernel makes of its soft-reserved ranges, with and without an HMAT.

Follows drivers/acpi/numa/hmat.c (hmat_register_target_devices), drivers/dax/hmem/device.c and hmem.c, and
kernel/resource.c (region_intersects, insert_resource) of 5.10, 6.1, 6.12 and 7.2; every rule was
watched on these kernels (tests/unit/data/dax_regions.json).

Without an HMAT each soft-reserved line of /proc/iomem is a region (since 7.0: each such entry of the map).
With one, the kernel first hands out the ranges of the SRAT that the HMAT speaks of, and soft-reserved ranges
become regions only where no such range is in their way. What it checks before it does so differs between
releases.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._arguments import iterate, same_name
from .._host.model import RAM, SOFT_RESERVED, Host, MapEntry, NodeRange
from .._host.nodes import one_node
from .._ranges import Range, RangeSet
from .._units import MIB, align_up
from .iomem import address_limit, iomem, last_page, type_name
from .node_memory import spans_of
from .releases import has
from .windows import expanded, top_level, windows_of

#: alloc_dax_region() is called with PMD_SIZE (drivers/dax/hmem/hmem.c).
REGION_ALIGN = 2 * MIB
#: ram_alignment() of arch/x86/kernel/e820.c, for what lies above 16 MiB.
_BUFFER_ALIGN = 64 * MIB
#: NUMA_NO_NODE
NO_NODE = -1


class DaxRegion(NamedTuple):
    """Bytes ``[start, end)`` and the node that the kernel takes them for (-1: none)."""

    start: int
    end: int
    node: int


class RegionWarning(NamedTuple):
    """``severe``: someone may write over memory that is in use."""

    code: str
    message: str
    severe: bool


@dataclass(frozen=True)
class DaxRegions:
    """The regions that can be used, in order of addresses, and what is wrong with them or missing."""

    regions: tuple[DaxRegion, ...]
    warnings: tuple[RegionWarning, ...]


def dax_regions(entries: Sequence[MapEntry], host: Host, tokens: Sequence[str], release: str) -> DaxRegions:
    """The DAX regions of a boot.

    ``entries`` is the kernel's map after the arguments, ``tokens`` the whole command line. Which driver takes
    the regions (``dax_hmem.region_idle=``) makes no difference to them.
    """
    soft = [Range(e.start, e.end) for e in entries if e.type == SOFT_RESERVED and e.start < e.end]
    if not soft:
        return DaxRegions((), ())
    windows = windows_of(host.state)
    if not has(release, "soft-reserved-not-in-iomem"):
        soft = _as_resources(entries, host, windows, release)
    reason = _no_regions(host, tokens, release)
    if reason:
        return DaxRegions((), (RegionWarning("dax-no-regions", reason, False),))
    nodes = _nodes(host, entries, tokens, release)
    known = RangeSet((e.start, e.end) for e in entries if e.type != SOFT_RESERVED)
    others = list(known.union(RangeSet(windows).subtract(soft)))
    claims = _claims(host, tokens)
    if has(release, "soft-reserved-not-in-iomem"):
        # e820__reserve_resources() still registers what begins below 1 MiB in the common tree
        soft = [part for part in soft if part.start >= MIB]
        made = [r for r in _handed_out(claims, soft, nodes) if _overlapping(soft, _range(r))]
    elif has(release, "hmat-claims-unchecked"):
        made = [
            r
            for r in _handed_out(claims, soft, nodes)
            if _overlapping(soft, _range(r)) and not _overlapping(others, _range(r))
        ]
    else:
        made = list(_checked_claims(claims, soft, others))
        made += _after_claims(made, soft, nodes, has(release, "hmem-registered-once"))
    made.sort()
    return DaxRegions(
        tuple(region for region in made if _is_aligned(region)),
        tuple(_warnings(entries, soft, host.node_ranges, made, release)),
    )


def hmat_in_effect(host: Host, tokens: Iterable[str]) -> bool:
    """Whether the kernel goes by the HMAT (hmat_init; numa_setup in arch/x86/mm/numa.c).

    With ``numa=off`` no proximity domain has a node: a table that names the domains of processors, as those of
    firmware do, counts as invalid then.
    """
    return host.hmat and not any(
        a.name == "numa" and (a.value or "").startswith(("nohmat", "noacpi", "off")) for a in iterate(tokens)
    )


def ram_buffers(entries: Iterable[MapEntry]) -> RangeSet:
    """What the kernel keeps busy behind RAM that ends at an odd place, up to the next 64 MiB boundary.

    (e820__reserve_resources_late.) Where a soft-reserved range is not in /proc/iomem this lies over
    its start, and no driver can be bound to a device there: device_dax fails with EBUSY.
    """
    return RangeSet(
        (e.end, align_up(e.end, _BUFFER_ALIGN)) for e in entries if e.type == RAM and e.end >= 16 * MIB
    )


def _no_regions(host: Host, tokens: Sequence[str], release: str) -> str:
    if not has(release, "memmap-soft-reserved-dax"):
        return f"{release} makes no DAX regions of soft-reserved ranges"
    option = host.kernel_config.get("CONFIG_DEV_DAX_HMEM", "")
    if host.kernel_config and release == host.kernel and option not in ("y", "m"):
        return f"{release} is built without CONFIG_DEV_DAX_HMEM"
    disabled = False
    for argument in iterate(tokens):
        if same_name(argument.name, "device_hmem.disable"):
            disabled = _boolean(argument.value, disabled)
    return "device_hmem.disable= is on the command line" if disabled else ""


def _as_resources(
    entries: Sequence[MapEntry], host: Host, windows: Sequence[Range], release: str
) -> list[Range]:
    """The soft-reserved lines of /proc/iomem, of which regions are made, not of the map's entries (hmem_init).

    A line has grown over a PCI bus's window that the entry half overlaps. Before ``hmem-registered-once`` one inside
    of a window counts as claimed by someone (hmem_register_one of 5.10).
    """
    lines = expanded(iomem(entries, release, address_limit(host.firmware_map)), windows)
    if not has(release, "hmem-registered-once"):
        lines = top_level(lines, windows)
    return [Range(line.start, line.end) for line in lines if line.name == type_name(SOFT_RESERVED)]


def _boolean(value: str | None, current: bool) -> bool:
    """A parameter as param_set_bool() reads it; what it refuses changes nothing."""
    if value is None or value[:1] in ("y", "Y", "1") or value[:2].lower() == "on":
        return True
    return False if value[:1] in ("n", "N", "0") or value[:2].lower() == "of" else current


def _claims(host: Host, tokens: Sequence[str]) -> list[DaxRegion]:
    """The ranges of memory targets, target by target, each a resource of its own: no overlaps in one."""
    if not hmat_in_effect(host, tokens):
        return []
    targets = host.hmat_targets or host.node_ranges
    found: list[DaxRegion] = []
    for node in dict.fromkeys(target.node for target in targets):
        own: list[DaxRegion] = []
        for target in targets:
            if target.node == node:
                _request(own, DaxRegion(target.start, target.end, node))
        found += sorted(own)
    return found


def _request(taken: list[DaxRegion], wanted: DaxRegion) -> bool:
    """Whether a range could be had (__request_region): nothing of it is taken yet."""
    if wanted.start >= wanted.end or any(_range(wanted).overlaps(_range(other)) for other in taken):
        return False
    taken.append(wanted)
    return True


def _handed_out(
    claims: Sequence[DaxRegion], soft: Sequence[Range], nodes: Sequence[NodeRange]
) -> list[DaxRegion]:
    """hmem_active of 6.3 and later: every claim, whatever lies there, then entries out of all claims' way."""
    taken: list[DaxRegion] = []
    for claim in claims:
        _request(taken, claim)
    return taken + _out_of_the_way(soft, taken, nodes)


def _out_of_the_way(
    soft: Iterable[Range], taken: Sequence[DaxRegion], nodes: Sequence[NodeRange]
) -> list[DaxRegion]:
    """A region for each entry of which nothing is taken yet."""
    parts = sorted(_range(region) for region in taken)
    return [
        DaxRegion(part.start, part.end, _node_of(part.start, nodes))
        for part in soft
        if not _overlapping(parts, part)
    ]


def _checked_claims(
    claims: Sequence[DaxRegion], soft: Sequence[Range], others: Sequence[Range]
) -> Iterator[DaxRegion]:
    """Claims that touch soft-reserved memory and nothing else, and fit the resource tree.

    Their resource cannot be inserted where an entry sticks out of it: platform_device_add() fails.
    """
    for claim in claims:
        span = _range(claim)
        hit = _overlapping(soft, span)
        if not hit or _overlapping(others, span):
            continue
        if all(span.contains(part) for part in hit) or any(part.contains(span) for part in hit):
            yield claim


def _after_claims(
    claimed: Sequence[DaxRegion], soft: Sequence[Range], nodes: Sequence[NodeRange], once: bool
) -> list[DaxRegion]:
    """What hmem_init() adds on kernels before 6.3.

    Before ``hmem-registered-once`` nothing remembers what was registered: the walk finds the claims' own
    resources at the top of the tree and registers them again, and entries around a claim whole.
    """
    if once:
        return _out_of_the_way(soft, claimed, nodes)
    tops = {part for part in soft if not any(_range(c).contains(part) for c in claimed)}
    tops |= {_range(c) for c in claimed if not any(part.contains(_range(c)) for part in tops)}
    return [DaxRegion(part.start, part.end, _node_of(part.start, nodes)) for part in sorted(tops)]


def _nodes(
    host: Host, entries: Sequence[MapEntry], tokens: Sequence[str], release: str
) -> tuple[NodeRange, ...]:
    """Ranges in the order in which phys_to_target_node() asks them: ranges of RAM, and ranges without any.

    The kernel cuts and joins the ranges that it keeps for its RAM, and sets aside those without RAM and what
    lies past the last of it (numa_cleanup_meminfo).
    """
    ram, last = _ram(entries), last_page(entries, release)
    spans = spans_of(host.node_ranges, ram, tokens, release, last)
    used = spans.ranges
    if spans.one_node or host.node_ranges == one_node(host.firmware_map):
        # There is no table, so nothing is set aside: what lies past the last of memory is no node's.
        return (NodeRange(0, 0, last),)
    aside = [span for span in host.node_ranges if not ram.overlaps(Range(span.start, span.end))]
    first = (*aside, *used) if has(release, "set-aside-range-tells-node") else (*used, *aside)
    return (*first, *host.node_ranges)


def _node_of(address: int, nodes: Iterable[NodeRange]) -> int:
    return next((span.node for span in nodes if span.start <= address < span.end), NO_NODE)


def _is_aligned(region: DaxRegion) -> bool:
    """Whether the driver takes it (alloc_dax_region)."""
    return region.start % REGION_ALIGN == 0 and region.end % REGION_ALIGN == 0


def _range(region: DaxRegion) -> Range:
    return Range(region.start, region.end)


def _overlapping(parts: Sequence[Range], span: Range) -> Sequence[Range]:
    """Those of some sorted, disjoint parts that overlap a range."""
    first = bisect_right(parts, (span.start, span.end))
    if first and parts[first - 1].end > span.start:
        first -= 1
    return parts[first : bisect_left(parts, (span.end, 0))]


def _ram(entries: Iterable[MapEntry]) -> RangeSet:
    return RangeSet((e.start, e.end) for e in entries if e.type == RAM)


def _warnings(
    entries: Sequence[MapEntry],
    soft: Sequence[Range],
    spans: Sequence[NodeRange],
    made: Sequence[DaxRegion],
    release: str,
) -> Iterator[RegionWarning]:
    ram, reserved = list(_ram(entries)), list(RangeSet(soft))
    before: DaxRegion | None = None
    for region in made:
        span = _range(region)
        if not _is_aligned(region):
            yield RegionWarning(
                "dax-region-misaligned",
                f"no DAX region of {span}: its start and length must be multiples of 2 MiB (the probe fails with -12)",
                False,
            )
            continue
        used = sum(part.intersect(span).size for part in _overlapping(ram, span))
        if used:
            yield RegionWarning(
                "dax-region-over-ram",
                f"the DAX region {span} takes in {used} bytes that the kernel uses as RAM",
                True,
            )
        elif not any(part.contains(span) for part in _overlapping(reserved, span)):
            yield RegionWarning(
                "dax-region-over-others",
                f"the DAX region {span} takes in memory that is not soft-reserved",
                False,
            )
        if len(_overlapping(soft, span)) > 1:
            yield RegionWarning(
                "dax-regions-merged", f"the DAX region {span} is one over several ranges", False
            )
        if before and before.end > region.start:
            yield RegionWarning(
                "dax-regions-overlap",
                f"the DAX regions {_range(before)} and {span} are over the same memory",
                True,
            )
        if any(s.node not in (region.node, NO_NODE) and Range(s.start, s.end).overlaps(span) for s in spans):
            yield RegionWarning(
                "dax-region-spans-nodes",
                f"the DAX region {span} counts as node {region.node} but reaches into others",
                False,
            )
        if not before or region.end > before.end:
            before = region
    for part in RangeSet(reserved).subtract(_range(r) for r in made):
        yield RegionWarning("dax-region-missing", f"no DAX region of the soft-reserved {part}", False)
    if has(release, "soft-reserved-not-in-iomem"):
        for part in ram_buffers(entries).intersect(reserved):
            yield RegionWarning(
                "dax-ram-buffer",
                f"no driver can be bound to DAX devices in {part}: the RAM before it ends at no multiple of 64 MiB, "
                "and the kernel keeps what follows up to there",
                False,
            )
