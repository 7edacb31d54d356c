# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ``make demo`` says at its end: what was done to the host, what it brought, and what now."""

from __future__ import annotations

from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size, format_size
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import memory_table, node_bars

_RULE = "-" * 78


def report(before: dict[str, Any], layout_json: dict[str, Any], verified: dict[str, Any]) -> str:
    """The report. ``before`` is a host snapshot, ``verified`` what the module ``verify`` returned."""
    layout = Layout.from_json(layout_json)
    after, expected = verified["host"], verified["expectations"]
    met = sum(expectation["met"] for expectation in expected)
    lines = [
        "",
        _RULE,
        "What the host was told: these arguments stand on its kernel's command line",
        *(f"  {argument}" for argument in layout.kernel_arguments),
        "",
        "Where its memory is, to scale",
        *node_bars(host_from_json(before), layout),
        "",
        "The devices that tenants open",
        *_devices(after),
        "",
        *memory_table(layout),
        "",
        *_measured(before, after, layout),
        "",
        f"Verified on the host: {met} of {len(expected)} expectations hold and {verified['tests']} tests passed"
        if not verified["failed"]
        else "NOT verified: the host is not as planned",
        _RULE,
        "Log in             make lab-ssh",
        "Run again          make demo         (changes nothing)",
        "Give it all back   .venv/bin/ansible-playbook -i inventories/lab playbooks/rollback.yml",
        "Stop or remove     make lab-down, make lab-destroy",
        "Your own host      README.md",
    ]
    return "\n".join(lines)


def _devices(after: dict[str, Any]) -> list[str]:
    links = {node: name for name, node in after["state"]["links"].items()}
    lines = []
    for region in after["state"]["dax"]["regions"]:
        for device in region["devices"]:
            name = links.get(device["node_path"])
            if name is None:
                continue
            extents = " + ".join(f"{start:#x}-{end:#x}" for start, end in device["extents"])
            lines.append(
                f"  /dev/carveout/{name:<6} {format_size(device['size']):>8}  "
                f"pages of {format_size(device['align']):<5} node {device['target_node']}  "
                f"{device['owner']}:{device['group']} {device['mode']}"
            )
            lines.append(f"      {extents}")
    return lines


def _measured(before: dict[str, Any], after: dict[str, Any], layout: Layout) -> list[str]:
    now = after["state"]["meminfo"]["MemTotal"]
    carved = sum(r.range.size for r in layout.reservations)
    lines = [
        f"Carved out of the kernel's hands: {approximate_size(carved)}; its MemTotal is {approximate_size(now)} now"
    ]
    if before["state"]["boot_id"] != after["state"]["boot_id"]:
        was = before["state"]["meminfo"]["MemTotal"]
        lines.append(
            f"(it was {approximate_size(was)}: {approximate_size(was - now)} less for "
            f"{approximate_size(carved)} carved out, the difference is struct pages that came back)"
        )
    return lines
