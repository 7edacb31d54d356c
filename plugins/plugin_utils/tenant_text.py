# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan --format tenants``: how a virtual machine gets its memory from each device or mount of a layout."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.carveout.memory.plugins.module_utils._dax.state import LINKS
from ansible_collections.carveout.memory.plugins.module_utils._layout import DEVDAX, Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._mechanisms.pmem import FSDAX
from ansible_collections.carveout.memory.plugins.module_utils._mounts import HUGETLBFS, Mount
from ansible_collections.carveout.memory.plugins.module_utils._units import KIB, MIB, format_size


def tenants_text(layout: Layout) -> str:
    """For each device and mount QEMU's options and libvirt's XML; one line where there is nothing for tenants."""
    devices = [device for device in layout.devices if device.use == DEVDAX and device.namespace != FSDAX]
    if not devices and not layout.mounts:
        return f"layout {layout.id} has no devices for tenants\n"
    return "\n".join([*map(_device, devices), *map(_mount, layout.mounts)])


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
    return _qemu(device.size, backend)


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


def mount_qemu_options(mount: Mount) -> list[str]:
    """QEMU's options for a guest all of whose memory is a file of its own on the mount.

    Where ``mem-path`` is a directory, QEMU makes a file in it and unlinks it at once, so that the pages come back
    when the guest ends. ``prealloc``: a guest for which there is no page left does not start, and is not killed later.
    """
    backend = {
        "id": mount.pool,
        "mem-path": mount.path,
        "size": str(mount.size),
        "share": "on",
        "prealloc": "on",
    }
    return _qemu(mount.size, backend)


def mount_libvirt_xml(mount: Mount) -> list[str]:
    """Lines of the domain's element, and the line of libvirt's qemu.conf that it needs."""
    if mount.kind == HUGETLBFS:
        setting, page = "hugetlbfs_mount", f"<page size='{mount.page_size // KIB}' unit='KiB'/>"
        lines = ["  <hugepages>", f"    {page}", "  </hugepages>"]
    else:
        setting, lines = "memory_backing_dir", ["  <source type='file'/>"]
    return [
        # a path may have what a comment may not (two hyphens), so it stands in the title alone
        f"<!-- with the mount as {setting} in qemu.conf -->",
        "<memoryBacking>",
        *lines,
        "  <access mode='shared'/>",
        "  <allocation mode='immediate'/>",
        "</memoryBacking>",
    ]


def _qemu(size: int, backend: Mapping[str, str]) -> list[str]:
    return [
        "-m", f"{size // MIB}M",
        "-object", ",".join(["memory-backend-file", *(f"{key}={value}" for key, value in backend.items())]),
        "-machine", f"memory-backend={backend['id']}",
    ]  # fmt: skip


def _device(device: Device) -> str:
    return _use(
        f"{device.name}: {format_size(device.size)} on node {device.node}, align {format_size(device.align)}",
        qemu_options(device),
        "as persistent memory of the guest",
        libvirt_xml(device),
    )


def _mount(mount: Mount) -> str:
    return _use(
        f"{mount.path}: {format_size(mount.size)} in pages of {format_size(mount.page_size)}, {mount.kind}",
        mount_qemu_options(mount),
        "as all of the guest's memory",
        mount_libvirt_xml(mount),
    )


def _use(title: str, options: list[str], role: str, xml: list[str]) -> str:
    pairs = [f"      {name} {value}" for name, value in zip(options[::2], options[1::2], strict=True)]
    lines = [
        title,
        "  QEMU, as all of the guest's memory:",
        *(f"{pair} \\" for pair in pairs[:-1]),
        pairs[-1],
        f"  libvirt, {role}:",
        *(f"      {line}" for line in xml),
    ]
    return "\n".join(lines) + "\n"
