# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which DAX regions real kernels make of soft-reserved ranges, with and without an HMAT, against the model.

The firmware's tables are made here and handed to a machine that has none: several ranges of one node, holes and
damaged tables take that.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._host.acpi import parse_srat
from ansible_collections.carveout.memory.plugins.module_utils._host.hmat import hmat_targets
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._host.nodes import node_ranges, one_node
from ansible_collections.carveout.memory.plugins.module_utils._model.dax_regions import dax_regions
from ansible_collections.carveout.memory.plugins.module_utils._model.e820 import apply_arguments
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import read_plan

from . import packages
from .boot import boot
from .machine import GIB, MIB, Machine
from .observation import Observation

#: RAM of every machine: up to 3 GiB, and from 4 to 10 GiB.
_RAM = 9 * GIB
_LOW = ((0, 0, 640 << 10), (0, MIB, 3 * GIB))
#: Two nodes that meet at 6 GiB.
TWO = (*_LOW, (0, 4 * GIB, 6 * GIB), (1, 6 * GIB, 10 * GIB))
_SOFT = "-1+0xefffffff"
#: With the regions left idle, as Carveout has them.
_MODULES = ("device_dax", "dax_hmem region_idle=1")

#: Proximity domains of memory, each with the domain of its processors, as firmware lists them.
_PLAIN_HMAT = ((0, 0), (1, 0))


@dataclass(frozen=True)
class Tables:
    """SRAT memory (domain, start, end), and the HMAT's domains (memory, processors or None); None: no HMAT."""

    srat: tuple[tuple[int, int, int], ...] = TWO
    hmat: tuple[tuple[int, int | None], ...] | None = _PLAIN_HMAT
    revision: int = 2
    more: bytes = b""
    """structures that follow in the HMAT"""


@dataclass(frozen=True)
class Case:
    name: str
    cmdline: str
    tables: Tables = field(default_factory=Tables)


def item(start: float, end: float) -> str:
    """``memmap=`` that soft-reserves RAM between two places in GiB."""
    low, high = int(start * GIB), int(end * GIB)
    return f"memmap={(high - low) >> 10}K%{low >> 10}K{_SOFT}"


def _srat(ranges: Iterable[tuple[int, int, int]]) -> bytes:
    processor = struct.pack("<BBBBIB3sI", 0, 16, 0, 0, 1, 0, bytes(3), 0)
    memory = b"".join(
        struct.pack("<BBIHQQIIQ", 1, 40, domain, 0, start, end - start, 0, 1, 0)
        for domain, start, end in ranges
    )
    return _table(b"SRAT", 3, struct.pack("<IQ", 1, 0) + processor + memory)


def _hmat(tables: Tables) -> bytes:
    body = bytes(4)
    for memory, processors in tables.hmat or ():
        flags = (2 if tables.revision == 1 else 0) | (0 if processors is None else 1)
        body += struct.pack("<HHIHHIIIQQ", 0, 0, 40, flags, 0, processors or 0, memory, 0, 0, 0)
    return _table(b"HMAT", tables.revision, body + tables.more)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    head = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), revision, 0, b"CRVOUT", b"CARVEOUT", 1, b"CRVO", 1
    )
    table = bytearray(head + body)
    table[9] = -sum(table) & 0xFF
    return bytes(table)


