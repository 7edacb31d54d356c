# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices whose memory goes back to the kernel while it runs: what that takes and loses.

The driver kmem adds whole memory blocks (drivers/dax/kmem.c, dax_kmem_range); of a device's extents the ends that
are not whole blocks are nobody's.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import NotPossible, Problem
from .._host.model import Host
from .._layout import SYSTEM_RAM, Device, LayoutWarning
from .._ranges import whole_blocks
from .._units import format_size
from .nodes import memory_block

_CONFIG = "CONFIG_DEV_DAX_KMEM"


def check_system_ram(host: Host, devices: Sequence[Device]) -> list[LayoutWarning]:
    """What is lost at the ends of the extents.

    Raises :class:`NotPossible` where the kernel cannot do it, or an extent has no whole memory block: the kernel
    leaves that one out, and part of what it keeps about the device stays behind when it gives the device back.
    """
    warnings: list[LayoutWarning] = []
    problems: list[Problem] = []
    block = memory_block(host)
    for device in devices:
        if device.use != SYSTEM_RAM:
            continue
        if host.kernel_config and host.kernel_config.get(_CONFIG) not in ("y", "m"):
            message = (
                f"the kernel {host.kernel} is built without {_CONFIG}; use: devdax, or boot one that has it"
            )
            problems.append(Problem(f"{device.path}.use", "kernel-config", message))
            continue
        for extent in device.extents:
            if not whole_blocks([extent], block):
                message = (
                    f"{extent} of {device.name} holds no whole memory block of {format_size(block)}, and the kernel "
                    "takes memory back in whole blocks only; a larger or otherwise placed extent would do"
                )
                problems.append(Problem(device.path, "system-ram-blocks", message))
        lost = device.size - sum(part.size for part in whole_blocks(device.extents, block))
        if lost:
            text = (
                f"the kernel gets {format_size(device.size - lost)} of device {device.name} back and not "
                f"{format_size(device.size)}: it takes whole memory blocks of {format_size(block)} only"
            )
            warnings.append(LayoutWarning("system-ram-blocks", text))
    if problems:
        raise NotPossible(problems)
    return warnings
