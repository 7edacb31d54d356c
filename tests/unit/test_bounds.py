# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rest on real machines against a bound worked out another way: page numbers, and nothing of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.e820 import log_type
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

GIB = 1 << 30
#: Kernel's share in bytes, size of a fixed pool with 2 MiB pages, align of the rest.
PLANS = [
    (0, 0, 2 << 20),
    (GIB, 0, 4096),
    (2 * GIB, 256 << 20, 2 << 20),
    (3 * GIB, 512 << 20, GIB),
    (GIB + (77 << 20), 64 << 20, GIB),
]


def most(ram: list[tuple[int, int]], keep: int, fixed: int, align: int) -> int | None:
    """The largest rest of one node in bytes; None where the fixed pool does not fit.

    ``ram`` as [first page, page after the last] in pages of 4 KiB. The kernel keeps what lies below
    4 GiB in any case, and more only where its share is larger than that. A fixed pool takes 2 MiB
    pages that are no part of a whole page of the rest first.
    """
    whole = sum(end - start for start, end in ram)
    step, small = align // 4096, 512
    high = [(max(start, GIB // 1024), end) for start, end in ram if end > GIB // 1024]
    pieces = sum(max(0, end // step - -(-start // step)) for start, end in high) * step
    parts = sum(max(0, end // small - -(-start // small)) for start, end in high) * small
    if fixed // 4096 > min(parts, whole - keep // 4096 - (keep % 4096 > 0)):
        return None
    left = min(pieces, (whole * 4096 - keep - fixed) // align * step)
    if fixed and step >= small:
        # Pages of the rest that the fixed pool has to break because the scraps do not suffice.
        left = min(left, (parts - fixed // 4096) // step * step)
    elif fixed:
        left = min(left, pieces - fixed // 4096)
    return left * 4096


@pytest.mark.parametrize("plan", PLANS)
def test_the_rest_is_all_there_is(shared_data: Path, plan: tuple[int, int, int]) -> None:
    keep, fixed, align = plan
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (shared_data / "firmware_maps.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 419
    planned = refused = 0
    for row in rows:
        entries = [(a, b + 1, log_type(words)) for a, b, words in row["firmware_map"]]
        top = max(end for _, end, _ in entries)
        host = make_host(entries, [(0, 0, top)])
        ram = [(-(-a // 4096), b // 4096) for a, b, kind in entries if kind == 1]
        # Firmware gives odd bytes; a page that is not whole is nobody's.
        odd = sum(b - a for a, b, kind in entries if kind == 1) - 4096 * sum(b - a for a, b in ram)
        wanted = most(ram, max(0, keep - odd), fixed, align) if ram else None
        pools: dict[str, Any] = {"r": {"mechanism": "reserved", "nodes": {"0": "rest"}, "align": align}}
        if fixed:
            pools["f"] = {"mechanism": "reserved", "nodes": {"0": fixed}, "align": 2 << 20}
        source = {
            "version": 1,
            "kernel": {"memory": keep},
            "pools": pools,
            "policy": {"kaslr": "allow-disable"},
        }
        try:
            layout = make_layout(validated_plan(source), host)
        except NotPossible as error:
            codes = {p.code for p in error.problems}
            if codes & {"does-not-fit", "nothing-left", "kernel-share-too-large", "node-unknown"}:
                assert not wanted, (row["id"], codes, wanted)
            else:
                assert codes <= {"kernel-left-with-too-little", "command-line-too-long"}, row["id"]
            refused += 1
            continue
        planned += 1
        got = sum(r.range.size for r in layout.reservations if r.pool == "r")
        assert got == wanted, (row["id"], got, wanted)
    assert planned > 150
    assert planned + refused == 419
