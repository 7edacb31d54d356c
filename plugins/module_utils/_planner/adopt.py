# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A plan for what hand-written arguments carve out already: the same ranges, for Carveout to keep from now on.

The planner chooses places by size. So that it can choose none but those that are taken today, the plan lists all
other memory above 4 GiB under ``avoid``; that the layout's map is today's is checked, not hoped for.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._arguments import iterate, same_name
from .._errors import NotPossible
from .._host.model import PRAM, RAM, RESERVED, SOFT_RESERVED, ForeignArgument, Host, MapEntry
from .._layout import DEVDAX, Layout
from .._mechanisms import dax, hugetlb, pmem, reserved
from .._model.e820 import apply_arguments
from .._model.predict import predict
from .._ranges import Range, RangeSet
from .._units import MIB, PAGE, align_down, format_size
from .nodes import LOW
from .plan import DAX_UNIT

_MECHANISMS = {SOFT_RESERVED: dax.NAME, PRAM: pmem.NAME, RESERVED: reserved.NAME}
_HUGE_PAGES = ("hugepages", "hugepagesz")


@dataclass(frozen=True)
class Adoption:
    """``plan`` is the plan's data. ``remove`` are the arguments that have to go in the same change, ``stay`` the
    other memory arguments; ``host`` is the host as it boots next without the former, ``before`` its map with them.
    """

    plan: Mapping[str, Any]
    remove: tuple[ForeignArgument, ...]
    stay: tuple[ForeignArgument, ...]
    host: Host
    before: tuple[MapEntry, ...]


def adopt(host: Host) -> Adoption:
    """What the arguments of others carve out of the next boot, as a plan.

    Raises :class:`NotPossible` where there is nothing of the kind, or some of it can be no pool.
    """
    if host.committed is not None:
        text = (
            f"the host has the layout {host.committed}: add pools for other arguments to that layout's plan"
        )
        raise NotPossible.of("", "adopt-committed", text)
    tokens = host.foreign_tokens
    before = apply_arguments(host.firmware_map, tokens, host.kernel).entries
    taking = {token: kinds for token in dict.fromkeys(tokens) if (kinds := _carves(host, token))}
    huge = {
        node: made
        for node, sizes in predict(host, tokens).hugepages.items()
        if (made := {size: count for size, count in sizes.items() if count})
    }
    gone = (
        {a.text for a in iterate(tokens) if any(same_name(a.name, name) for name in _HUGE_PAGES)}
        if huge
        else set()
    )
    gone |= set(taking)
    if any(SOFT_RESERVED in kinds for kinds in taking.values()):
        gone |= set(dax.host_arguments())
    after = replace(host, boot_arguments=tuple(token for token in tokens if token not in gone))
    pools, taken = _pools(host, before, after)
    pools.update(_huge_pools(huge))
    if not pools:
        text = (
            "no memmap= above 4 GiB and no hugepages= of others stand on the command line that boots next: there is "
            "nothing to adopt"
        )
        raise NotPossible.of("", "adopt-nothing", text)
    pages = {node: sum(size * count for size, count in sizes.items()) for node, sizes in huge.items()}
    left = {
        node: host.node_usable(node).size - taken.intersect(host.node_span(node)).size - pages.get(node, 0)
        for node in host.nodes
    }
    plan: dict[str, Any] = {
        "version": 1,
        "kernel": {"memory": {node: format_size(align_down(size, MIB)) for node, size in left.items()}},
        "pools": pools,
    }
    others = host.usable.intersect([(LOW, 1 << 64)]).subtract(taken) if taken else RangeSet()
    if others:
        plan["avoid"] = [{"start": part.start, "size": format_size(part.size)} for part in others]
    known = {argument.argument: argument for argument in host.foreign}
    every = [known.get(token, ForeignArgument(token, "", 0)) for token in dict.fromkeys(tokens)]
    stay = tuple(a for a in every if a.argument not in gone and a.argument in known)
    return Adoption(plan, tuple(a for a in every if a.argument in gone), stay, after, before)


def check_adopted(adoption: Adoption, layout: Layout) -> None:
    """Raises :class:`NotPossible` unless the layout's map is, byte for byte, the one of today."""
    today = _flat(adoption.before)
    planned = _flat(MapEntry(*entry) for entry in layout.predicted_map)
    if today == planned:
        return
    differing = min(set(today) ^ set(planned))
    text = (
        f"no plan gives {Range(differing.start, differing.end)} the type that it has today, as the planner would put "
        "pools of several mechanisms elsewhere; write the plan by hand, and list under 'avoid' what must stay free"
    )
    raise NotPossible.of("", "adopt-differs", text)


