# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan as typed data, read from what the operator wrote.

Shape is checked by ``schemas/memory_plan.schema.json`` on the controller; here the values get their
meaning. Paths in messages name the place in the plan (``pools.guests.devices[0].size``).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import InvalidInput
from .._layout import DEVDAX
from .._ranges import Range
from .._units import GIB, KIB, MIB, PAGE, align_down, align_up, format_size
from .dmemfs_plan import DMEMFS, KernelSource, check_single, dmemfs_options
from .hugetlb_plan import HUGETLB, MountPlan, check_keys, check_places, hugetlb_options
from .pmem_plan import pmem_options
from .reading import REST as REST
from .reading import Amount as Amount
from .reading import Percent as Percent
from .reading import Reader, check_existing
from .use import check_pool_use, read_units, read_use
from .ways import CHOICES, spelled

#: The planner chooses (:mod:`.auto`).
AUTO = "auto"
MECHANISMS = ("dax", "reserved", "hugetlb", DMEMFS, "pmem", AUTO)
#: Page sizes that device-DAX can map with on x86_64 (drivers/dax/bus.c, dax_align_valid).
DAX_ALIGNS = (4 * KIB, 2 * MIB, GIB)
DEFAULT_ALIGN = 2 * MIB
#: No range of a DAX device is smaller or less aligned than this (drivers/dax/bus.c, alloc_is_aligned).
DAX_UNIT = 2 * MIB
_MAX_DEPTH = 20


@dataclass(frozen=True)
class DevicePlan:
    """A device as wanted: either ``size`` or ``extents`` (offsets from the reservation's start)."""

    path: str
    name: str
    node: int
    align: int
    size: Amount | None
    extents: tuple[Range, ...]
    owner: str
    group: str
    mode: str
    units: tuple[str, ...] = ()
    use: str = DEVDAX
    online: str = ""


@dataclass(frozen=True)
class PoolPlan:
    path: str
    name: str
    mechanism: str
    nodes: Mapping[int, Amount]
    aligns: Mapping[int, int]
    devices: tuple[DevicePlan, ...]
    #: Of 'hugetlb' and 'dmemfs' only: ``aligns`` are the page size there.
    mounts: tuple[MountPlan, ...] = ()
    optimize_vmemmap: bool = False
    #: Of 'pmem' only: how its namespaces are used, and where their struct pages are.
    namespace: str = ""
    map: str = ""
    #: Uses the DAX regions that the nodes have already: nothing is carved out.
    existing: bool = False
    #: Of 'dmemfs' only: the kernel that the plan wants to boot.
    kernel: KernelSource | None = None


@dataclass(frozen=True)
class Policy:
    kaslr: str = "keep"
    trial_boot: bool = False
    idle_foreign_dax: bool = False
    ignore_hmat: bool = False
    transparent_huge_pages: str = "keep"


@dataclass(frozen=True)
class Plan:
    """``kernel_memory`` by node; the key -1 is the default for every node."""

    kernel_memory: Mapping[int, Amount]
    pools: tuple[PoolPlan, ...]
    avoid: tuple[Range, ...]
    policy: Policy
    source: Mapping[str, Any]

    def keep_for_kernel(self, node: int) -> Amount:
        return self.kernel_memory.get(node, self.kernel_memory.get(-1, 0))


def normalise_keys(data: Any, path: str = "", depth: int = 0) -> Any:
    """Node numbers as decimal strings, so that ``0:`` and ``"0":`` are one key.

    Raises :class:`InvalidInput` where two keys become one, a key is neither text nor number, or the
    data is nested without end.
    """
    if depth > _MAX_DEPTH:
        raise InvalidInput.of("", "plan-too-deep", "nested too deeply for a plan")
    if isinstance(data, Mapping):
        result: dict[str, Any] = {}
        for key, value in data.items():
            here = f"{path}.{key}" if path else str(key)
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise InvalidInput.of(path, "key-invalid", f"the key {key!r} is neither a name nor a number")
            if str(key) in result:
                raise InvalidInput.of(here, "key-duplicate", "the key stands twice")
            result[str(key)] = normalise_keys(value, here, depth + 1)
        return result
    if isinstance(data, (list, tuple)):
        return [normalise_keys(value, f"{path}[{index}]", depth + 1) for index, value in enumerate(data)]
    if isinstance(data, str):
        # Ansible hands in text subclasses that carry tags; the layout's digest wants plain text.
        return str(data)
    return data


