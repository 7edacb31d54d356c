# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What verification found on one host, kept in a file until the report of all hosts is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.carveout.memory.plugins.plugin_utils.verification.notes import notes

#: As its layout says; not as it says; or nobody knows, which counts as a deviation.
FINE, DEVIATES, UNKNOWN = "fine", "deviates", "unknown"


@dataclass(frozen=True)
class Record:
    """``host`` is the inventory's name. ``layout`` is the layout's JSON and ``snapshot`` the host's, empty where there
    is none; ``expectations`` are those of the shared list as JSON, ``failures`` messages of all that is wrong."""

    host: str
    passed: bool
    failures: tuple[str, ...] = ()
    expectations: tuple[Mapping[str, Any], ...] = ()
    layout: Mapping[str, Any] | None = None
    snapshot: Mapping[str, Any] | None = None

    @property
    def verdict(self) -> str:
        if self.passed:
            return FINE
        return DEVIATES if self.expectations else UNKNOWN

    @property
    def id(self) -> str:
        return str(self.layout["id"]) if self.layout else ""

    @property
    def unmet(self) -> list[Mapping[str, Any]]:
        return [expectation for expectation in self.expectations if not expectation["met"]]

    @property
    def notes(self) -> list[str]:
        """What has to be told although nothing is wrong."""
        return notes(self.expectations, self.snapshot)

    @property
    def other_failures(self) -> list[str]:
        """What no expectation says: raw reads, and why a host could not be verified."""
        said = {expectation["message"] for expectation in self.expectations}
        return [failure for failure in self.failures if failure not in said]


def write_record(folder: str, record: Record) -> None:
    """Raises OSError."""
    _path(folder, record.host).write_text(json.dumps(vars(record)), encoding="utf-8")


def read_record(folder: str, host: str) -> Record:
    """Of a host that left none nobody knows what it is like."""
    try:
        data = json.loads(_path(folder, host).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Record(
            host, False, ("it was not verified: no answer came from it, or its tasks failed before",)
        )
    return Record(
        **{**data, "failures": tuple(data["failures"]), "expectations": tuple(data["expectations"])}
    )


def _path(folder: str, host: str) -> Path:
    """An inventory's name may have what a file's name may not."""
    return Path(folder) / f"host-{quote(host, safe='')}.json"