def _carves(host: Host, token: str) -> frozenset[int]:
    """The types that one argument gives to RAM above 4 GiB, and to nothing else; none where it does other things."""
    argument = next(iterate([token]), None)
    if argument is None or argument.name != "memmap":
        return frozenset()
    try:
        alone = apply_arguments(host.firmware_map, [token], host.kernel).entries
    except NotPossible:
        return frozenset()
    lost = host.usable.subtract((e.start, e.end) for e in alone if e.type == RAM)
    made = [e for e in alone if lost.overlaps(Range(e.start, e.end))]
    covered = RangeSet((e.start, e.end) for e in made)
    kinds = frozenset(e.type for e in made)
    whole = all(covered.contains(part) for part in lost)
    return kinds if lost and whole and kinds <= _MECHANISMS.keys() and min(lost)[0] >= LOW else frozenset()


def _pools(host: Host, before: Sequence[MapEntry], after: Host) -> tuple[dict[str, Any], RangeSet]:
    """The pools of ranges, and all that they take."""
    ram = RangeSet(
        (e.start, e.end)
        for e in apply_arguments(host.firmware_map, after.foreign_tokens, host.kernel).entries
        if e.type == RAM
    )
    pools: dict[str, Any] = {}
    taken = RangeSet()
    for kind, mechanism in _MECHANISMS.items():
        mine = ram.intersect((e.start, e.end) for e in before if e.type == kind)
        taken = taken.union(mine)
        nodes = {node: mine.intersect(host.node_span(node)) for node in host.nodes}
        nodes = {node: ranges for node, ranges in nodes.items() if ranges}
        if not nodes:
            continue
        _check_align(mechanism, mine)
        name = f"adopted-{mechanism}"
        pools[name] = {
            "mechanism": mechanism,
            "nodes": {node: format_size(ranges.size) for node, ranges in nodes.items()},
        }
        if any(part.start % DAX_UNIT or part.end % DAX_UNIT for part in mine):
            pools[name]["align"] = format_size(PAGE)
        if mechanism == pmem.NAME:
            # what the kernel makes by itself; a namespace of another kind would lose what is in it
            _check_namespaces(host, mine)
            parts = [Range(e.start, e.end) for e in before if e.type == kind]
            pools[name].update(mode=pmem.FSDAX, devices=_devices(host, parts))
    return pools, taken


def _check_align(mechanism: str, ranges: RangeSet) -> None:
    least = {dax.NAME: dax.MIN_ALIGN, pmem.NAME: pmem.MIN_ALIGN}.get(mechanism, reserved.MIN_ALIGN)
    for part in ranges:
        if part.start % least or part.end % least:
            text = (
                f"{part} cannot be a pool of {mechanism}: start and end have to be multiples of {format_size(least)}; "
                "change the argument that carves it out first"
            )
            raise NotPossible.of("", "adopt-misaligned", text)


def _check_namespaces(host: Host, ranges: RangeSet) -> None:
    for namespace in host.state.get("namespaces", []):
        part = Range(namespace["start"], namespace["end"])
        if ranges.overlaps(part) and (namespace["mode"] == DEVDAX or namespace["map"] == "dev"):
            text = (
                f"{namespace['name']} at {part} is a namespace that somebody made with ndctl: write its pool by hand, "
                "with its mode and map, so that it is not made anew"
            )
            raise NotPossible.of("", "adopt-namespace", text)


def _devices(host: Host, parts: Sequence[Range]) -> list[dict[str, Any]]:
    """One namespace for each range: that is how the kernel makes them."""
    found: list[dict[str, Any]] = []
    for part in parts:
        node = next((n for n in host.nodes if host.node_span(n).contains(part)), None)
        if node is None:
            text = f"{part} lies on more than one node, and a namespace cannot"
            raise NotPossible.of("", "adopt-two-nodes", text)
        found.append({"name": f"adopted-pm{len(found)}", "node": node, "size": format_size(part.size)})
    return found


def _huge_pools(huge: Mapping[int, Mapping[int, int]]) -> dict[str, Any]:
    """A pool for each size of the pages that the kernel makes at boot."""
    pools: dict[str, Any] = {}
    for node, sizes in sorted(huge.items()):
        for size, count in sorted(sizes.items()):
            empty: dict[str, Any] = {"mechanism": hugetlb.NAME, "page_size": format_size(size), "nodes": {}}
            pool = pools.setdefault(f"adopted-{format_size(size)}", empty)
            pool["nodes"][node] = format_size(size * count)
    return pools


def _flat(entries: Any) -> list[MapEntry]:
    """The map with neighbours of one type joined: persistent ranges apart, the kernel does not join those."""
    result: list[MapEntry] = []
    for entry in sorted(entries):
        last = result[-1] if result else None
        if last and last.end == entry.start and last.type == entry.type != PRAM:
            result[-1] = MapEntry(last.start, entry.end, entry.type)
        else:
            result.append(entry)
    return result
