# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plan says of a device's use: for which tenants, or as memory of the kernel while it runs.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .._layout import DEVDAX, MODE, ONLINE, SYSTEM_RAM, UNIT


class Fail(Protocol):
    """Takes note of a problem: its place in the plan, a code, and the message."""

    def __call__(self, path: str, code: str, message: str) -> None: ...


def read_use(fail: Fail, device: Mapping[str, Any], pool: Mapping[str, Any], path: str) -> tuple[str, str]:
    """``use`` and ``online`` of a device; the pool's word counts for what the device leaves out."""
    use = device.get("use", pool.get("use", DEVDAX))
    online = device.get("online", pool.get("online", ONLINE[0]))
    if online is False:
        online = "no"  # YAML 1.1 reads the word so
    if use not in (DEVDAX, SYSTEM_RAM):
        message = f"{use!r} is no use of a device; there are {DEVDAX} and {SYSTEM_RAM}"
        fail(f"{path}.use", "use-invalid", message)
    if online not in ONLINE:
        message = f"{online!r} is no way to online memory; there are {', '.join(ONLINE)}"
        fail(f"{path}.online", "online-invalid", message)
    if use != SYSTEM_RAM and "online" in device:
        fail(f"{path}.online", "online-invalid", f"only devices with use: {SYSTEM_RAM} are onlined")
    if use == SYSTEM_RAM and device.get("unit"):
        fail(f"{path}.unit", "unit-invalid", f"no service can open the device while its use is {SYSTEM_RAM}")
    return (use, online) if use == SYSTEM_RAM else (DEVDAX, "")


def read_units(fail: Fail, value: Any, mode: Any, path: str) -> tuple[str, ...]:
    """The services that are let at a device, sorted."""
    units = [value] if isinstance(value, str) else list(value)
    for unit in units:
        if not isinstance(unit, str) or not UNIT.fullmatch(unit):
            fail(
                path,
                "unit-invalid",
                f"{unit!r} is not a service: letters, digits, '_', '-', '.', ':' and at most one '@' with an "
                "instance behind it, then .service, at most 200",
            )
        elif unit.startswith(("systemd-", "carveout")):
            message = f"{unit} must keep all its devices; name the tenant's own service"
            fail(path, "unit-invalid", message)
        elif units.count(unit) > 1:
            fail(path, "unit-duplicate", f"{unit} stands twice")
    if units and isinstance(mode, str) and MODE.fullmatch(mode) and int(mode, 8) & 0o007:
        fail(
            path,
            "mode-open",
            f"only these services may open the device, but its mode {mode} lets everybody; end the mode in 0",
        )
    return tuple(sorted({unit for unit in units if isinstance(unit, str)}))


def check_pool_use(fail: Fail, pool: Mapping[str, Any], path: str) -> None:
    """A pool's word on use is nobody's where it has no devices."""
    for key in ("use", "online"):
        if key in pool and not pool.get("devices"):
            message = (
                "it is for the pool's devices, and there is none; {name: NAME, size: rest} makes one of all"
            )
            fail(f"{path}.{key}", "use-without-devices", message)
