# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proof that the guard keeps KASLR out of a carve far larger than its start: many boots with it, many without.

Without the guard KASLR takes the carve's size for a limit and may put the kernel inside; the kernel then takes its
image back as RAM, and the carve falls apart. With the guard that must never happen, without it it must be seen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._model import kaslr
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range

from . import packages
from .boot import boot
from .machine import GIB, Machine
from .observation import Observation

CARVE = Range(4 * GIB, 12 * GIB)
CARVE_ARGUMENT = "memmap=8G%4G-1+0xefffffff"
#: RAM is 0-3 GiB and 4-14 GiB. rdrand gives the decompressor real randomness.
MACHINE = Machine(nodes=(13 * GIB,), extra=("-cpu", "qemu64,+pdpe1gb,+rdrand"))
LINES = {"with the guard": f"{kaslr.GUARD} {CARVE_ARGUMENT}", "without the guard": CARVE_ARGUMENT}
_MODULES = ("device_dax", "dax_hmem region_idle=1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--boots", type=int, default=50, help="boots of each command line (default 50)")
    parser.add_argument(
        "--kernel",
        action="append",
        metavar="SERIES",
        help="a series of kernels.json; repeatable (default 6.12)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write counts and addresses as JSON; other series in it stay",
    )


def run(options: argparse.Namespace) -> int:
    """Boot, report, record; 0 where the guard held every time and its absence did harm, 2 without a kernel."""
    proven = True
    for series in options.kernel or ["6.12"]:
        try:
            kernel = packages.kernel(series)
        except (OSError, packages.PackageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        result: dict[str, Any] = {"release": kernel.release}
        for title, cmdline in LINES.items():
            seen = [_watched(boot(kernel, cmdline, MACHINE, modules=_MODULES)) for _ in range(options.boots)]
            expected = kaslr.verdict(split(cmdline), kernel.release, "bios", [CARVE]).verdict
            summary = {"command_line": cmdline, "predicted": expected, **summarise(seen)}
            result[title] = summary
            harmless = summary["booted"] == options.boots and not summary["inside"] and not summary["broken"]
            ok = harmless if expected == kaslr.AVOIDS else summary["inside"] > 0 and summary["broken"] > 0
            proven = proven and ok
            print(f"{kernel.release} {title}: {_words(summary)}{'' if ok else '  NOT PROVEN'}", flush=True)
        if options.record:
            _record(options.record, series, result)
    return 0 if proven else 1


def _watched(seen: Observation) -> dict[str, Any]:
    """Where the kernel's code began (-1: it never told), whether it was inside, whether the carve was whole."""
    code = next((line.start for line in seen.iomem if line.name == "Kernel code"), -1)
    ram = [Range(line.start, line.end) for line in seen.iomem if line.name == "System RAM"]
    whole = not any(r.overlaps(CARVE) for r in ram) and [r.size for r in seen.dax_regions] == [CARVE.size]
    print(f"  kernel code at {code:#x}, carve {'whole' if whole else 'broken'}", file=sys.stderr, flush=True)
    return {"booted": seen.booted, "code": code, "inside": CARVE.start <= code < CARVE.end, "whole": whole}


def summarise(seen: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and addresses (bytes) of many boots."""
    codes = [one["code"] for one in seen if one["code"] >= 0]
    return {
        "boots": len(seen),
        "booted": sum(one["booted"] for one in seen),
        "inside": sum(one["inside"] for one in seen),
        "broken": sum(one["booted"] and not one["whole"] for one in seen),
        "places": len(set(codes)),
        "lowest": min(codes, default=-1),
        "highest": max(codes, default=-1),
    }


def _words(summary: dict[str, Any]) -> str:
    return (
        f"{summary['boots']} boots, {summary['booted']} of them reported, "
        f"kernel inside the carve {summary['inside']}, carve broken {summary['broken']}, "
        f"{summary['places']} places from {summary['lowest']:#x} to {summary['highest']:#x}; "
        f"predicted: {summary['predicted']}"
    )


def _record(path: Path, series: str, result: dict[str, Any]) -> None:
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    record["machine"] = str(MACHINE)
    record.setdefault("kernels", {})[series] = result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
