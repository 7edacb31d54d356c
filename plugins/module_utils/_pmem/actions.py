# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the namespaces of a layout and those of a host to the steps between them, and carrying them out with ndctl.

ndctl and not sysfs: a namespace that has been used must have its info block wiped before it can be made otherwise,
and only ndctl writes that (namespace_reconfig of ndctl/namespace.c). Every step is read back from sysfs.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Union

from .._errors import NotPossible, Problem
from .._layout import PMEM, Device, Layout, Reservation
from .._mechanisms.pmem import is_plain
from .._ranges import Range
from .._system import System
from .._units import format_size, kernel_size
from .state import Namespace, read_namespaces

#: Drivers that the device of a namespace is bound to (its character device, its block device).
DRIVERS = {"devdax": "device_dax", "fsdax": "nd_pmem"}
MODULES = ("nd_e820", "nd_pmem", "dax_pmem", "device_dax")


@dataclass(frozen=True)
class Make:
    """Make a namespace what a device of the layout wants; what was in it is lost."""

    device: Device
    found: Namespace

    @property
    def text(self) -> str:
        d = self.device
        return (
            f"make the namespace {d.name} of {self.found.range} ({format_size(self.found.range.size)}): {d.namespace}, "
            f"align {format_size(d.align)}, struct pages on {d.map}"
        )

    @property
    def argv(self) -> list[str]:
        d = self.device
        align = [] if is_plain(d.namespace, d.map) else [f"--align={kernel_size(d.align)}"]
        return [
            "ndctl", "create-namespace", "--force", f"--reconfig={self.found.name}", f"--mode={d.namespace}",
            f"--map={d.map}", *align,
        ]  # fmt: skip


@dataclass(frozen=True)
class Destroy:
    """Take the device of a namespace away, and wipe its info block."""

    found: Namespace

    @property
    def text(self) -> str:
        return f"destroy the namespace of {self.found.range} ({self.found.mode})"

    @property
    def argv(self) -> list[str]:
        return ["ndctl", "destroy-namespace", "--force", self.found.name]


# evaluated at run time, where Python 3.9 knows no `|` between types
Step = Union[Make, Destroy]


def pmem_reservations(layout: Layout) -> list[Reservation]:
    return [r for r in layout.reservations if r.mechanism == PMEM]


def wanted_namespaces(layout: Layout) -> list[tuple[Device, Range]]:
    """Each device that is a namespace, and the range that it takes."""
    ranges = [r.range for r in pmem_reservations(layout)]
    return [
        (device, whole)
        for device in layout.devices
        if device.namespace
        for whole in ranges
        if whole.contains(device.extents[0])
    ]


def is_as_wanted(device: Device, found: Namespace) -> bool:
    """Whether a namespace is what the device wants, its permissions aside."""
    return (
        (found.mode, found.align, found.map, found.data, found.driver)
        == (device.namespace, device.align, device.map, device.extents[0], DRIVERS[device.namespace])
        and bool(found.node_path)
    )  # fmt: skip


def missing(layout: Layout, namespaces: Sequence[Namespace]) -> list[tuple[Device, Range]]:
    """What the kernel has made no namespace of."""
    there = {found.range for found in namespaces}
    return [(device, whole) for device, whole in wanted_namespaces(layout) if whole not in there]


def plan_namespaces(layout: Layout, namespaces: Sequence[Namespace]) -> list[Make]:
    """The steps; none where all is as wanted. Raises :class:`NotPossible` where the kernel has made no namespace."""
    problems = []
    for device, whole in missing(layout, namespaces):
        others = ", ".join(str(found.range) for found in namespaces) or "none"
        problems.append(
            Problem(
                device.path,
                "namespace-missing",
                f"the kernel has made no namespace of {whole} for {device.name}; it has: {others}. Either the memmap= "
                "argument did not take effect, or nd_e820 is not loaded or not built (CONFIG_X86_PMEM_LEGACY)",
            )
        )
    if problems:
        raise NotPossible(problems)
    by_range = {found.range: found for found in namespaces}
    return [
        Make(device, by_range[whole])
        for device, whole in wanted_namespaces(layout)
        if not is_as_wanted(device, by_range[whole])
    ]


def plan_removal(layouts: Iterable[Layout], namespaces: Sequence[Namespace]) -> list[Destroy]:
    """The steps that take every device of these layouts' namespaces away."""
    ours = {r.range for layout in layouts for r in pmem_reservations(layout)}
    return [
        Destroy(found) for found in namespaces if found.range in ours and (found.node_path or found.align)
    ]


def carry_out_namespaces(system: System, steps: Sequence[Step]) -> None:
    """Do the steps in order. Raises :class:`NotPossible` at the first that fails or is not found done."""
    for step in steps:
        done = system.run(step.argv)
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        if done.status == 127:
            said = ["ndctl is not installed on this host"]
        path = step.device.path if isinstance(step, Make) else ""
        if done.status != 0:
            reason = " / ".join(said[-3:]) or f"status {done.status}"
            raise NotPossible.of(path, "namespace-failed", f"cannot {step.text}: {reason}")
        now = next((n for n in read_namespaces(system) if n.range == step.found.range), None)
        if isinstance(step, Make) and (now is None or not _is_made(step.device, now)):
            text = f"cannot {step.text}: ndctl reports success, but the kernel has {_told(now)}"
            raise NotPossible.of(path, "namespace-failed", text)


def _is_made(device: Device, now: Namespace) -> bool:
    # its node follows when udev has come to it
    return (now.mode, now.align, now.map, now.data) == (
        device.namespace, device.align, device.map, device.extents[0]
    )  # fmt: skip


def _told(now: Namespace | None) -> str:
    if now is None:
        return "no namespace there"
    return (
        f"{now.mode}, align {format_size(now.align)}, struct pages on {now.map or 'nothing'}, data {now.data}"
    )
