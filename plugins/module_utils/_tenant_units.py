# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drop-ins that let a systemd service at the devices that a plan gives it, and at no others. Pure.

``DeviceAllow=`` with a path is looked up, links followed, whenever the service starts
(systemd, src/core/bpf-devices.c, bpf_devices_allow_list_device), so the link below /dev/carveout
serves whatever ``daxX.Y`` is behind it in this boot. ``DevicePolicy=`` is left to the service: its
default, ``auto``, allows nothing but pseudo devices as soon as there is a ``DeviceAllow=``
(systemd.resource-control(5)), and a service that says ``strict`` stays strict.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ._dax.state import LINKS
from ._layout import Layout

UNIT_DIRECTORY = "/etc/systemd/system"
NAME = "50-carveout.conf"
_DROP_IN = re.compile(re.escape(UNIT_DIRECTORY) + r"/[^/]+\.service\.d/" + re.escape(NAME))


def drop_in_path(unit: str) -> str:
    return f"{UNIT_DIRECTORY}/{unit}.d/{NAME}"


def is_drop_in(path: str) -> bool:
    """True for every path that :func:`drop_in_path` gives, for whatever service."""
    return bool(_DROP_IN.fullmatch(path))


def device_unit(name: str) -> str:
    """The unit of ``/dev/carveout/NAME`` (systemd-escape --path --suffix=device).

    Of what a name may hold, only ``-`` is escaped (systemd, src/basic/unit-name.c, do_escape).
    """
    escaped = name.replace("-", "\\x2d")
    return f"dev-carveout-{escaped}.device"


def unit_devices(layout: Layout) -> Mapping[str, list[str]]:
    """Names of the devices that each service is given, both in alphabetical order."""
    given: dict[str, list[str]] = {}
    for device in sorted(layout.devices, key=lambda d: d.name):
        for unit in device.units:
            given.setdefault(unit, []).append(device.name)
    return dict(sorted(given.items()))


def drop_ins(layout: Layout) -> dict[str, str]:
    """Text of every drop-in by its path."""
    return {drop_in_path(unit): _text(names) for unit, names in unit_devices(layout).items()}


def _text(names: list[str]) -> str:
    units = " ".join(device_unit(name) for name in names)
    lines = [
        "# Written by Carveout (carveout.memory.host_files); changes are overwritten.",
        "[Unit]",
        f"Requires={units}",
        f"After=carveout.target {units}",
        "",
        "[Service]",
        *(f"DeviceAllow={LINKS}/{name} rw" for name in names),
    ]
    return "\n".join(lines) + "\n"
