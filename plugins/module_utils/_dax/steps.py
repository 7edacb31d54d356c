# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carry out the steps on a host, each one read back: sysfs answers success to what it ignores.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Sequence
from itertools import groupby

from .._errors import CarveoutError, NotPossible
from .._layout import Device
from .._ranges import Range, whole_blocks
from .._system import System
from .actions import Action, AddMapping, Bind, Create, Destroy, Online, SetAlign, Unbind, driver_of
from .blocks import POLICY, as_wanted, block_size, read_blocks, set_online, take_offline
from .state import BUS, DRIVERS, KMEM, DaxDevice, DaxRegion, read_device


def carry_out(system: System, actions: Sequence[Action]) -> None:
    """Do the steps in order.

    Where a step fails, the device that was being made is taken away again (the kernel would leave
    an empty ``daxX.N`` behind), what stood before stays, and :class:`NotPossible` is raised.
    """
    for name, steps in groupby(
        actions, key=lambda step: "" if isinstance(step, (Destroy, Unbind)) else step.device.name
    ):
        if name == "":
            for step in steps:
                if isinstance(step, Unbind):
                    _release(system, step.region, step)
                elif isinstance(step, Destroy):
                    _destroy(system, step.region, step.device.name)
        else:
            _build(system, list(steps))


def _build(system: System, steps: list[Action]) -> None:
    made: tuple[DaxRegion, str] | None = None
    path = ""
    extents: tuple[Range, ...] = ()
    try:
        for step in steps:
            if isinstance(step, Create):
                made = (step.region, _create(system, step))
                path = _device_path(step.region, made[1])
            elif isinstance(step, SetAlign):
                _write(system, f"{path}/align", str(step.device.align), step)
                _confirm(step, "align", read_device(system, path).align, step.device.align)
            elif isinstance(step, AddMapping):
                extents += (step.extent,)
                _write(system, f"{path}/mapping", f"{step.extent.start:x}-{step.extent.end - 1:x}", step)
                _confirm(step, "the device's memory", read_device(system, path).extents, extents)
            elif isinstance(step, Bind):
                _bind(system, step, step.existing.name if step.existing else posixpath.basename(path))
            elif isinstance(step, Online):
                _online(system, step)
    except BaseException as failure:
        if made is not None:
            _undo(system, made, failure)
        raise


def _undo(system: System, made: tuple[DaxRegion, str], failure: BaseException) -> None:
    try:
        _destroy(system, *made)
    except CarveoutError as error:
        if isinstance(failure, CarveoutError):
            raise NotPossible([*failure.problems, *error.problems]) from None


def _create(system: System, step: Create) -> str:
    before = set(_siblings(system, step.region))
    _write(system, f"{step.region.path}/create", "1", step)
    new = [name for name in _siblings(system, step.region) if name not in before]
    if len(new) != 1:
        raise _failed(step, step.device, f"the kernel made {len(new)} devices instead of one")
    return new[0]


def _siblings(system: System, region: DaxRegion) -> list[str]:
    """Names of the devices of a region."""
    found = []
    for name in system.listdir(BUS):
        target = system.readlink(f"{BUS}/{name}")
        if target is not None:
            parent = posixpath.dirname(posixpath.normpath(posixpath.join(BUS, target)))
            if f"{parent}/dax_region" == region.path:
                found.append(name)
    return found


def _bind(system: System, step: Bind, name: str) -> None:
    """Bind and look at the driver link: a write can succeed although the driver's probe failed."""
    driver = driver_of(step.device)
    try:
        if driver == KMEM:
            _bind_kmem(system, name)
        elif step.by_name:
            _bind_by_name(system, driver, name)
        else:
            system.write_sysfs(f"{DRIVERS}/{driver}/bind", name)
    except OSError as error:
        hint = ""
        if error.errno == errno.ENODEV:
            hint = (
                ": the region's memory is meant for kmem; dax_hmem.region_idle=1 was not in effect when "
                "the region was made"
            )
        elif error.errno == errno.ENOENT:
            hint = f": the module {driver} is not loaded"
        elif error.errno == errno.EBUSY:
            hint = ": other memory of the kernel lies in its ranges"
        raise _failed(step, step.device, f"{_reason(error)}{hint}") from None
    link = system.readlink(f"{BUS}/{name}/driver")
    _confirm(step, "driver", posixpath.basename(link) if link else "none", driver)
    if driver == KMEM:
        wanted = tuple(whole_blocks(step.device.extents, block_size(system)))
        found = tuple(Range(b.start, b.end) for b in read_blocks(system, step.device.extents))
        _confirm(step, "the kernel's new memory", found, wanted)


