# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boots a host of 320 GiB with each mechanism at each page size: what memory comes back, and what was predicted.

``python -m bench.memory`` (or ``make bench-memory``) takes a stock kernel and sparse memory in QEMU. About 6 GiB of
RAM and 20 minutes in software emulation. ``--record FILE`` keeps what was seen, ``--table`` prints the README's table
from that record.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.tests.kernel import packages
from ansible_collections.carveout.memory.tests.kernel.boot import boot
from ansible_collections.carveout.memory.tests.kernel.compare import host_of
from ansible_collections.carveout.memory.tests.kernel.observation import Observation

from .memory_predict import expected
from .memory_rows import BASELINE, CARVE, MACHINE, ROWS, Row, tokens_of
from .memory_table import RECORD, misses, table

#: Seconds of CPU. A boot takes 20 to 100 in software emulation, and more with 2 MiB pages.
TIMEOUT = 1200.0

# Looked at after the row's set-up; the report of the boot itself comes before it.
_LOOK = """
for d in /sys/bus/dax/devices/*; do
  [ -e $d/size ] && echo "device ${d##*/} $(cat $d/size) $(cat $d/align) $(readlink $d/driver)"
done
for b in /sys/block/pmem*; do [ -e $b/size ] && echo "disk ${b##*/} $(($(cat $b/size) * 512))"; done
echo block $(cat /sys/devices/system/memory/block_size_bytes)
cat /proc/meminfo /proc/vmstat
"""


def _number(text: str, name: str) -> int:
    found = re.search(rf"^{name}:? +(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _tenants(row: Row, text: str) -> int:
    """Bytes that tenants can have."""
    if row is BASELINE:
        return 0
    if row.tokens:
        return _number(text, "Hugetlb") * 1024
    sizes = [int(size) for size in re.findall(r"^device \S+ (\d+) \d+ \S*device_dax$", text, re.MULTILINE)]
    sizes += [int(size) for size in re.findall(r"^disk \S+ (\d+)$", text, re.MULTILINE)]
    return sum(sizes) if row.setup else len(MACHINE.nodes) * CARVE * (not row.modules)


def _seen(row: Row, seen: Observation) -> dict[str, Any]:
    text = seen.sections["commands"]
    return {
        "mem_total": _number(text, "MemTotal") * 1024,
        "mem_free": _number(text, "MemFree") * 1024,
        "memmap_boot_pages": _number(text, "nr_memmap_boot_pages"),
        "memmap_pages": _number(text, "nr_memmap_pages"),
        "tenants": _tenants(row, text),
        "devices": re.findall(r"^(?:device|disk) (.*)$", text, re.MULTILINE),
        "memory_block": int(re.findall(r"^block (\w+)$", text, re.MULTILINE)[0], 16),
        "seconds": round(seen.seconds),
    }


def measure(kernel: packages.Kernel, row: Row, host: Host | None) -> tuple[dict[str, Any], Host]:
    """Boot one row; the baseline (``host`` None) gives the host that the others are planned for."""
    tokens = tokens_of(row, host) if host else ()
    seen = boot(
        kernel, " ".join(tokens), MACHINE, modules=row.modules, commands=row.setup + _LOOK, timeout=TIMEOUT
    )
    if not seen.booted:
        raise RuntimeError(f"{row.key}: {seen.reason}\n{seen.tail}")
    host = host or host_of(seen)
    found = _seen(row, seen)
    if row.setup and not found["tenants"]:
        raise RuntimeError(f"{row.key}: no device came up\n{seen.sections['commands']}")
    said = expected(row, host, found["memory_block"])
    return {
        "key": row.key,
        "title": row.title,
        "page": row.page_words,
        "arguments": " ".join(tokens),
        "carved": 0 if row is BASELINE else len(MACHINE.nodes) * CARVE,
        "seen": found,
        "predicted": vars(said),
    }, host


def _qemu() -> str:
    run = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"version ([\d.]+)", run.stdout)
    return found[1] if found else ""


def _keep(path: Path, head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**head, "rows": rows}, indent=2) + "\n", encoding="utf-8")


def _had(path: Path, head: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of an unfinished record, by key; none where that is of another machine or kernel."""
    record = json.loads(path.read_text(encoding="utf-8"))
    same = all(record[name] == value for name, value in head.items())
    return {row["key"]: row for row in record["rows"]} if same else {}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--kernel", default="6.12", help="a series of tests/kernel/kernels.json")
    parser.add_argument("--only", metavar="KEY", nargs="*", help="rows to boot beside the baseline")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep what was seen as JSON")
    parser.add_argument("--resume", action="store_true", help="boot only what the record does not have")
    parser.add_argument("--table", action="store_true", help="boot nothing: print the table of the record")
    arguments = parser.parse_args(argv)
    if arguments.table:
        print(table(json.loads((arguments.record or RECORD).read_text(encoding="utf-8"))), end="")
        return 0
    unknown = set(arguments.only or ()) - {row.key for row in ROWS}
    if unknown:
        parser.error(
            f"no row {', '.join(sorted(unknown))}; there are {', '.join(row.key for row in ROWS[1:])}"
        )
    kernel = packages.kernel(arguments.kernel)
    head = {"kernel": kernel.release, "qemu": _qemu(), "machine": str(MACHINE)}
    print(f"{MACHINE}, {kernel.release}, QEMU {head['qemu']}", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    had = _had(arguments.record, head) if arguments.resume and arguments.record else {}
    had.pop(BASELINE.key, None)
    host: Host | None = None
    for row in ROWS:
        if row.key in had:
            rows.append(had.pop(row.key))
            continue
        if row is not BASELINE and arguments.only is not None and row.key not in arguments.only:
            continue
        try:
            found, host = measure(kernel, row, host)
        except RuntimeError as error:
            if host is None:
                raise
            print(error, file=sys.stderr, flush=True)
            continue
        rows.append(found)
        print(f"{row.key}: {found['seen']}", file=sys.stderr, flush=True)
        if arguments.record:
            _keep(arguments.record, head, [*rows, *had.values()])
    record = {**head, "rows": rows}
    print(table(record), end="")
    not_reached = misses(record)
    if arguments.only is None and len(rows) < len(ROWS):
        not_reached.append(f"only {len(rows)} of {len(ROWS)} machines were measured")
    for miss in not_reached:
        print(f"not reached: {miss}", file=sys.stderr)
    return 5 if not_reached else 0


if __name__ == "__main__":
    sys.exit(main())