def read_plan(data: Mapping[str, Any]) -> Plan:
    """Read a plan whose shape was checked and whose keys are normalised.

    Raises :class:`InvalidInput` with every problem that can be seen without a host.
    """
    reader = Reader()
    kernel_memory = _kernel_memory(reader, data["kernel"]["memory"])
    pools = tuple(_pool(reader, name, pool) for name, pool in data["pools"].items())
    _unique_devices(reader, pools)
    check_single(reader, [(pool.path, pool.mechanism) for pool in pools])
    check_places(reader, [mount for pool in pools for mount in pool.mounts])
    avoid = []
    for index, entry in enumerate(data.get("avoid", [])):
        path = f"avoid[{index}]"
        start = reader.size(entry["start"], f"{path}.start")
        size = reader.size(entry["size"], f"{path}.size")
        if size == 0:
            reader.fail(f"{path}.size", "size-invalid", "a range to avoid needs a size")
        avoid.append(Range(start, start + size))
    policy = data.get("policy", {})
    if reader.problems:
        raise InvalidInput(reader.problems)
    return Plan(
        kernel_memory,
        pools,
        tuple(avoid),
        Policy(
            policy.get("kaslr", "keep"),
            bool(policy.get("trial_boot", False)),
            bool(policy.get("idle_foreign_dax", False)),
            bool(policy.get("ignore_hmat", False)),
            policy.get("transparent_huge_pages", "keep"),
        ),
        data,
    )


def _kernel_memory(reader: Reader, value: Any) -> dict[int, Amount]:
    if not isinstance(value, Mapping):
        return {-1: _kernel_amount(reader, value, "kernel.memory")}
    result: dict[int, Amount] = {}
    for key, amount in value.items():
        path = f"kernel.memory.{key}"
        result[reader.node(key, path)] = _kernel_amount(reader, amount, path)
    return result


def _kernel_amount(reader: Reader, value: Any, path: str) -> Amount:
    amount = reader.amount(value, path)
    if amount == REST:
        reader.fail(path, "size-invalid", "the kernel's share is a size or a percentage; 'rest' is for pools")
        return 0
    return amount


def _pool(reader: Reader, name: str, pool: Mapping[str, Any]) -> PoolPlan:
    path = f"pools.{name}"
    mechanism = pool["mechanism"]
    if mechanism == AUTO:
        return _auto_pool(reader, name, pool)
    reader.name(name, path)
    nodes: dict[int, Amount] = {}
    for key, value in pool["nodes"].items():
        nodes[reader.node(key, f"{path}.nodes.{key}")] = reader.amount(value, f"{path}.nodes.{key}")
    check_keys(reader, pool, path)
    namespace, place = pmem_options(reader, pool, nodes, path)
    if mechanism == HUGETLB:
        huge = hugetlb_options(reader, pool, nodes, path)
        pages = dict.fromkeys(nodes, huge.page_size)
        return PoolPlan(path, name, mechanism, nodes, pages, (), huge.mounts, huge.optimize_vmemmap)
    if mechanism == DMEMFS:
        files = dmemfs_options(reader, pool, nodes, path)
        pages = dict.fromkeys(nodes, files.page_size)
        return PoolPlan(path, name, mechanism, nodes, pages, (), files.mounts, kernel=files.kernel)
    existing = bool(pool.get("existing", False))
    if existing:
        check_existing(reader, mechanism, nodes, path)
    aligns = _aligns(reader, pool.get("align", DEFAULT_ALIGN), nodes, f"{path}.align")
    for node, amount in nodes.items():
        if isinstance(amount, int):
            unit = PAGE if mechanism == "reserved" else DAX_UNIT
            _check_multiple(reader, amount, aligns[node], unit, f"{path}.nodes.{node}", "the pool's align")
    devices = tuple(
        _device(reader, device, f"{path}.devices[{index}]", nodes, aligns, pool)
        for index, device in enumerate(pool.get("devices", []))
    )
    if devices and mechanism == "reserved":
        reader.fail(
            f"{path}.devices",
            "devices-not-possible",
            "a 'reserved' pool is left untouched and has no devices",
        )
    check_pool_use(reader.fail, pool, path)
    return PoolPlan(
        path, name, mechanism, nodes, aligns, devices, namespace=namespace, map=place, existing=existing
    )


def _auto_pool(reader: Reader, name: str, pool: Mapping[str, Any]) -> PoolPlan:
    """Read as each mechanism would: only what is wrong for all of them is wrong."""
    if "align" in pool and "page_size" in pool:
        message = "it is another word for align here; leave one of them out"
        reader.fail(f"pools.{name}.page_size", "key-of-others", message)
    if pool.get("existing"):
        message = "the regions that are there already are DAX regions; write mechanism: dax"
        reader.fail(f"pools.{name}.existing", "key-of-others", message)
    trials = []
    for way in CHOICES:
        trial = Reader()
        trials.append((trial.problems, _pool(trial, name, spelled(pool, way))))
    problems, read = min(trials, key=lambda trial: len(trial[0]))
    reader.problems += problems
    return replace(read, mechanism=AUTO)


