# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Namespaces of pools of persistent memory: each takes a reservation of its own, and offers a part of it.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .._errors import NotPossible, Problem
from .._host.model import Host
from .._layout import Device, Layout, LayoutWarning, Reservation
from .._mechanisms import pmem
from .._model.struct_pages import pmem_space
from .._ranges import Range, RangeSet
from .._units import PAGE, approximate_size, format_size
from .plan import DevicePlan, PoolPlan


def place_of(layout: Layout, device: Device) -> tuple[Range, ...]:
    """What a device takes of its pool: its extents, or all of the reservation of a namespace."""
    return (pmem.home_of(layout.reservations, device).range,) if device.namespace else device.extents


def cut(
    pool: PoolPlan, node: int, ranges: Sequence[Range], placed: Mapping[str, tuple[Range, ...]]
) -> list[Range]:
    """The reservations: one for each namespace.

    Raises :class:`NotPossible` where memory is left over: the kernel would make a namespace of it too, with struct
    pages for all of it.
    """
    taken = RangeSet(part for parts in placed.values() for part in parts)
    left = RangeSet(ranges).subtract(taken)
    if left:
        places = ", ".join(f"{part} ({format_size(part.size)})" for part in left)
        raise NotPossible.of(
            f"{pool.path}.devices",
            "namespaces-left-over",
            f"{format_size(left.size)} of the pool on node {node} is in no namespace: {places}; a device with size: "
            f"rest takes one such range, or make the pool smaller",
        )
    return sorted(part for parts in placed.values() for part in parts)


def namespace_of(pool: PoolPlan, wish: DevicePlan, device: Device) -> Device:
    """The device with what is left of the range that it takes: what its users can have.

    Raises :class:`NotPossible` where nothing is left.
    """
    (whole,) = device.extents
    if pmem.is_plain(pool.namespace, pool.map):
        return replace(device, align=PAGE, namespace=pool.namespace, map=pool.map)
    space = pmem_space(whole, wish.align, pool.map == "dev")
    if space.start >= space.end:
        raise NotPossible.of(
            f"{wish.path}.size",
            "namespace-too-small",
            f"of {format_size(whole.size)} nothing is left beside the namespace's own data with an align of "
            f"{format_size(wish.align)}; make it larger, or the align smaller",
        )
    data = (Range(space.start, space.end),)
    return replace(device, extents=data, namespace=pool.namespace, map=pool.map)


def check_namespaces(host: Host, devices: Sequence[Device]) -> None:
    """Raises :class:`NotPossible` where the kernel has no driver for what the plan wants of it."""
    needed = ("CONFIG_NVDIMM_DAX", "CONFIG_DEV_DAX_PMEM")
    missing = [option for option in needed if host.kernel_config.get(option, "m") not in ("y", "m")]
    wanted = dict.fromkeys(d.pool for d in devices if d.namespace and d.namespace != pmem.FSDAX)
    if missing and wanted:
        text = f"the kernel {host.kernel} is built without {missing[0]}; use mode: fsdax, or boot one that has it"
        raise NotPossible([Problem(f"pools.{pool}.mode", "kernel-config", text) for pool in wanted])


def warn_namespaces(reservations: Sequence[Reservation], devices: Sequence[Device]) -> list[LayoutWarning]:
    """What namespaces lose, and when."""
    warnings = []
    for pool in dict.fromkeys(d.pool for d in devices if d.namespace):
        mine = [d for d in devices if d.pool == pool]
        whole = sum(r.range.size for r in reservations if r.pool == pool)
        offered = sum(d.size for d in mine)
        if offered == whole:
            continue
        own = "struct pages, info blocks and aligns" if mine[0].map == "dev" else "info blocks and aligns"
        text = (
            f"the namespaces of pool {pool} offer {format_size(offered)} of the {format_size(whole)} that they take; "
            f"{approximate_size(whole - offered)} go to {own}"
        )
        warnings.append(LayoutWarning("namespace-loss", text))
    if any(d.namespace for d in devices):
        text = (
            "namespaces of this kind are RAM: power-off loses what is in them, file systems too, and the boot service "
            "then makes them anew"
        )
        warnings.append(LayoutWarning("namespace-volatile", text))
    return warnings
