# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPU time of one large host, step by step, against what the same machine needs for known work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema

from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.cli_directory import json_lines
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

from .hosts import host, plan_for

NODES, ENTRIES = 8, 200
_SCHEMA = Path(__file__).resolve().parents[1] / "schemas" / "host.schema.json"


def milliseconds(work: Callable[[], object], repeat: int = 40) -> float:
    """CPU time of one call: the median, which a busy machine moves least."""
    found = []
    for _ in range(repeat):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return sorted(found)[repeat // 2] * 1000


def report() -> None:
    """Print the table."""
    data = host(1, NODES, ENTRIES)
    text = json.dumps(data)
    plan = validated_plan(plan_for(NODES))
    schema = jsonschema.Draft7Validator(json.loads(_SCHEMA.read_text(encoding="utf-8")))
    parse = milliseconds(lambda: json.loads(text))
    steps = {
        "read: JSON to a checked host": milliseconds(lambda: host_from_json(json.loads(text))),
        # a host remembers what was worked out of it, so each time a new one
        "plan: host to layout": _planning(data, plan),
        "write: layout to JSON": milliseconds(
            lambda: json_lines(make_layout(plan, host_from_json(data)).to_json())
        )
        - milliseconds(lambda: make_layout(plan, host_from_json(data))),
    }
    layout = make_layout(plan, host_from_json(data))
    print(
        f"one host: {NODES} nodes, {len(data['firmware']['map'])} map entries, {len(text)} bytes of JSON; "
        f"{len(layout.reservations)} reservations, {len(layout.devices)} devices"
    )
    print(f"{'':36}{'CPU ms':>8}{'x json.loads':>14}")
    steps["all three"] = sum(steps.values())
    steps["for comparison: host by jsonschema"] = milliseconds(lambda: list(schema.iter_errors(data)), 10)
    steps["for comparison: json.loads alone"] = parse
    for name, time_needed in steps.items():
        print(f"{name:36}{time_needed:8.2f}{time_needed / parse:14.1f}")
    print(
        f"jsonschema / all three: {steps['for comparison: host by jsonschema'] / steps['all three']:.1f}",
        flush=True,
    )


def _planning(data: object, plan: object) -> float:
    hosts = [host_from_json(data) for _ in range(40)]
    return milliseconds(lambda: make_layout(plan, hosts.pop()))  # type: ignore[arg-type]