def _aligns(reader: Reader, value: Any, nodes: Mapping[int, Amount], path: str) -> dict[int, int]:
    if not isinstance(value, Mapping):
        align = _align(reader, value, path)
        return dict.fromkeys(nodes, align)
    given = {
        reader.node(key, f"{path}.{key}"): _align(reader, v, f"{path}.{key}") for key, v in value.items()
    }
    for node in given:
        if node not in nodes:
            reader.fail(f"{path}.{node}", "node-unknown", f"the pool has no memory on node {node}")
    return {node: given.get(node, DEFAULT_ALIGN) for node in nodes}


def _align(reader: Reader, value: Any, path: str) -> int:
    align = reader.size(value, path)
    if align not in DAX_ALIGNS:
        reader.fail(path, "align-invalid", f"{value!r} is not a page size; use 4KiB, 2MiB or 1GiB")
        return DEFAULT_ALIGN
    return align


def _device(
    reader: Reader,
    device: Mapping[str, Any],
    path: str,
    nodes: Mapping[int, Amount],
    aligns: Mapping[int, int],
    pool: Mapping[str, Any],
) -> DevicePlan:
    name = device["name"]
    reader.name(name, f"{path}.name")
    node = device.get("node", next(iter(nodes)) if len(nodes) == 1 else None)
    if node is None:
        known = " or ".join(str(n) for n in nodes)
        reader.fail(f"{path}.node", "node-missing", f"the pool spans several nodes; say which one: {known}")
        node = next(iter(nodes))
    node = reader.node(node, f"{path}.node")
    if node not in nodes:
        known = ", ".join(str(n) for n in nodes)
        reader.fail(
            f"{path}.node", "node-unknown", f"the pool has no memory on node {node}; it has on: {known}"
        )
        node = next(iter(nodes))
    align = _align(reader, device["align"], f"{path}.align") if "align" in device else aligns[node]
    if align > aligns[node]:
        reader.fail(
            f"{path}.align",
            "align-invalid",
            f"{format_size(align)} is more than the pool's align of {format_size(aligns[node])}; raise that one",
        )
    size: Amount | None = None
    extents: tuple[Range, ...] = ()
    if "extents" in device:
        extents = _extents(reader, device["extents"], align, path)
    else:
        size = reader.amount(device["size"], f"{path}.size")
        if isinstance(size, int):
            _check_multiple(reader, size, align, DAX_UNIT, f"{path}.size", "the device's align")
    owner, group, mode = reader.access(device, path, "0600")
    return DevicePlan(
        path, name, node, align, size, extents,
        owner, group, mode,
        read_units(reader.fail, device.get("unit", []), mode, f"{path}.unit"),
        *read_use(reader.fail, device, pool, path),
    )  # fmt: skip


def _extents(reader: Reader, items: list[Mapping[str, Any]], align: int, path: str) -> tuple[Range, ...]:
    result: list[Range] = []
    for index, item in enumerate(items):
        here = f"{path}.extents[{index}]"
        offset = reader.size(item["offset"], f"{here}.offset")
        size = reader.size(item["size"], f"{here}.size")
        _check_multiple(reader, offset, align, DAX_UNIT, f"{here}.offset", "the device's align", zero=True)
        _check_multiple(reader, size, align, DAX_UNIT, f"{here}.size", "the device's align")
        extent = Range(offset, offset + size)
        if any(extent.overlaps(other) for other in result):
            reader.fail(here, "extents-overlap", "the extent overlaps another one of this device")
        result.append(extent)
    return tuple(result)


def _check_multiple(
    reader: Reader, value: int, align: int, unit: int, path: str, what: str, zero: bool = False
) -> None:
    """``unit`` is the least that the mechanism takes, whatever the align."""
    if unit > align:
        align, what = unit, "what the kernel can make devices of"
    if value == 0 and not zero:
        reader.fail(path, "size-invalid", "the size must be more than 0")
    elif value % align:
        lower, upper = align_down(value, align), align_up(value, align)
        near = f"{format_size(lower)} or {format_size(upper)}" if lower or zero else format_size(upper)
        reader.fail(
            path,
            "misaligned",
            f"{format_size(value)} is not a multiple of {what}, {format_size(align)}; nearest are {near}",
        )


def _unique_devices(reader: Reader, pools: tuple[PoolPlan, ...]) -> None:
    seen: dict[str, str] = {}
    for pool in pools:
        for device in pool.devices:
            if device.name in seen:
                reader.fail(
                    f"{device.path}.name",
                    "name-duplicate",
                    f"{device.name!r} is also the name of {seen[device.name]}; names are unique on a host",
                )
            else:
                seen[device.name] = device.path
        for node in {d.node for d in pool.devices}:
            rests = [d for d in pool.devices if d.node == node and d.size == REST]
            for extra in rests[1:]:
                message = f"{rests[0].path} takes the rest of node {node} already"
                reader.fail(f"{extra.path}.size", "rest-twice", message)
