# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The accounts of a layout: the kernel's memory and struct pages, on the host and on each node, before and after.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._host.model import Host, MapEntry
from .._layout import Device, HugePages, Memory, Reservation
from .._mechanisms import MECHANISMS, hugetlb
from .._model.sections import boot_struct_pages, boot_struct_pages_by_node, ram_of, sections_with_pages
from .nodes import memory_block


def accounts(
    host: Host,
    before: Sequence[MapEntry],
    after: Sequence[MapEntry],
    reservations: Sequence[Reservation],
    devices: Sequence[Device],
    optimised: Sequence[HugePages],
) -> tuple[Memory, dict[int, Memory]]:
    """Of the host, and by node. ``before`` and ``after`` are the kernel's map without and with our arguments.

    ``optimised`` are the huge pages whose struct pages are given back.
    """
    ram_before, ram_after = ram_of(before), ram_of(after)
    boot = sections_with_pages(ram_after)
    pages_before = boot_struct_pages_by_node(ram_before, host.node_ranges)
    pages_after = boot_struct_pages_by_node(ram_after, host.node_ranges)
    mapped = 0
    for device in devices:
        mine = [r for r in reservations if r.pool == device.pool]
        mechanism = MECHANISMS[mine[0].mechanism]
        cost = mechanism.device_pages(mine, device, boot, host.kernel, memory_block(host))
        pages_after[device.node] = pages_after.get(device.node, 0) + cost
        mapped += cost
    for node in sorted({each.node for each in optimised}):
        cost = hugetlb.optimised_pages((each for each in optimised if each.node == node), host.kernel)
        pages_after[node] = pages_after.get(node, 0) + cost
        mapped += cost
    by_node = {}
    for node in sorted({*host.nodes, *(device.node for device in devices)}):
        span = host.node_span(node)
        by_node[node] = Memory(
            host.node_usable(node).size,
            ram_before.intersect(span).size,
            ram_after.intersect(span).size,
            pages_before.get(node, 0),
            pages_after.get(node, 0),
        )
    total = Memory(
        host.usable.size,
        ram_before.size,
        ram_after.size,
        boot_struct_pages(ram_before),
        boot_struct_pages(ram_after) + mapped,
    )
    return total, by_node
