# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults: what is done to a trial boot, and what the run has to say about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PANIC = "panic=10"

_JOURNAL = "[Journal]\nStorage=persistent\nSyncIntervalSec=1s\n"

#: On the host from the beginning: a journal on disk.
FILES = {
    "/etc/systemd/journald.conf.d/zz-kept.conf": (_JOURNAL.encode(), 0o644),
}
ENABLE = (
    "mkdir -p /var/log/journal && systemctl unmask systemd-journal-flush.service && systemctl daemon-reload"
)


@dataclass(frozen=True)
class Fault:
    """``arguments`` are those that only the trial has, ``says`` what the run's message has to have."""

    what: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    corrected: bool = False


_CYCLED = "so the host was power-cycled"
_ALONE = "so the host came back by itself"

FAULTS = {
    "panic": Fault(
        "the kernel panics: no root file system",
        (PANIC, "rdinit=/nonexistent"),
        (_ALONE, "Kernel panic - not syncing"),
        corrected=True,
    ),
    "hang-before": Fault(
        "it hangs before user space: waits for a disk that is not there",
        (PANIC, "resume=/dev/nowhere", "resumewait"),
        (_CYCLED, "was not kept"),
    ),
    "map": Fault(
        "64 MiB of memory are not where they are predicted",
        (PANIC, "memmap=64M%0x60000000-1+2"),
        ("the memory map is not the predicted one: [0x60000000, 0x64000000) is not System RAM",),
        corrected=True,
    ),
}


def plan(megabytes: int) -> dict[str, Any]:
    """A small plan; with another size it has another layout."""
    return {
        "version": 1,
        "policy": {"trial_boot": True},
        "kernel": {"memory": "1GiB"},
        "pools": {
            "guests": {
                "mechanism": "dax",
                "nodes": {1: f"{megabytes}MiB"},
                "devices": [{"name": "vm-a", "size": "rest"}],
            }
        },
    }
