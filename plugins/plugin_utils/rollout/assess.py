# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan changes on one host, and what that asks of the rollout."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB
from ansible_collections.carveout.memory.plugins.plugin_utils.cli_files import committed_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.layout_change import (
    booted_with,
    change,
    disturbs,
    facts,
)


def assessed(host: Host, layout: Layout) -> dict[str, Any]:
    """Fields of a record. Raises CarveoutError where the committed layout cannot be read."""
    previous = committed_layout(host)
    found = change(host, previous, layout, GIB)
    # a run that was stopped after the reboot: it goes on with that boot
    reboots = found.reboots and not (layout.arguments and booted_with(host, layout))
    unknown = previous is None and host.committed is not None
    return {
        **described(layout),
        "previous": host.committed or "",
        "reboots": reboots,
        "disturbs": reboots or unknown or disturbs(previous, layout),
        "changes": found.lines,
    }


def described(layout: Layout) -> dict[str, Any]:
    """The fields that a host has on which nothing is to be done, too."""
    text = json.dumps(facts(layout), sort_keys=True)
    return {"layout": layout.id, "shape": hashlib.sha256(text.encode()).hexdigest()[:16]}


def plan_name(layout: Layout) -> str:
    """What hosts with the same plan have in common, as the name of a class."""
    text = json.dumps(layout.plan, sort_keys=True)
    return f"of the plan {hashlib.sha256(text.encode()).hexdigest()[:8]}"
