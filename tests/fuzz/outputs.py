# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever a host says of itself: what is made of a plan for it stays within what is ours and what the plan names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

from ansible_collections.carveout.memory.plugins.module_utils._dax.udev import render_rules
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host.text import is_printable
from ansible_collections.carveout.memory.plugins.module_utils._host_files import expected_files, mount_texts
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range, RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._tenant_units import drop_ins
from ansible_collections.carveout.memory.plugins.module_utils._units import memparse
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.junit import report_junit
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.metrics import host_metrics
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.page import report_page
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.record import Record
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.summary import report_text
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_svg import layout_svg
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.tenant_text import tenants_text

_SIZE = r"[1-9][0-9]{0,19}[KMGTPE]?"
_START = rf"(?:0|{_SIZE})"
#: Every argument that a layout can have, and the ranges that those of ranges take.
ARGUMENTS = re.compile(
    rf"carveout\.layout=[0-9a-f]{{16}}|memmap=1G%0-77\+78|nokaslr|numa=nohmat|dax_hmem\.region_idle=1"
    rf"|memmap=(?P<size>{_SIZE})(?:%(?P<start>{_START})-1\+(?:2|0xefffffff)|!(?P<base>{_START}))"
    rf"|hugepagesz=(?:2M|1G)|hugepages=(?:[0-9]+|[0-9]+:[0-9]+(?:,[0-9]+:[0-9]+)*)|hugetlb_free_vmemmap=on"
    rf"|dmem=!?{_SIZE}(?:@{_START})?(?::{_SIZE})?|transparent_hugepage=never"
)
#: Every path that a layout can have a host write.
PATHS = re.compile(
    r"/usr/lib/carveout/carveout-[0-9.]+\.pyz|/usr/sbin/carveout|/etc/carveout/(?:committed|previous|verified)|/etc/carveout/layouts/[0-9a-f]{16}\.json"
    r"|/etc/systemd/system/(?:carveout-dax\.service|carveout\.target|carveout\.target\.d/mounts\.conf"
    r"|carveout-dmemfs\.service|carveout-dmemfs-owner\.service|multi-user\.target\.wants/carveout\.target"
    r"|[A-Za-z0-9_.:\\-]+\.mount|[A-Za-z0-9][A-Za-z0-9_.:@-]*\.service\.d/50-carveout\.conf)"
)


def wrong(plan_data: Any, host_data: Any, layout_data: Any) -> Iterator[str]:
    """What a layout has that neither the plan nor the host's firmware gives it."""
    plan, host, layout = validated_plan(plan_data), host_from_json(host_data), Layout.from_json(layout_data)
    for argument in layout.kernel_arguments:
        if not ARGUMENTS.fullmatch(argument):
            yield f"the argument {argument!r} is of no form of ours"
    policy = plan.policy
    for argument, allowed in (
        ("nokaslr", policy.kaslr == "allow-disable"),
        ("numa=nohmat", policy.ignore_hmat),
        ("transparent_hugepage=never", policy.transparent_huge_pages == "never"),
        ("hugetlb_free_vmemmap=on", any(pool.optimize_vmemmap for pool in plan.pools)),
    ):
        if argument in layout.arguments and not allowed:
            yield f"the plan does not allow {argument}"
    yield from _wrong_ranges(host, layout)
    yield from _wrong_access(plan, layout)
    for path in expected_files("0" * 64, layout, layout.id):
        if not PATHS.fullmatch(path) or "/../" in path:
            yield f"the path {path!r} is none of ours"
    for path, text in {**drop_ins(layout), **mount_texts(layout), "udev": render_rules(layout)}.items():
        if not is_printable(text) or not text.isascii():
            yield f"characters that do not belong there in {path}"
    for link in re.findall(r'SYMLINK\+="([^"]*)"', render_rules(layout)):
        if not re.fullmatch(r"carveout/[A-Za-z][A-Za-z0-9_.-]*", link):
            yield f"the link {link!r}"
    yield from _wrong_reports(host, layout)


def _wrong_ranges(host: Host, layout: Layout) -> Iterator[str]:
    carved = [r for r in layout.reservations if not r.existing]
    for reservation in carved:
        if not host.usable.contains(reservation.range):
            yield f"{reservation} is no RAM of the firmware's"
        if not host.node_span(reservation.node).contains(reservation.range):
            yield f"{reservation} is not on its node"
    told = RangeSet()
    for match in filter(None, map(ARGUMENTS.fullmatch, layout.kernel_arguments)):
        if match["size"]:
            start, size = (memparse(match[key])[0] for key in ("start" if match["start"] else "base", "size"))
            told = told.union([Range(start, start + size)])
    if told != RangeSet(r.range for r in carved if r.mechanism != "dmemfs"):
        yield f"the arguments take {told}, the reservations are {carved}"


def _wrong_access(plan: Plan, layout: Layout) -> Iterator[str]:
    """Devices and mounts are the plan's, with its owners, modes and services."""
    wanted = {
        (d.name, pool.name, d.owner, d.group, d.mode, tuple(d.units))
        for pool in plan.pools
        for d in pool.devices
    }
    found = {(d.name, d.pool, d.owner, d.group, d.mode, tuple(d.units)) for d in layout.devices}
    if found != wanted:
        yield f"devices are {found ^ wanted}"
    sources = plan.source["pools"]
    places = {m["path"]: m for pool in sources.values() for m in pool.get("mounts", [])}
    for mount in layout.mounts:
        place = places.get(mount.path)
        if place is None or (mount.owner, mount.mode) != (
            place.get("owner", "root"),
            place.get("mode", "0755"),
        ):
            yield f"{mount} is not the plan's"
    if layout.plan != plan.source:
        yield "the layout is of another plan"


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.found.update(f"{name}=" for name, _ in attrs)


_TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th", "td", "a", "code", "ul",
    "li", "img", "lang=", "charset=", "http-equiv=", "content=", "name=", "href=", "class=", "id=", "alt=", "src=",
}  # fmt: skip


def _wrong_reports(host: Host, layout: Layout) -> Iterator[str]:
    said = f"{host.cmdline} {' '.join(host.state.get('problems', []))}"
    record = Record("host", False, (said,), (), json.loads(json.dumps(layout.to_json())), host_to_json(host))
    page = "".join(report_page(["host"], lambda _: record))
    odd = _Tags(page).found - _TAGS
    if odd:
        yield f"the page has {odd}"
    for text in (layout_svg(host, layout), report_junit([record])):
        ElementTree.fromstring(text)
    for text in (
        page,
        report_junit([record]),
        report_text([record]),
        host_metrics(record),
        tenants_text(layout),
    ):
        if not is_printable(text):
            yield f"control characters: {text[:300]!r}"
