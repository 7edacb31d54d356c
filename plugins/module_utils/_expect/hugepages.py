# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Huge pages: that the kernel made all of them where they belong, and the file systems that hand them out.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._host.model import Host
from .._layout import Layout
from .._mechanisms.hugetlb import OPTIMISE, amounts
from .._mounts import HUGETLBFS, Mount
from .._units import format_size
from .model import Expectation, compare, judge, section

SUBJECT = "huge pages"


def hugepages(layout: Layout, host: Host) -> list[Expectation]:
    """One for every node and size, one for the struct pages, and some for every mount."""
    result = pages(layout, host)
    for mount in (m for m in layout.mounts if m.kind == HUGETLBFS):
        result += _mount(mount, host)
    return result


def pages(layout: Layout, host: Host) -> list[Expectation]:
    """What the kernel made by itself: the pages, and what it did with their struct pages."""
    if not layout.hugepages:
        return []
    measured = section(host, "hugepages")
    result = []
    for size, by_node in sorted(amounts(layout.hugepages).items()):
        for node, count in sorted(by_node.items()):
            pool = next(p for p in layout.hugepages if (p.node, p.page_size) == (node, size))
            got = measured.get(str(node), {}).get(str(size), 0)
            result.append(
                compare(
                    SUBJECT,
                    f"huge pages of {format_size(size)} on node {node}",
                    f"pools.{pool.pool}.nodes.{node}",
                    f"node {node} has {got} pages of {format_size(size)}",
                    str(count),
                    str(got),
                )
            )
    if OPTIMISE in layout.arguments:
        result += _struct_pages(layout, host)
    return result


def _struct_pages(layout: Layout, host: Host) -> list[Expectation]:
    """Nothing where the kernel has no such setting to read: then the argument alone speaks for it."""
    found = section(host, "hugetlb_vmemmap")
    if found is None:
        return []
    measured = "on" if found else "off"
    path = f"pools.{layout.hugepages[0].pool}.optimize_vmemmap"
    fact = f"giving back the struct pages of huge pages is {measured}"
    return [compare(SUBJECT, "struct pages of huge pages", path, fact, "on", measured)]


def _mount(mount: Mount, host: Host) -> list[Expectation]:
    path = f"pools.{mount.pool}.mounts"
    found = next((m for m in reversed(section(host, "mounts")) if m["path"] == mount.path), None)
    name = f"mount {mount.path}"
    if found is None:
        fact = f"nothing with huge pages is mounted at {mount.path}"
        ending = f"; 'systemctl status {mount.unit}' tells why"
        return [judge(SUBJECT, name, path, fact, mount.kind, "nothing", False, ending)]
    size = "no limit" if found["size"] is None else format_size(found["size"])
    return [
        compare(SUBJECT, f"{name} {what}", path, f"{mount.path} has the {what} {measured}", wanted, measured)
        for what, wanted, measured in (
            ("page size", format_size(mount.page_size), format_size(found["page_size"])),
            ("size", format_size(mount.size), size),
            ("owner", mount.owner, found["owner"]),
            ("group", mount.group, found["group"]),
            ("mode", mount.mode, found["mode"]),
        )
    ]
