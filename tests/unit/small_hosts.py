# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts and plans for tests, from the few things that a test is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan


def make_host(
    firmware: Sequence[tuple[int, int, int]], nodes: Sequence[tuple[int, int, int]], **more: Any
) -> Host:
    """``firmware``: (start, end, type); ``nodes``: (node, start, end); ``more``: fields of :class:`Host`."""
    host = Host(
        architecture="x86_64",
        firmware_map=tuple(MapEntry(*entry) for entry in firmware),
        node_ranges=tuple(NodeRange(*part) for part in nodes),
        hmat=False,
        firmware_boot="bios",
        kernel_running="6.12.107",
        kernel_default="6.12.107",
        kernel_config={},
        cmdline="quiet",
        boot_arguments=None,
        foreign=(),
        committed=None,
        layouts={},
    )
    return dataclasses.replace(host, **more)


def make_plan(kernel: Any, pools: dict[str, Any], **more: Any) -> Plan:
    return validated_plan({"version": 1, "kernel": {"memory": kernel}, "pools": pools, **more})
