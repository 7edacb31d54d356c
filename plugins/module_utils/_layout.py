# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The layout: the computed result for one host, and the only thing that later steps read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ._arguments import LAYOUT_ARGUMENT
from ._errors import InvalidInput
from ._host.model import RAM
from ._mounts import DMEMFS, HUGETLBFS, Mount, path_problem
from ._ranges import Range, RangeSet
from ._units import PAGE, U64

#: What a pool, device, owner or group may be called: nothing that a shell, a unit file, a udev
#: rule or a path could read as more than a name.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?")
MODE = re.compile(r"0[0-7]{3}")
#: The service that may open a device; its name becomes part of a path. No template: that is many units.
UNIT = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9][A-Za-z0-9_.:-]*(@[A-Za-z0-9_.:-]+)?\.service")
LAYOUT_ID = re.compile(r"[0-9a-f]{16}")
RELEASE = re.compile(r"[A-Za-z0-9_.+~-]{0,128}")
SCHEMA = 1
#: What a device is for: tenants that map it, or the kernel, which gets its memory back while it runs.
#: The mechanism whose devices are namespaces.
PMEM = "pmem"
DEVDAX, SYSTEM_RAM = "devdax", "system-ram"
#: How memory that the kernel gets back is onlined: for what it can move away again, for anything, or not at all.
ONLINE = ("movable", "kernel", "no")


@dataclass(frozen=True)
class Reservation:
    """One physical range on one node that a pool takes; ``align`` is what its devices need.

    ``existing``: the kernel has a DAX region there without our arguments.
    """

    pool: str
    mechanism: str
    node: int
    start: int
    end: int
    align: int
    existing: bool = False

    @property
    def range(self) -> Range:
        return Range(self.start, self.end)


@dataclass(frozen=True)
class Device:
    """A DAX device: extents (absolute, half-open) of one reservation, and who may open it.

    ``path`` is the place in the plan that asked for it (``pools.guests.devices[0]``). ``units`` are
    the systemd services that are let at it; where there is none, owner and mode alone decide. ``online`` is
    one of :data:`ONLINE` where ``use`` is :data:`SYSTEM_RAM`, else empty. ``namespace`` ("devdax" or "fsdax") and
    ``map`` ("mem" or "dev") tell of a namespace of persistent memory, which takes all of its reservation and offers
    the extent; they are empty for others.
    """

    name: str
    pool: str
    node: int
    align: int
    extents: tuple[Range, ...]
    path: str
    owner: str = "root"
    group: str = "root"
    mode: str = "0600"
    units: tuple[str, ...] = ()
    use: str = DEVDAX
    online: str = ""
    namespace: str = ""
    map: str = ""

    @property
    def size(self) -> int:
        return sum(extent.size for extent in self.extents)


@dataclass(frozen=True)
class HugePages:
    """``count`` pages of ``page_size`` bytes that the kernel makes on a node at boot, for a pool."""

    pool: str
    node: int
    page_size: int
    count: int

    @property
    def size(self) -> int:
        return self.page_size * self.count


@dataclass(frozen=True)
class Memory:
    """Bytes, for the host or one node.

    ``installed``: firmware-usable RAM. ``kernel_*``: RAM that the kernel manages without and with
    this layout. ``struct_pages_*``: what describes memory, device mappings included.
    ``saved``: struct pages given back.
    """

    installed: int = 0
    kernel_before: int = 0
    kernel_after: int = 0
    struct_pages_before: int = 0
    struct_pages_after: int = 0

    @property
    def saved(self) -> int:
        return self.struct_pages_before - self.struct_pages_after

    def to_json(self) -> dict[str, int]:
        return {
            "installed": self.installed,
            "kernel_before": self.kernel_before,
            "kernel_after": self.kernel_after,
            "struct_pages_before": self.struct_pages_before,
            "struct_pages_after": self.struct_pages_after,
            "saved": self.saved,
        }


@dataclass(frozen=True)
class LayoutWarning:
    code: str
    message: str


