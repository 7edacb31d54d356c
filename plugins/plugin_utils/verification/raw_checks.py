# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What raw reads must show: few and plain, each by another way than the shared expectations go.

Every check gives the messages of what is wrong, with the plan's path; none where all is right.
"""

from __future__ import annotations

import re

from ansible_collections.carveout.memory.plugins.module_utils._layout import SYSTEM_RAM, Layout

from .raw import DeviceFile, Raw, Resource

_NO_FILE = DeviceFile("", "", "", "", "")
_PERSISTENT = "Persistent Memory (legacy)"
_RAM = "System RAM"
_NOT_INSIDE = (_RAM, "Kernel ", "Crash kernel")
_MIB = 1 << 20


def check_command_line(layout: Layout, raw: Raw) -> list[str]:
    """The arguments as one literal text in /proc/cmdline; the ID may be another's where the host notes this one."""
    run = " ".join(layout.kernel_arguments)
    if not run:
        return ["pools: /proc/cmdline names a layout"] if "carveout.layout=" in raw.cmdline else []
    if f" {run} " in f" {raw.cmdline} ":
        return []
    others_id = rf"carveout\.layout=[0-9a-f]{{16}}{re.escape(run[len(layout.kernel_arguments[0]) :])}"
    if raw.noted == layout.id and re.search(rf"(?:^| ){others_id}(?: |$)", raw.cmdline):
        return []
    return [
        f"pools: raw /proc/cmdline does not hold the plan's arguments as they are, {run!r}: {raw.cmdline!r}"
    ]


def check_memory_map(layout: Layout, raw: Raw) -> list[str]:
    """No RAM and no kernel image in a reservation, but what the plan gives back; each device's extents under its name.

    A driver that binds a device asks for its ranges by the device's name (drivers/dax/device.c, dev_dax_probe),
    which shows the extents and that a driver is bound without a look at sysfs.
    """
    if not any(resource.last for resource in raw.iomem):
        return ["pools: raw /proc/iomem shows no addresses, it was not read as root"]
    wrong = []
    for reservation in layout.reservations:
        # what dmemfs has goes on being System RAM there
        wrong_names = ("Kernel ", "Crash kernel") if reservation.mechanism == "dmemfs" else _NOT_INSIDE
        path = f"pools.{reservation.pool}.nodes.{reservation.node}"
        for resource in raw.iomem:
            inside = resource.first < reservation.end and resource.last >= reservation.start
            if _given_back(layout, resource):
                continue
            if inside and resource.name.startswith(wrong_names):
                wrong.append(
                    f"{path}: raw /proc/iomem has {resource.name!r} at {resource.first:#x}-{resource.last:#x} inside "
                    f"the reservation [{reservation.start:#x}, {reservation.end:#x})"
                )
        shown = [(r.first, r.last + 1) for r in raw.iomem if r.name == _PERSISTENT]
        if reservation.mechanism == "pmem" and (reservation.start, reservation.end) not in shown:
            wrong.append(
                f"{path}: raw /proc/iomem has no {_PERSISTENT!r} of [{reservation.start:#x}, {reservation.end:#x})"
            )
    for device in layout.devices:
        if device.use == SYSTEM_RAM or device.namespace == "fsdax":
            continue
        file = raw.files.get(device.name)
        name = file.target.removeprefix("/dev/") if file else "?"
        shown = sorted((r.first, r.last + 1) for r in raw.iomem if r.name == name)
        if shown != sorted((extent.start, extent.end) for extent in device.extents):
            text = " ".join(f"[{start:#x}, {end:#x})" for start, end in shown) or "nothing"
            wanted = " ".join(str(extent) for extent in device.extents)
            wrong.append(
                f"{device.path}: raw /proc/iomem has {text} for the device {device.name} ({name}), "
                f"the plan says {wanted}"
            )
    return wrong


def check_total(layout: Layout, raw: Raw) -> list[str]:
    """MemTotal is not more than the RAM of the prediction (and RAM from elsewhere), and not far less."""
    total = raw.mem_total << 10
    most = layout.memory.kernel_after + sum(
        resource.last + 1 - resource.first for resource in raw.iomem if _from_elsewhere(layout, resource)
    )
    returned = sum(r.last + 1 - r.first for r in raw.iomem if _given_back(layout, r, online=True))
    most += returned
    least = layout.memory.kernel_after * 31 // 32 - 512 * _MIB + returned * 63 // 64
    if least <= total <= most:
        return []
    return [
        f"kernel.memory: raw /proc/meminfo has a MemTotal of {total // _MIB} MiB, expected are {max(0, least // _MIB)} "
        f"to {most // _MIB} MiB"
    ]