def cases() -> Iterator[Case]:
    """Every way in which items, SRAT ranges and an HMAT can meet."""
    items: Mapping[str, str] = {
        "one item in a node": item(7, 8),
        "two items apart": f"{item(6.5, 7)} {item(8, 9)}",
        "two items that touch": f"{item(7, 8)} {item(8, 9)}",
        "one item fills the node": item(6, 10),
        "two items fill the node": f"{item(6, 8)} {item(8, 10)}",
        "one item over two nodes": item(5, 10),
        "one item over a border": item(5.5, 6.5),
        "both nodes filled": f"{item(4, 6)} {item(6, 10)}",
        "the upper range of node 0": item(4, 6),
        "an item on each node": f"{item(5, 6)} {item(9, 10)}",
        "start not on 2 MiB": "memmap=1023M%6145M" + _SOFT,
        "end not on 2 MiB": "memmap=1023M%7G" + _SOFT,
        "reserved in the middle": f"memmap=16M$7G {item(6, 10)}",
        "nothing in the middle": f"memmap=16M%7G {item(6, 10)}",
        "persistent memory in the node": f"memmap=1G!9G {item(6, 9)}",
        "RAM limited": f"{item(6, 8)} mem=8G",
        "below 4 GiB": item(1, 2),
    }
    for name, cmdline in items.items():
        yield Case(f"no HMAT: {name}", cmdline, Tables(hmat=None))
        yield Case(f"HMAT: {name}", cmdline)
    two, fills = f"{item(7, 8)} {item(8, 9)}", item(6, 10)
    yield Case("HMAT: numa=nohmat", f"{two} numa=nohmat")
    yield Case("HMAT: numa=noacpi", f"{two} numa=noacpi")
    yield Case("HMAT: numa=off", f"{two} numa=off")
    yield Case("HMAT: device_hmem.disable=1", f"{two} device_hmem.disable=1")
    yield Case("no HMAT: device_hmem.disable=1", f"{two} device_hmem.disable=1", Tables(hmat=None))
    yield Case(
        "no HMAT: device-hmem.disable=0",
        f"{two} device-hmem.disable device-hmem.disable=0",
        Tables(hmat=None),
    )
    split_node = (*TWO[:-1], (1, 6 * GIB, 7 * GIB), (1, 7 * GIB, 8 * GIB), (1, 8 * GIB, 10 * GIB))
    for name, cmdline in {
        "one filled": item(7, 8),
        "one item over all": fills,
        "an item over one and a half": item(6, 7.5),
        "each its item": f"{item(6, 7)} {item(7, 8)} {item(8, 10)}",
        "halves across": f"{item(6, 7.5)} {item(7.5, 10)}",
    }.items():
        yield Case(f"HMAT, three ranges: {name}", cmdline, Tables(srat=split_node))
    gap = (*TWO[:-1], (1, 6 * GIB, 8 * GIB), (1, 8 * GIB, 12 * GIB))
    yield Case("HMAT, range past the RAM: filled", item(8, 10), Tables(srat=gap))
    yield Case("HMAT, ranges twice: filled", fills, Tables(srat=(*TWO, TWO[-1])))
    yield Case("HMAT, ranges overlap", f"{item(6, 7)}", Tables(srat=(*TWO, (1, 6 * GIB, 7 * GIB))))
    odd = (*TWO[:-2], (0, 4 * GIB, 6 * GIB + MIB), (1, 6 * GIB + MIB, 10 * GIB))
    yield Case("HMAT, nodes meet off 2 MiB: filled", f"memmap=4095M%6145M{_SOFT}", Tables(srat=odd))
    yield Case("no HMAT, nodes meet off 2 MiB: over both", item(6, 10), Tables(srat=odd, hmat=None))
    reversed_domains = (*((1, *r[1:]) for r in _LOW), (1, 4 * GIB, 6 * GIB), (0, 6 * GIB, 10 * GIB))
    yield Case("HMAT, domains not in order", fills, Tables(srat=reversed_domains))
    lost = (*_LOW, (0, 4 * GIB, 6 * GIB), (1, 6 * GIB, 9 * GIB))
    yield Case("HMAT, SRAT without the last GiB: filled", item(6, 9), Tables(srat=lost))
    locality = struct.pack("<HHIBBBBIIIQ", 1, 0, 32 + 4 + 8 + 4, 0, 0, 0, 0, 1, 2, 0, 1000)
    locality += struct.pack("<III", 0, 0, 1) + struct.pack("<HH", 10, 20)
    short = bytearray(locality)
    short[4:8] = struct.pack("<I", 40)
    for name, tables in {
        "revision 1": Tables(revision=1),
        "revision 3": Tables(revision=3),
        "no structures": Tables(hmat=()),
        "a domain without memory": Tables(hmat=((0, 0), (7, 0))),
        "processors of no domain": Tables(hmat=((0, 0), (1, 9))),
        "no processors": Tables(hmat=((0, None), (1, None))),
        "latencies": Tables(more=locality),
        "latencies too short": Tables(more=bytes(short)),
        "an unknown structure": Tables(more=struct.pack("<HHI", 9, 0, 16) + bytes(8)),
        "a structure of no length": Tables(more=bytes(16)),
        "a cache too short": Tables(more=struct.pack("<HHI", 2, 0, 16) + bytes(8)),
    }.items():
        yield Case(f"HMAT, {name}", two, tables)