@dataclass(frozen=True)
class Layout:
    """See the module. ``plan`` is the normalised plan that it answers, ``kernel`` the release."""

    plan: Mapping[str, Any]
    kernel: str
    arguments: tuple[str, ...]
    reservations: tuple[Reservation, ...]
    devices: tuple[Device, ...]
    predicted_map: tuple[tuple[int, int, int], ...]
    memory: Memory
    memory_nodes: Mapping[int, Memory]
    warnings: tuple[LayoutWarning, ...] = ()
    hugepages: tuple[HugePages, ...] = ()
    mounts: tuple[Mount, ...] = ()

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "plan": self.plan,
            "kernel": self.kernel,
            "reservations": [
                {
                    "pool": r.pool, "mechanism": r.mechanism, "node": r.node,
                    "start": r.start, "end": r.end, "align": r.align,
                    **({"existing": True} if r.existing else {}),
                }
                for r in self.reservations
            ],
            "devices": [
                {
                    "name": d.name, "pool": d.pool, "node": d.node, "align": d.align,
                    "extents": [[e.start, e.end] for e in d.extents], "path": d.path,
                    "owner": d.owner, "group": d.group, "mode": d.mode,
                    # only where there are some: layouts of earlier versions keep their ID
                    **({"units": list(d.units)} if d.units else {}),
                    **({"use": d.use, "online": d.online} if d.use != DEVDAX else {}),
                    **({"namespace": {"mode": d.namespace, "map": d.map}} if d.namespace else {}),
                }
                for d in self.devices
            ],
            "hugepages": [
                {"pool": h.pool, "node": h.node, "page_size": h.page_size, "count": h.count}
                for h in self.hugepages
            ],
            "mounts": [
                {
                    "pool": m.pool, "kind": m.kind, "path": m.path, "unit": m.unit, "page_size": m.page_size,
                    "size": m.size, "owner": m.owner, "group": m.group, "mode": m.mode,
                }
                for m in self.mounts
            ],
            "predicted_map": [list(entry) for entry in self.predicted_map],
            "memory": {
                **self.memory.to_json(),
                "nodes": {str(n): m.to_json() for n, m in sorted(self.memory_nodes.items())},
            },
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
        }  # fmt: skip

    @property
    def managed_ram(self) -> RangeSet:
        """RAM that the kernel is predicted to manage: some mechanisms take theirs without changing the map."""
        ram = RangeSet((start, end) for start, end, kind in self.predicted_map if kind == RAM)
        return ram.subtract(r.range for r in self.reservations)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of SHA-256 over the content and the arguments without the ID."""
        content = dict(self._content(), kernel_arguments=list(self.arguments))
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        """What has to stand on the command line as one unbroken run: the ID, then the arguments."""
        return (f"{LAYOUT_ARGUMENT}={self.id}", *self.arguments) if self.arguments else ()

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kernel_arguments": list(self.kernel_arguments),
            **self._content(),
        }

    @classmethod
    def from_json(cls, data: Any) -> Layout:
        """Read and check a layout that comes from outside.

        Raises :class:`InvalidInput` where a field is missing, of the wrong type, or a name could
        be more than a name; where places make no sense (overlaps, a device outside of its pool); and
        where the ID does not match the content.
        """
        try:
            layout = _read(data)
            _check_places(layout)
            same = layout.id == _text(data["id"], LAYOUT_ID)
            derived = layout.to_json() == data
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            raise InvalidInput.of("layout", "layout-invalid", f"not a layout: {error!r}") from None
        if not same:
            raise InvalidInput.of(
                "layout.id",
                "layout-changed",
                f"the layout's content has the ID {layout.id}, but it says {data['id']!r}: it was edited",
            )
        if not derived:
            raise InvalidInput.of(
                "layout",
                "layout-changed",
                "parts of the layout do not follow from its content: it was edited",
            )
        return layout


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < U64:
        raise ValueError(f"{value!r} is not an address, size or node")
    return value


def _align(value: Any) -> int:
    if _number(value) < PAGE or value & (value - 1):
        raise ValueError(f"{value!r} is not an align")
    return int(value)


def _message(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 2000:
        raise ValueError("a warning is not plain text")
    return value


def _place(value: Any) -> str:
    problem = path_problem(value)
    if problem:
        raise ValueError(problem)
    return str(value)


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r} is not allowed here")
    return value


_ARGUMENT = re.compile(r"[A-Za-z0-9_.@!%,:+=-]{1,2047}")
_PLAN_PATH = re.compile(r"[A-Za-z0-9_.\[\]-]{0,200}")
_NODE = re.compile(r"0|[1-9][0-9]{0,3}")
_WORD = re.compile(r"[a-z0-9_-]{1,40}")
_KIND = re.compile(f"{HUGETLBFS}|{DMEMFS}")


def _use(device: Any) -> tuple[str, str]:
    """``use`` and ``online``; a layout says neither of a device for tenants."""
    if "use" not in device:
        return DEVDAX, ""
    if device["use"] != SYSTEM_RAM or device["online"] not in ONLINE:
        raise ValueError(f"{device['use']!r} is no use of a device, or it is not told how it is onlined")
    return SYSTEM_RAM, str(device["online"])


def _namespace(device: Any) -> tuple[str, str]:
    """``namespace`` and ``map``; a layout says neither of a device that is none."""
    if "namespace" not in device:
        return "", ""
    told = device["namespace"]
    if (
        told["mode"] not in ("devdax", "fsdax")
        or told["map"] not in ("mem", "dev")
        or len(device["extents"]) != 1
    ):
        raise ValueError(f"{told!r} is no namespace")
    return str(told["mode"]), str(told["map"])


def _range(pair: Any) -> Range:
    start, end = pair
    if _number(start) >= _number(end):
        raise ValueError(f"{pair!r} is not a range")
    return Range(start, end)


def _memory(data: Any) -> Memory:
    names = ("installed", "kernel_before", "kernel_after", "struct_pages_before", "struct_pages_after")
    return Memory(*(_number(data[name]) for name in names))


def _check_places(layout: Layout) -> None:
    for ranges in (
        [r.range for r in layout.reservations],
        [extent for device in layout.devices for extent in device.extents],
    ):
        if RangeSet(ranges).size != sum(r.size for r in ranges):
            raise ValueError("reservations or devices overlap")
    for device in layout.devices:
        homes = [r.range for r in layout.reservations if (r.pool, r.node) == (device.pool, device.node)]
        if not device.extents or not any(all(h.contains(e) for e in device.extents) for h in homes):
            raise ValueError(f"device {device.name} does not lie in one reservation of its pool")
        kinds = {r.mechanism for r in layout.reservations if r.pool == device.pool}
        if (kinds == {PMEM}) != bool(device.namespace):
            raise ValueError(f"device {device.name} is no device of its pool's mechanism")
    if len({device.name for device in layout.devices}) != len(layout.devices):
        raise ValueError("two devices have one name")
    if len({mount.path for mount in layout.mounts}) != len(layout.mounts):
        raise ValueError("two mounts have one place")


def _read(data: Any) -> Layout:
    if type(data["schema"]) is not int or data["schema"] != SCHEMA:
        raise ValueError(f"the format {data['schema']!r} is not known; this version reads {SCHEMA}")
    arguments = [_text(a, _ARGUMENT) for a in data["kernel_arguments"]]
    if arguments and not arguments[0].startswith(LAYOUT_ARGUMENT + "="):
        raise ValueError("kernel_arguments do not start with the layout's ID")
    if not isinstance(data["plan"], dict):
        raise ValueError("plan is not a mapping")
    return Layout(
        plan=data["plan"],
        kernel=_text(data["kernel"], RELEASE),
        arguments=tuple(arguments[1:]),
        reservations=tuple(
            Reservation(
                _text(r["pool"], NAME), _text(r["mechanism"], _WORD), _number(r["node"]),
                _range((r["start"], r["end"])).start, _number(r["end"]), _align(r["align"]),
                r.get("existing", False) is True,
            )
            for r in data["reservations"]
        ),
        devices=tuple(
            Device(
                _text(d["name"], NAME), _text(d["pool"], NAME), _number(d["node"]), _align(d["align"]),
                tuple(_range(e) for e in d["extents"]), _text(d["path"], _PLAN_PATH),
                _text(d["owner"], ACCOUNT), _text(d["group"], ACCOUNT), _text(d["mode"], MODE),
                tuple(_text(unit, UNIT) for unit in d.get("units", [])), *_use(d), *_namespace(d),
            )
            for d in data["devices"]
        ),
        predicted_map=tuple((*_range(e[:2]), _number(e[2])) for e in data["predicted_map"]),
        memory=_memory(data["memory"]),
        memory_nodes={int(_text(n, _NODE)): _memory(m) for n, m in data["memory"]["nodes"].items()},
        warnings=tuple(LayoutWarning(_text(w["code"], _WORD), _message(w["message"])) for w in data["warnings"]),
        hugepages=tuple(
            HugePages(_text(h["pool"], NAME), _number(h["node"]), _align(h["page_size"]), _number(h["count"]))
            for h in data["hugepages"]
        ),
        mounts=tuple(
            Mount(
                _text(m["pool"], NAME), _text(m["kind"], _KIND), _place(m["path"]), _align(m["page_size"]),
                _number(m["size"]), _text(m["owner"], ACCOUNT), _text(m["group"], ACCOUNT), _text(m["mode"], MODE),
            )
            for m in data["mounts"]
        ),
    )  # fmt: skip
