# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What changes on a host that goes from one layout to another, and whether that takes a reboot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._arguments import carries, split
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import SYSTEM_RAM, Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._mechanisms import reserved
from ansible_collections.carveout.memory.plugins.module_utils._mounts import Mount
from ansible_collections.carveout.memory.plugins.module_utils._units import format_size

#: From what a tenant notices most to nothing at all.
FIRST, REBOOT, LIVE, RECORD, SAME = "first", "reboot", "live", "record", "same"
KINDS = (FIRST, REBOOT, LIVE, RECORD, SAME)


@dataclass(frozen=True)
class Amounts:
    """Of one layout, bytes: ``tenants`` have them, ``saved`` are struct pages given back.

    ``guests`` of a given size fit into what tenants have, ``more`` into what is given back.
    """

    tenants: int = 0
    saved: int = 0
    guests: int = 0
    more: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.tenants + other.tenants,
            self.saved + other.saved,
            self.guests + other.guests,
            self.more + other.more,
        )

    def to_json(self) -> dict[str, int]:
        return {
            "tenants": self.tenants,
            "saved": self.saved,
            "guests": self.guests,
            "more_guests": self.more,
        }


@dataclass(frozen=True)
class Change:
    """``kind`` is one of :data:`KINDS`; the texts are for people, one for each thing that changes.

    ``reason`` says why a host with unchanged arguments reboots all the same.
    """

    kind: str
    previous: str | None
    before: Amounts
    after: Amounts
    pools: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    removed_arguments: tuple[str, ...] = ()
    added_arguments: tuple[str, ...] = ()
    reason: str = ""

    @property
    def reboots(self) -> bool:
        """A layout without arguments needs none, be it the first."""
        return bool(self.reason or self.removed_arguments or self.added_arguments)

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it, the cause of a reboot last."""
        found = Differences(
            self.pools, self.devices, self.mounts, self.removed_arguments, self.added_arguments
        )
        return (*found.lines, *filter(None, [self.reason]))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "previous": self.previous,
            "reboot": self.reboots,
            "pools": list(self.pools),
            "devices": list(self.devices),
            "mounts": list(self.mounts),
            "arguments": {"removed": list(self.removed_arguments), "added": list(self.added_arguments)},
            "reason": self.reason,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


@dataclass(frozen=True)
class Differences:
    """Between two layouts; the texts are for people, one for each thing."""

    pools: tuple[str, ...]
    devices: tuple[str, ...]
    mounts: tuple[str, ...]
    removed_arguments: tuple[str, ...]
    added_arguments: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        arguments = [f"- {argument}" for argument in self.removed_arguments]
        arguments += [f"+ {argument}" for argument in self.added_arguments]
        return (*self.pools, *self.devices, *self.mounts, *arguments)


def differences(previous: Layout | None, layout: Layout) -> Differences:
    """From ``previous``, None where there is none, to ``layout``."""
    old, new = Counter(previous.arguments if previous else ()), Counter(layout.arguments)
    return Differences(
        _pools(previous, layout),
        _items("device", _devices(previous), _devices(layout)),
        _items("mount", _mounts(previous), _mounts(layout)),
        tuple((old - new).elements()),
        tuple((new - old).elements()),
    )


def facts(layout: Layout) -> dict[str, Any]:
    """All that :func:`differences` compares, for JSON: equal where there are none."""
    shares = [[*key, *sizes] for key, sizes in sorted(_shares(layout).items())]
    return {
        "pools": shares,
        "devices": _devices(layout),
        "mounts": _mounts(layout),
        "arguments": sorted(layout.arguments),
    }


def disturbs(previous: Layout | None, layout: Layout) -> bool:
    """Whether a device or mount that tenants may have goes, moves, or is another; a reboot is not looked at."""
    old_devices, new_devices = _devices(previous), _devices(layout)
    old_mounts, new_mounts = _mounts(previous), _mounts(layout)
    words = ("size", "places", "align", "use", "namespace", "kind", "pool")
    pairs = [(old_devices, new_devices), (old_mounts, new_mounts)]
    return any(
        name not in new or any(facts.get(word) != new[name].get(word) for word in words)
        for old, new in pairs
        for name, facts in old.items()
    )


def change(host: Host, previous: Layout | None, layout: Layout, guest: int) -> Change:
    """From ``previous``, None where nothing is committed, to ``layout``; ``guest`` is a guest's size in bytes."""
    found = differences(previous, layout)
    removed, added = found.removed_arguments, found.added_arguments
    reason = ""
    if not removed and not added:
        if previous and previous.arguments != layout.arguments:
            reason = "the kernel arguments change their order"
        elif previous and not _runs(host, previous):
            reason = f"it does not run what is committed on it, the layout {previous.id}"
    pools, devices, mounts = found.pools, found.devices, found.mounts
    if previous is None:
        kind = FIRST
    elif removed or added or reason:
        kind = REBOOT
    elif pools or devices or mounts:
        kind = LIVE
    else:
        kind = SAME if previous.id == layout.id else RECORD
    return Change(
        kind,
        previous.id if previous else None,
        amounts(previous, guest) if previous else Amounts(),
        amounts(layout, guest),
        pools,
        devices,
        mounts,
        removed,
        added,
        reason,
    )


