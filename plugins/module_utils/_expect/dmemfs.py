# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dmemfs pool: just the layout's regions, all of them there for files, and the mount.

An empty pool comes first: a program that touches a file of it never gets on.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from typing import Any

from .._host.model import Host
from .._layout import Layout
from .._mechanisms.dmemfs import HUGE_PAGES_OFF, NAME
from .._mounts import DMEMFS, Mount
from .._ranges import Range
from .._units import approximate_size, format_size
from .model import Expectation, compare, judge, reservation_path, section

SUBJECT = "dmemfs"


def dmemfs(layout: Layout, host: Host) -> list[Expectation]:
    """By the kernel's messages, by debugfs, whichever there is, and of the mount."""
    mine = [r for r in layout.reservations if r.mechanism == NAME]
    if not mine:
        return []
    measured = section(host, "dmemfs")
    pool, log = measured["pool"], measured["log"]
    path = f"pools.{mine[0].pool}.mechanism"
    if pool is None and log is None:
        text = (
            f"the kernel {host.kernel_running} shows no trace of dmemfs: neither debugfs nor its log tells what dmem= "
            "came to"
        )
        return [judge(SUBJECT, "pool", path, text, "known", "unknown", False, "")]
    result = [] if pool is None else _pool(layout, pool, path)
    if log is not None:
        wanted = {(r.start, r.end, r.node): r for r in mine}
        found = {(start, end, node) for start, end, node in log}
        for region, reservation in wanted.items():
            there = "registered" if region in found else "not registered"
            fact = f"the kernel says that {reservation.range} on node {reservation.node} is {there}"
            name = f"region {reservation.range}"
            result.append(
                compare(SUBJECT, name, reservation_path(reservation), fact, "registered", there, "")
            )
        others = ", ".join(f"{Range(s, e)} on node {n}" for s, e, n in sorted(found - set(wanted)))
        if others:
            fact = f"the kernel says that it registered {others}, which is not the layout's"
            result.append(judge(SUBJECT, "other regions", path, fact, "none", others, False, ""))
    if HUGE_PAGES_OFF in layout.arguments:
        setting = measured["transparent_huge_pages"]
        fact = f"transparent huge pages are {setting!r}, with which files of dmemfs cannot be touched"
        place = "policy.transparent_huge_pages"
        result.append(compare(SUBJECT, "transparent huge pages", place, fact, "never", setting))
    for mount in (m for m in layout.mounts if m.kind == DMEMFS):
        result += _mount(layout, mount, host, pool)
    return result


def _pool(layout: Layout, pool: dict[str, Any], path: str) -> list[Expectation]:
    mine = [r for r in layout.reservations if r.mechanism == NAME]
    total = sum(r.range.size for r in mine)
    registered = pool["registered"]
    fact = f"the dmem pool holds {approximate_size(registered)}"
    ending = (
        ": it is empty, and a program that touches a file of it never gets on" if not registered else None
    )
    return [
        judge(
            SUBJECT, "pool", path, fact, format_size(total), approximate_size(registered), registered == total, ending
        )
    ]  # fmt: skip


def _mount(layout: Layout, mount: Mount, host: Host, pool: dict[str, Any] | None) -> list[Expectation]:
    path = f"pools.{mount.pool}.mount"
    name = f"mount {mount.path}"
    found = next((m for m in reversed(section(host, "mounts")) if m["path"] == mount.path), None)
    if found is None or found["kind"] != DMEMFS:
        fact = f"no dmemfs is mounted at {mount.path}"
        ending = f"; 'systemctl status {mount.unit}' tells why"
        kind = found["kind"] if found else "nothing"
        return [judge(SUBJECT, name, path, fact, DMEMFS, kind, False, ending)]
    facts = [
        ("owner", mount.owner, found["owner"]),
        ("group", mount.group, found["group"]),
        ("mode", mount.mode, found["mode"]),
    ]
    if pool is not None:
        facts.insert(0, ("page size", format_size(mount.page_size), format_size(pool["page_size"])))
    result = [
        compare(SUBJECT, f"{name} {what}", path, f"{mount.path} has the {what} {measured}", wanted, measured)
        for what, wanted, measured in facts
    ]
    return result if pool is None else [*result, *_nodes(layout, mount, pool)]


def _nodes(layout: Layout, mount: Mount, pool: dict[str, Any]) -> list[Expectation]:
    """What mounted files can have on each node (its total_dpages)."""
    wanted: dict[int, int] = {}
    for r in layout.reservations:
        if r.mechanism == NAME:
            whole = r.range.align_inward(mount.page_size).size
            wanted[r.node] = wanted.get(r.node, 0) + whole
    result = []
    for node, size in sorted(wanted.items()):
        got = pool["pages"].get(str(node), 0) * pool["page_size"]
        fact = f"node {node} has {format_size(got)} for files of {mount.path}"
        place = f"pools.{mount.pool}.nodes.{node}"
        result.append(
            compare(SUBJECT, f"pages on node {node}", place, fact, format_size(size), format_size(got))
        )
    return result