def _bind_by_name(system: System, driver: str, name: str) -> None:
    """What a region is not meant for, a driver takes by the device's name only (drivers/dax/bus.c, do_id_store).

    The name is taken off its list at once, or the next device of that name would be the driver's too.
    """
    system.write_sysfs(f"{DRIVERS}/{driver}/new_id", name)
    system.write_sysfs(f"{DRIVERS}/{driver}/remove_id", name)


def _bind_kmem(system: System, name: str) -> None:
    """Idle regions are for device_dax, so that kmem is told by name.

    What the kernel would do with new memory by itself (often: online it for anything) is set aside, and put back
    whatever happens.
    """
    policy = (system.read(POLICY) or "").strip()
    if policy not in ("", "offline"):
        system.write_sysfs(POLICY, "offline")
    try:
        _bind_by_name(system, KMEM, name)
    finally:
        if policy not in ("", "offline"):
            system.write_sysfs(POLICY, policy)


def _online(system: System, step: Online) -> None:
    try:
        set_online(system, step.device.extents, step.device.online)
    except OSError as error:
        raise _failed(step, step.device, _reason(error)) from None
    wrong = [b for b in read_blocks(system, step.device.extents) if not as_wanted(b, step.device.online)]
    if wrong:
        now = ", ".join(f"{Range(b.start, b.end)} is {b.state} {b.zone}".rstrip() for b in wrong)
        raise _failed(step, step.device, f"the kernel accepted it, but {now}")


def _release(system: System, region: DaxRegion, step: Destroy | Unbind) -> None:
    """Take a device from its driver; memory that the kernel has is taken offline first, all of it or none."""
    name = step.device.name
    path = _device_path(region, name)
    driver = read_device(system, path).driver
    if driver == KMEM:
        try:
            take_offline(system, step.device.extents)
        except NotPossible as error:
            raise _failed(step, step.device, error.problems[0].message) from None
    if driver:
        _write(system, f"{DRIVERS}/{driver}/unbind", name, step)
    if driver == KMEM:
        left = tuple(Range(b.start, b.end) for b in read_blocks(system, step.device.extents))
        _confirm(step, "what the kernel keeps until the next boot", left, ())


def _destroy(system: System, region: DaxRegion, name: str) -> None:
    path = _device_path(region, name)
    device = read_device(system, path)
    step = Destroy(region, device)
    _release(system, region, step)
    if device.size:
        _write(system, f"{path}/size", "0", step)
        _confirm(step, "size", read_device(system, path).size, 0)
    if not device.is_seed:
        _write(system, f"{region.path}/delete", name, step)
        if system.readlink(f"{BUS}/{name}") is not None:
            raise _failed(step, device, "the kernel accepted it, but the device is still there")


def _device_path(region: DaxRegion, name: str) -> str:
    return f"{posixpath.dirname(region.path)}/{name}"


def _write(system: System, path: str, text: str, step: Action) -> None:
    try:
        system.write_sysfs(path, text)
    except OSError as error:
        message = f"writing {text!r} to {path}: {_reason(error)}"
        raise _failed(step, step.device, message) from None


def _confirm(step: Action, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        message = f"the kernel accepted it, but {what} is {_shown(found)} instead of {_shown(wanted)}"
        raise _failed(step, step.device, message)


def _shown(value: object) -> str:
    return " ".join(str(part) for part in value) or "empty" if isinstance(value, tuple) else str(value)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _failed(step: Action, device: Device | DaxDevice, message: str) -> NotPossible:
    path = device.path if isinstance(device, Device) else ""
    error = NotPossible.of(path, "dax-step-failed", f"cannot {step.text}: {message}")
    assert isinstance(error, NotPossible)
    return error