def check_huge_pages(layout: Layout, raw: Raw) -> list[str]:
    """All huge pages of the host together (Hugetlb of /proc/meminfo) are no fewer than the plan's."""
    wanted = sum(pages.size for pages in layout.hugepages)
    if raw.hugetlb << 10 >= wanted:
        return []
    return [
        f"pools.{layout.hugepages[0].pool}: raw /proc/meminfo has {raw.hugetlb >> 10} MiB of huge pages (Hugetlb), the "
        f"plan says {wanted // _MIB} MiB"
    ]


def check_touched(layout: Layout, raw: Raw) -> list[str]:
    """A page of a new file of every dmemfs mount could be written and read (none where tenants have all of them)."""
    return [
        f"pools.{mount.pool}.mount: a file of {mount.path} cannot be used: "
        f"{'the pool is empty' if said == 'empty' else said}"
        for mount in layout.mounts
        if mount.kind == "dmemfs"
        and (said := raw.touched.get(mount.path, "not tried")) not in ("touched", "full")
    ]


def _given_back(layout: Layout, resource: Resource, *, online: bool = False) -> bool:
    """RAM of the driver kmem in a device that the plan gives to the kernel (and has onlined)."""
    return resource.name == f"{_RAM} (kmem)" and any(
        extent.start <= resource.first and resource.last < extent.end
        for device in layout.devices
        if device.use == SYSTEM_RAM and (device.online != "no" or not online)
        for extent in device.extents
    )


def _from_elsewhere(layout: Layout, resource: Resource) -> bool:
    """RAM that is neither in the firmware's map as the prediction has it nor in a reservation: added later."""
    if not resource.name.startswith(_RAM):
        return False
    known = [(start, end) for start, end, kind in layout.predicted_map if kind == 1]
    known += [(reservation.start, reservation.end) for reservation in layout.reservations]
    return not any(start <= resource.last and resource.first < end for start, end in known)


def check_device_files(layout: Layout, raw: Raw) -> list[str]:
    """/dev/carveout/NAME leads to a character device (a block device for file systems) with owner, group and mode."""
    wrong = []
    for device in layout.devices:
        if device.use == SYSTEM_RAM:
            if raw.files.get(device.name, _NO_FILE).target.startswith("/dev/dax"):
                wrong.append(
                    f"{device.path}: raw readlink: /dev/carveout/{device.name} is there, for the kernel's own memory"
                )
            continue
        link = f"/dev/carveout/{device.name}"
        file = raw.files.get(device.name)
        nodes, kind = ("/dev/pmem", "block") if device.namespace == "fsdax" else ("/dev/dax", "character")
        if file is None or not file.target.startswith(nodes):
            wrong.append(f"{device.path}: raw readlink: the link {link} does not lead to a device {nodes}*")
            continue
        if file.kind != f"{kind} special file":
            wrong.append(f"{device.path}: raw stat: {link} is no {kind} device but: {file.kind}")
            continue
        mode = file.mode.rjust(4, "0")
        for what, shown, planned in (
            ("mode", mode, device.mode),
            ("owner", file.owner, device.owner),
            ("group", file.group, device.group),
        ):
            if shown != planned:
                wrong.append(
                    f"{device.path}: raw stat: {link} has the {what} {shown}, the plan says {planned}"
                )
    return wrong


def check_own_files(layout: Layout, raw: Raw) -> list[str]:
    """Nobody but root can write what the boot service, systemd or GRUB read of ours."""
    return [
        f"files: raw find: others than root can write {path}, which root's programs read; see what is in it, then "
        f"chown root and chmod go-w"
        for path in raw.writable
    ]


#: All of them: those of what a layout does not have find nothing.
RAW_CHECKS = (
    check_command_line,
    check_memory_map,
    check_total,
    check_huge_pages,
    check_touched,
    check_device_files,
    check_own_files,
)
