# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holding snapshots to layouts, for the tests of expectations."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._expectations import (
    Expectation,
    expectations,
    unmet,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout


def judged(layout: Layout, snapshot: dict[str, Any], **options: Any) -> list[Expectation]:
    return expectations(layout, host_from_json(copy.deepcopy(snapshot)), **options)


def messages(layout: Layout, snapshot: dict[str, Any], **options: Any) -> list[str]:
    return [expectation.message for expectation in unmet(judged(layout, snapshot, **options))]


def device(snapshot: dict[str, Any], name: str) -> dict[str, Any]:
    found = [d for r in snapshot["state"]["dax"]["regions"] for d in r["devices"] if d["name"] == name]
    assert len(found) == 1
    return dict_of(found[0])


def dict_of(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value