def _runs(host: Host, committed: Layout) -> bool:
    """False only where the snapshot was taken of a host that should run the layout and does not."""
    return host.committed != committed.id or booted_with(host, committed)


def booted_with(host: Host, layout: Layout) -> bool:
    """Whether the kernel that runs has the layout's arguments."""
    stored = [[str(a) for a in known.get("kernel_arguments", [])] for known in host.layouts.values()]
    return carries(split(host.cmdline), layout.kernel_arguments, stored)


def amounts(layout: Layout, guest: int) -> Amounts:
    """Pools of memory that nobody touches have nothing for tenants, nor have devices that the kernel has back."""
    returned = [d for d in layout.devices if d.use == SYSTEM_RAM]
    parts = [pages.size for pages in layout.hugepages]
    for reservation in layout.reservations:
        if reservation.mechanism != reserved.NAME:
            back = sum(
                d.size for d in returned if all(reservation.range.contains(extent) for extent in d.extents)
            )
            parts.append(reservation.range.size - back)
    saved = layout.memory.saved
    return Amounts(sum(parts), saved, sum(part // guest for part in parts), max(0, saved) // guest)


def _pools(previous: Layout | None, layout: Layout) -> tuple[str, ...]:
    old, new = _shares(previous), _shares(layout)
    lines = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            pool, mechanism, node = key
            steps = " -> ".join(format_size(sum(shares.get(key, ()))) for shares in (old, new))
            moved = sum(old.get(key, ())) == sum(new.get(key, ()))
            lines.append(
                f"pool {pool} ({mechanism}) node {node}: {'other places' if moved else steps}"
                if key in old and key in new
                else f"{'+' if key in new else '-'} pool {pool} ({mechanism}) node {node}: "
                f"{format_size(sum((new if key in new else old)[key]))}"
            )
    return tuple(lines)


def _shares(layout: Layout | None) -> dict[tuple[str, str, int], tuple[int, ...]]:
    """Sizes by pool, mechanism and node, with a sign for where they lie."""
    found: dict[tuple[str, str, int], list[int]] = {}
    for r in layout.reservations if layout else ():
        found.setdefault((r.pool, r.mechanism, r.node), []).append(r.range.size)
    for h in layout.hugepages if layout else ():
        found.setdefault((h.pool, f"hugetlb {format_size(h.page_size)}", h.node), []).append(h.size)
    return {key: tuple(sizes) for key, sizes in found.items()}


def _devices(layout: Layout | None) -> dict[str, dict[str, str]]:
    return {device.name: _facts(device) for device in (layout.devices if layout else ())}


def _facts(device: Device) -> dict[str, str]:
    """What is told of a device, each by its word; the empty word is told without one."""
    return {
        "size": format_size(device.size),
        "node": str(device.node),
        "pool": device.pool,
        "places": " ".join(f"{extent.start:#x}-{extent.end:#x}" for extent in device.extents),
        "align": format_size(device.align),
        "owner": f"{device.owner}:{device.group} {device.mode}",
        "units": " ".join(device.units) or "none",
        "use": f"{device.use} {device.online}".strip(),
        "namespace": f"{device.namespace} {device.map}".strip() or "none",
    }


def _mounts(layout: Layout | None) -> dict[str, dict[str, str]]:
    return {mount.path: _mount_facts(mount) for mount in (layout.mounts if layout else ())}


def _mount_facts(mount: Mount) -> dict[str, str]:
    return {
        "size": format_size(mount.size),
        "pool": mount.pool,
        "kind": f"{mount.kind} of {format_size(mount.page_size)}",
        "owner": f"{mount.owner}:{mount.group} {mount.mode}",
    }


def _items(what: str, old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> tuple[str, ...]:
    lines = [f"- {what} {name}: {_short(old[name])}" for name in old if name not in new]
    for name, facts in new.items():
        if name not in old:
            lines.append(f"+ {what} {name}: {_short(facts)}")
        elif old[name] != facts:
            lines.append(f"{what} {name}: {', '.join(_steps(old[name], facts))}")
    return tuple(lines)


def _short(facts: dict[str, str]) -> str:
    return f"{facts['size']} of {facts['pool']}" + (f", node {facts['node']}" if "node" in facts else "")


def _steps(old: dict[str, str], new: dict[str, str]) -> Iterable[str]:
    for word, value in new.items():
        if old[word] == value:
            continue
        if word != "places":
            yield f"{word} {old[word]} -> {value}"
        elif old["size"] == new["size"] or old[word].partition("-")[0] != value.partition("-")[0]:
            # what only grows or shrinks at its end lies where it was
            yield "other places"
