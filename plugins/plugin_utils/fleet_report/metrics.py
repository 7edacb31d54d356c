# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics of one host in the text format of Prometheus, for the textfile collector of its node_exporter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.notes import verified_with

from .amounts import by_pool, saved_by_node
from .record import UNKNOWN, Record

Samples = Sequence[tuple[Mapping[str, str], int]]


def host_metrics(record: Record, committed: str = "") -> str:
    """What is not known has no sample; ``carveout_drift`` is always there.

    ``committed`` is the layout that will have been committed when anybody reads this; empty: the snapshot's.
    """
    snapshot = record.snapshot or {}
    committed = committed or str(snapshot.get("committed") or "")
    verified = verified_with(snapshot) if snapshot else None
    running = str(snapshot["kernel"]["running"]) if snapshot else ""
    families: list[tuple[str, str, Samples]] = [
        (
            "carveout_drift",
            "What is not as the committed layout says: 0 nothing, 1 something, or the host could not be verified.",
            [({}, 0 if record.passed else 1)],
        ),
        (
            "carveout_unmet_expectations",
            "How many expectations of the layout are not met.",
            [] if record.verdict == UNKNOWN else [({}, len(record.unmet))],
        ),
        (
            "carveout_committed_layout_info",
            "The layout that is committed on the host.",
            [({"id": committed}, 1)] if committed else [],
        ),
        (
            "carveout_kernel_verified",
            "1 where the committed layout was verified with the kernel that runs, by its record, else 0.",
            [({"verified": verified, "running": running}, int(verified == running))]
            if verified is not None
            else [],
        ),
        (
            "carveout_carved_bytes",
            "Memory that the layout carves out.",
            [
                ({"pool": pool, "mechanism": mechanism, "node": node}, size)
                for (pool, mechanism, node), size in by_pool(record).items()
            ],
        ),
        (
            "carveout_saved_bytes",
            "Struct pages that the layout gives back.",
            [({"node": node}, size) for node, size in saved_by_node(record).items()],
        ),
        (
            "carveout_device_state",
            "1 where a device is all that the layout says of it, else 0.",
            [] if record.verdict == UNKNOWN else _devices(record),
        ),
    ]
    return "".join(_family(*family) for family in families)


def _devices(record: Record) -> Samples:
    """By the messages, which begin with the place in the plan: raw reads count too."""
    devices = record.layout.get("devices", []) if record.layout else []
    return [
        (
            {"device": device["name"], "pool": device["pool"], "node": str(device["node"])},
            0
            if any(f.startswith((f"{device['path']}: ", f"{device['path']}.")) for f in record.failures)
            else 1,
        )
        for device in devices
    ]


def _family(name: str, words: str, samples: Samples) -> str:
    if not samples:
        return ""
    lines = [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inner = ",".join(f'{label}="{_value(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
    return "\n".join(lines) + "\n"


def _value(text: str) -> str:
    return printable(text).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
