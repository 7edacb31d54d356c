# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a run as JSON: expectations by host, outcomes and messages of the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._expectations import expectations
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_to_json

from .collect import Evidence


class Reporter:
    """A pytest plugin; the fixture tells it what each host showed."""

    def __init__(self, config: pytest.Config) -> None:
        self._file = Path(config.getoption("--carveout-report"))
        self._hosts: dict[str, Any] = {}
        self._tests: list[dict[str, str]] = []

    def note(self, evidence: Evidence, committed: bool) -> None:
        try:
            found = [e.to_json() for e in expectations(evidence.layout, evidence.host, committed=committed)]
        except CarveoutError:
            found = []  # the tests say why
        self._hosts[evidence.name] = {
            "id": evidence.layout.id,
            "expectations": found,
            "host": host_to_json(evidence.host),
        }

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # a fixture that fails makes no "call"; a passed set-up says nothing
        if report.when == "call" or report.outcome != "passed":
            self._tests.append(
                {
                    "name": report.nodeid.rpartition("::")[2],
                    "outcome": report.outcome,
                    "message": report.longreprtext if report.outcome == "failed" else "",
                }
            )

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps({"hosts": self._hosts, "tests": self._tests}), encoding="utf-8")