def observe(series: str, case: Case) -> dict[str, Any]:
    """Boot a case; the row says what the kernel was given and what it made of it."""
    with tempfile.TemporaryDirectory(prefix="carveout-tables-") as folder:
        extra: list[str] = []
        tables = [("srat", _srat(case.tables.srat))]
        tables += [("hmat", _hmat(case.tables))] if case.tables.hmat is not None else []
        for name, data in tables:
            path = Path(folder, name)
            path.write_bytes(data)
            extra += ["-acpitable", f"file={path}"]
        machine = Machine((_RAM,), srat=False, extra=tuple(extra))
        seen = boot(packages.kernel(series), f"nokaslr {case.cmdline}", machine, modules=_MODULES)
    if not seen.booted:
        raise RuntimeError(f"{series}, {case.name}: {seen.reason}\n{seen.tail}")
    return {
        "case": case.name,
        "kernel": seen.release,
        "arguments": case.cmdline,
        "firmware_map": [list(entry) for entry in seen.firmware_map],
        "kernel_map": [list(entry) for entry in seen.kernel_map],
        "srat": seen.tables["SRAT"].hex(),
        "hmat": seen.tables["HMAT"].hex() if "HMAT" in seen.tables else None,
        "regions": _regions(seen),
        "windows": [[w.start, w.end] for w in seen.iomem if not w.depth and w.name.startswith("PCI Bus")],
        "failed_probes": sum("failed with error -12" in line for line in seen.dmesg),
    }


def _regions(seen: Observation) -> list[list[int]]:
    """``[start, end, node]`` of the regions with a driver. An empty device 0 tells where its region starts, too."""
    found = []
    for region in seen.dax_regions:
        number = seen.files[f"{region.path}/dax_region/id"].strip()
        device = f"/sys/bus/dax/devices/dax{number}.0"
        start = int(seen.files[f"{device}/resource"], 0)
        found.append([start, start + region.size, int(seen.files.get(f"{device}/target_node", "-1"))])
    return sorted(found)


def host_of(row: Mapping[str, Any]) -> Host:
    """The host of a row as the project's readers give it."""
    firmware_map = tuple(MapEntry(*entry) for entry in row["firmware_map"])
    srat = bytes.fromhex(row["srat"])
    hmat = bytes.fromhex(row["hmat"]) if row["hmat"] else None
    affinity = [NodeRange(a.node, a.start, a.end) for a in parse_srat(srat)]
    targets = () if hmat is None else hmat_targets(hmat, srat)
    return Host(
        architecture="x86_64",
        firmware_map=firmware_map,
        node_ranges=node_ranges(affinity, firmware_map) if affinity else one_node(firmware_map),
        hmat=bool(targets),
        firmware_boot="bios",
        kernel_running=row["kernel"],
        kernel_default="",
        kernel_config={},
        cmdline=row["arguments"],
        boot_arguments=None,
        foreign=(),
        committed=None,
        layouts={},
        state={"iomem": [[*window, "PCI Bus 0000:00", 0] for window in row.get("windows", [])]},
        hmat_targets=targets,
    )


