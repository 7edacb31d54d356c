# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan --format tenants``: how a virtual machine gets its memory from each device of a layout."""

from __future__ import annotations

from ansible_collections.carveout.memory.plugins.module_utils._dax.state import LINKS
from ansible_collections.carveout.memory.plugins.module_utils._layout import DEVDAX, Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import KIB, MIB, format_size


def tenants_text(layout: Layout) -> str:
    """For each device QEMU's options and libvirt's XML; one line where the layout has no devices for tenants."""
    devices = [device for device in layout.devices if device.use == DEVDAX]
    if not devices:
        return f"layout {layout.id} has no devices for tenants\n"
    return "\n".join(_device(device) for device in devices)


def qemu_options(device: Device) -> list[str]:
    """QEMU's options for a guest all of whose memory is the device.

    ``align``: QEMU maps at multiples of the host's page size, which a device of a larger align refuses
    (drivers/dax/device.c, check_vma); ``share``: the same function refuses private mappings.
    """
    backend = {
        "id": device.name,
        "mem-path": f"{LINKS}/{device.name}",
        "size": str(device.size),
        "align": str(device.align),
        "share": "on",
    }
    return [
        "-m", f"{device.size // MIB}M",
        "-object", ",".join(["memory-backend-file", *(f"{key}={value}" for key, value in backend.items())]),
        "-machine", f"memory-backend={device.name}",
    ]  # fmt: skip


def libvirt_xml(device: Device) -> list[str]:
    """Lines of the element for ``<devices>``.

    The one model of libvirt that takes a path of a character device; the guest sees persistent memory.
    """
    return [
        "<memory model='nvdimm' access='shared'>",
        "  <source>",
        f"    <path>{LINKS}/{device.name}</path>",
        f"    <alignsize unit='KiB'>{device.align // KIB}</alignsize>",
        "  </source>",
        "  <target>",
        f"    <size unit='KiB'>{device.size // KIB}</size>",
        "    <node>0</node>",
        "  </target>",
        "</memory>",
    ]


def _device(device: Device) -> str:
    options = qemu_options(device)
    pairs = [f"      {name} {value}" for name, value in zip(options[::2], options[1::2], strict=True)]
    lines = [
        f"{device.name}: {format_size(device.size)} on node {device.node}, align {format_size(device.align)}",
        "  QEMU, as all of the guest's memory:",
        *(f"{pair} \\" for pair in pairs[:-1]),
        pairs[-1],
        "  libvirt, as persistent memory of the guest:",
        *(f"      {line}" for line in libvirt_xml(device)),
    ]
    return "\n".join(lines) + "\n"