def predicted(row: Mapping[str, Any]) -> list[list[int]]:
    """The regions of a row as the model has them."""
    host, tokens = host_of(row), split(row["arguments"])
    entries = apply_arguments(host.firmware_map, tokens, row["kernel"]).entries
    return [list(region) for region in dax_regions(entries, host, tokens, row["kernel"]).regions]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m tests.kernel dax``."""
    series = list(packages.pins()["kernels"])
    parser.add_argument("--kernel", action="append", metavar="SERIES", choices=series, help=", ".join(series))
    parser.add_argument("--only", default="", help="cases whose names match this (regular expression)")
    parser.add_argument("--record", type=Path, help="write what was seen to this file")
    parser.add_argument("--plans", action="store_true", help="boot plans for hosts with an HMAT instead")


def run(options: argparse.Namespace) -> int:
    """Boot the cases: 0 where every kernel does what the model says."""
    kernels = options.kernel or packages.pins()["default"]
    if options.plans:
        return _run_plans(kernels)
    rows: list[dict[str, Any]] = []
    differing = 0
    for case in cases():
        if not re.search(options.only, case.name):
            continue
        for series in kernels:
            row = observe(series, case)
            rows.append(row)
            wanted = predicted(row)
            same = wanted == row["regions"]
            differing += not same
            print(f"{'same ' if same else 'OTHER'} {series:5} {case.name}", flush=True)
            if not same:
                print(
                    f"      the kernel: {_words(row['regions'])}\n      the model:  {_words(wanted)}",
                    flush=True,
                )
        if options.record:  # case by case: a run takes long
            text = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
            options.record.write_text(f"[\n{text}\n]\n", encoding="utf-8")
    print(f"{len(rows)} boots, {differing} with other regions than the model's")
    return 1 if differing or not rows else 0


#: Plans for hosts with an HMAT: they come out as planned, with ``numa=nohmat`` where the regions would be others.
PLANS: Mapping[str, Mapping[str, Any]] = {
    "two pools on a node": {"a": {"nodes": {"1": "1GiB"}}, "b": {"nodes": {"1": "512MiB"}}},
    "a pool on both nodes": {"a": {"nodes": {"0": "1GiB", "1": "2GiB"}}},
    "a whole node": {"a": {"nodes": {"1": "rest"}}},
    "a whole node and a part": {"a": {"nodes": {"1": "rest"}}, "b": {"nodes": {"0": "1GiB"}}},
}


def planned(series: str, pools: Mapping[str, Any]) -> tuple[list[list[int]], dict[str, Any]]:
    """(the reservations of a plan for a host with an HMAT, what a kernel made of its arguments)."""
    tables = Tables()
    bare = {
        "firmware_map": [[0, 640 << 10, 1], [MIB, 3 * GIB, 1], [4 * GIB, 10 * GIB, 1]],
        "srat": _srat(tables.srat).hex(),
        "hmat": _hmat(tables).hex(),
        "kernel": packages.kernel(series).release,
        "arguments": "nokaslr",
    }
    plan = {
        "kernel": {"memory": {"0": "1GiB"}},
        "pools": {name: {"mechanism": "dax", **pool} for name, pool in pools.items()},
        "policy": {"ignore_hmat": True},
    }
    layout = make_layout(read_plan(plan), host_of(bare))
    wanted = [[r.start, r.end, r.node] for r in layout.reservations]
    row = observe(series, Case("plan", " ".join(layout.arguments), tables))
    return sorted(wanted), row


def _run_plans(kernels: Sequence[str]) -> int:
    differing = 0
    for name, pools in PLANS.items():
        for series in kernels:
            wanted, row = planned(series, pools)
            differing += wanted != row["regions"]
            print(
                f"{'same ' if wanted == row['regions'] else 'OTHER'} {series:5} {name}: {row['arguments']}",
                flush=True,
            )
    print(f"{len(PLANS) * len(kernels)} boots, {differing} with other regions than planned")
    return 1 if differing else 0


def _words(regions: Iterable[Sequence[int]]) -> str:
    return ", ".join(f"[{start:#x}, {end:#x}) on node {node}" for start, end, node in regions) or "none"
