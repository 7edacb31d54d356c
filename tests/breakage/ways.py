# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to break a carved host while it runs, each with its mending and what the verification has to say of it.

What would need another boot is shown by a changed text that is mounted over the file which the kernel wrote.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host_files import program_path
from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import KIB, format_size

_BUS = "/sys/bus/dax"
_DRIVER = f"{_BUS}/drivers/device_dax"
_KMEM = f"{_BUS}/drivers/kmem"
_SCRATCH = "/run/carveout-breakage"
_ONLINE = "/sys/devices/system/memory/auto_online_blocks"
#: Makes the devices of the booted layout anew, as the boot service does.
RESTORE = f"python3 -B {program_path()} restore && udevadm settle"


@dataclass(frozen=True)
class Way:
    """``mend`` is a command for the host's shell; ``expected`` are parts of messages that all have to appear."""

    name: str
    damage: Callable[[], None]
    mend: str
    expected: tuple[str, ...]


class Rig:
    """A carved host and its layout."""

    def __init__(self, host: Any, layout: Layout) -> None:
        self._host = host
        self.layout = layout

    def run(self, command: str) -> str:
        """A command in the host's shell; RuntimeError where it fails."""
        done = self._host.run(command)
        if done.rc != 0:
            raise RuntimeError(f"{command!r} ended with status {done.rc}: {done.stderr.strip()}")
        return str(done.stdout)

    def dax(self, device: Device) -> str:
        """The name that the kernel gave a device, dax0.1."""
        return posixpath.basename(self.run(f"readlink -f /dev/carveout/{device.name}").strip())

    def override(self, path: str, change: Callable[[str], str]) -> None:
        """Show a changed text at ``path``; :func:`uncover` ends it."""
        before = self.run(f"cat {path}")
        after = change(before)
        if after == before:
            raise RuntimeError(f"the change of {path} changes nothing")
        copy = f"{_SCRATCH}/{path.strip('/').replace('/', '_')}"
        self._host.run_expect([0], f"mkdir -p {_SCRATCH} && printf %%s %s > {copy}", after)
        self.run(f"mount --bind {copy} {path}")

    def rebuilt(self, device: Device, steps: str) -> None:
        """Change an unbound device in its sysfs directory (``$d``) and bind it again."""
        name = self.dax(device)
        self.run(
            f"d={_BUS}/devices/{name} && echo {name} > {_DRIVER}/unbind && {steps} && echo {name} > {_DRIVER}/bind "
            "&& udevadm settle"
        )


def uncover(path: str) -> str:
    return f"umount {path}"


def ways(rig: Rig) -> list[Way]:
    """Every way that the layout's devices allow for."""
    layout = rig.layout
    first = layout.devices[0]
    found = [*_files(rig, first), *_devices(rig, first), *_texts(rig)]
    found += [_swapped(rig, device) for device in layout.devices if len(device.extents) == 2][:1]
    return [*found, *_pages(rig), *_host(rig)]


def _files(rig: Rig, device: Device) -> list[Way]:
    link = f"/dev/carveout/{device.name}"
    subject = f"{device.path}: the device {device.name} has"
    raw = f"{device.path}: raw stat: {link} has"
    node = f"$(readlink -f {link})"
    other = rig.layout.devices[-1].name
    return [
        Way(
            "own-file",
            lambda: _run(rig, "chmod o+w /etc/carveout/committed"),
            "chmod o-w /etc/carveout/committed",
            ("files: raw find: others than root can write /etc/carveout/committed",),
        ),
        Way(
            "mode",
            lambda: _run(rig, f"chmod 0666 {node}"),
            f"chmod {device.mode} {node}",
            (
                f"{subject} mode 0666, the plan says {device.mode}",
                f"{raw} the mode 0666, the plan says {device.mode}",
            ),
        ),
        Way(
            "owner",
            lambda: _run(rig, f"chown bin:bin {node}"),
            f"chown {device.owner}:{device.group} {node}",
            (
                f"{subject} the owner bin, the plan says {device.owner}",
                f"{subject} the group bin, the plan says {device.group}",
                f"{raw} the owner bin, the plan says {device.owner}",
            ),
        ),
        Way(
            "link missing",
            lambda: _run(rig, f"mv {link} /run/carveout-link"),
            f"mv /run/carveout-link {link}",
            (
                f"{subject} no link {link}",
                f"{device.path}: raw readlink: the link {link} does not lead to a device /dev/dax*",
            ),
        ),
        Way(
            "link elsewhere",
            lambda: _run(rig, f"cp -P {link} /run/carveout-link && ln -sfn {other} {link}"),
            f"rm {link} && mv /run/carveout-link {link}",
            (f"{subject} the link {link} to /dev/", f"{device.path}: raw /proc/iomem has "),
        ),
    ]


def _devices(rig: Rig, device: Device) -> list[Way]:
    subject = f"{device.path}: the device {device.name}"
    align = 2 << 20 if device.align != 2 << 20 else 4096
    half = device.size // 2
    raw = f"{device.path}: raw /proc/iomem has"
    return [
        Way(
            "driver unbound",
            lambda: _run(rig, f"echo {rig.dax(device)} > {_DRIVER}/unbind"),
            RESTORE,
            (
                f"{subject} has no driver, the plan says device_dax",
                f"{raw} nothing for the device {device.name}",
            ),
        ),
        Way(
            "driver kmem, kernel memory in the reservation",
            lambda: _to_kmem(rig, device),
            f"for p in {_KMEM}/dax*; do n=${{p##*/}}; echo $n > {_KMEM}/unbind; echo $n > {_KMEM}/remove_id; done && "
            f"cat {_SCRATCH}/online > {_ONLINE} && {RESTORE}",
            (
                f"{subject} has the driver kmem, the plan says device_dax",
                f"pools.{device.pool}.nodes.{device.node}: the reservation ",
                "System RAM (kmem)",
                f"pools.{device.pool}.nodes.{device.node}: raw /proc/iomem has 'System RAM (kmem)'",
            ),
        ),
        Way(
            "align",
            lambda: rig.rebuilt(device, f"echo {align} > $d/align"),
            RESTORE,
            (f"{subject} has align {format_size(align)}, the plan says {format_size(device.align)}",),
        ),
        Way(
            "size",
            lambda: rig.rebuilt(device, f"echo {align} > $d/align && echo {half} > $d/size"),
            RESTORE,
            (
                f"{subject} has size {format_size(half)}, the plan says {format_size(device.size)}",
                f"{subject} has the extents [",
                f"{subject} has no link",  # the rule wants the right size
                f"{device.path}: raw readlink: the link ",
            ),
        ),
        Way(
            "device missing",
            lambda: _delete(rig, device),
            RESTORE,
            (f"{subject} does not exist: no DAX device maps any of", f"{raw} nothing for the device"),
        ),
        Way(
            "device of nobody",
            lambda: _stranger(rig, device, align, half),
            RESTORE,
            (
                f"pools.{device.pool}.nodes.{device.node}: in its DAX region stands dax",
                f" of {format_size(device.size - half)}, which no plan asked for",
            ),
        ),
    ]


def _swapped(rig: Rig, device: Device) -> Way:
    first, second = device.extents
    write = " && ".join(f"printf %x-%x {e.start} {e.end - 1} > $d/mapping" for e in (second, first))
    return Way(
        "extents swapped",
        lambda: rig.rebuilt(device, f"echo 0 > $d/size && {write}"),
        RESTORE,
        (
            f"{device.path}: the device {device.name} has the extents {second} {first}, "
            f"the plan says {first} {second}",
        ),
    )


def _pages(rig: Rig) -> list[Way]:
    """A huge page given back and a mount gone; nothing where the layout has no such mount."""
    layout = rig.layout
    if not layout.mounts:
        return []
    mount = layout.mounts[0]
    pages = next(h for h in layout.hugepages if (h.pool, h.page_size) == (mount.pool, mount.page_size))
    count = sum(h.count for h in layout.hugepages if (h.node, h.page_size) == (pages.node, pages.page_size))
    size = f"{pages.page_size // KIB}kB"
    file = f"/sys/devices/system/node/node{pages.node}/hugepages/hugepages-{size}/nr_hugepages"
    return [
        Way(
            "huge page missing, mount gone",
            lambda: _run(rig, f"umount {mount.path} && echo {count - 1} > {file}"),
            f"echo {count} > {file} && systemctl start '{mount.unit}'",
            (
                f"pools.{pages.pool}.nodes.{pages.node}: node {pages.node} has {count - 1} pages of "
                f"{format_size(pages.page_size)}, the plan says {count}",
                f"pools.{mount.pool}.mounts: nothing with huge pages is mounted at {mount.path}",
            ),
        )
    ]


def _texts(rig: Rig) -> list[Way]:
    """Other boots, by texts over /proc/cmdline, the boot loader's menu, /proc/iomem and /proc/meminfo."""
    arguments = rig.layout.kernel_arguments
    run, gone = " ".join(arguments), arguments[1]
    reservation = rig.layout.reservations[0]
    path = f"pools.{reservation.pool}.nodes.{reservation.node}"
    swapped = " ".join([arguments[0], *reversed(arguments[1:])])
    where = f"{reservation.range}"
    code = f"{reservation.start:x}-{reservation.start + (16 << 20) - 1:x} : Kernel code\n"
    raw = "pools: raw /proc/cmdline does not hold the plan's arguments"

    def over(name: str, file: str, change: Callable[[str], str], *expected: str) -> Way:
        return Way(name, lambda: rig.override(file, change), uncover(file), expected)

    return [
        over(
            "argument missing",
            "/proc/cmdline",
            lambda text: text.replace(f" {gone}", ""),
            f": the argument {gone} is missing on the booted command line",
            raw,
        ),
        over(
            "arguments in the wrong order",
            "/proc/cmdline",
            lambda text: text.replace(run, swapped),
            f": on the booted command line the arguments stand in the wrong order: after {arguments[0]} comes "
            f"{arguments[-1]}, the plan says {arguments[1]}",
            raw,
        ),
        over(
            "another layout booted",
            "/proc/cmdline",
            lambda text: text.replace(arguments[0], "carveout.layout=0123456789abcdef"),
            f"pools: the booted command line names the layout 0123456789abcdef, the plan's is {rig.layout.id}",
            raw,
        ),
        over(
            "argument missing from the next boot",
            "/boot/grub/grub.cfg",
            lambda text: text.replace(f" {gone}", ""),
            f": the argument {gone} is missing on the entry that boots next",
        ),
        over(
            "kernel memory in a reservation",
            "/proc/iomem",
            lambda text: re.sub(rf"(?m)^({reservation.start:08x}-.*) : .*$", r"\1 : System RAM", text),
            f"{path}: the reservation {where} is not clear of kernel memory: System RAM",
            f"{path}: raw /proc/iomem has 'System RAM'",
        ),
        over(
            "kernel image in a reservation",
            "/proc/iomem",
            lambda text: text + code,
            f"{path}: the reservation {where} is not clear of the kernel's image: Kernel code",
            f"{path}: raw /proc/iomem has 'Kernel code'",
        ),
        over(
            "RAM limited",
            "/proc/meminfo",
            lambda text: re.sub(r"MemTotal: .*", "MemTotal:  400000 kB", text),
            "kernel.memory: the kernel has 390.62 MiB (MemTotal), expected is ",
            "kernel.memory: raw /proc/meminfo has a MemTotal of 390 MiB",
        ),
    ]


def _host(rig: Rig) -> list[Way]:
    stored = f"/etc/carveout/layouts/{rig.layout.id}.json"
    unit = "/etc/systemd/system/carveout-dax.service"
    return [
        Way(
            "layout not stored",
            lambda: _run(rig, f"mv {stored} /run/carveout-layout"),
            f"mv /run/carveout-layout {stored}",
            (f"pools: the layout {rig.layout.id} is not stored in /etc/carveout/layouts",),
        ),
        Way(
            "boot service missing",
            lambda: _run(rig, f"mv {unit} /run/carveout-unit"),
            f"mv /run/carveout-unit {unit}",
            (f"pools: the boot service that makes the devices is missing: {unit}",),
        ),
    ]


def _run(rig: Rig, command: str) -> None:
    rig.run(command)


def _to_kmem(rig: Rig, device: Device) -> None:
    """As kernels since 6.3 do by themselves; its blocks stay offline, so that the memory can be taken back."""
    name = rig.dax(device)
    rig.run(
        f"mkdir -p {_SCRATCH} && cat {_ONLINE} > {_SCRATCH}/online && echo offline > {_ONLINE} && modprobe kmem && "
        f"echo {name} > {_DRIVER}/unbind && echo {name} > {_DRIVER}/remove_id && "
        f"echo {name} > {_KMEM}/new_id && test -e {_KMEM}/{name} && udevadm settle"
    )


def _delete(rig: Rig, device: Device) -> None:
    name = rig.dax(device)
    rig.run(
        f"d=$(readlink -f {_BUS}/devices/{name}) && echo {name} > {_DRIVER}/unbind && echo 0 > $d/size && "
        f"echo {name} > $d/../dax_region/delete && udevadm settle"
    )


def _stranger(rig: Rig, device: Device, align: int, half: int) -> None:
    """Half of the device for somebody else."""
    region = posixpath.dirname(rig.run(f"readlink -f {_BUS}/devices/{rig.dax(device)}").strip())
    rig.rebuilt(device, f"echo {align} > $d/align && echo {half} > $d/size")
    before = set(rig.run(f"ls {region}").split())
    rig.run(f"echo 1 > {region}/dax_region/create")
    (name,) = [n for n in set(rig.run(f"ls {region}").split()) - before if n.startswith("dax")]
    rig.run(f"echo {device.size - half} > {region}/{name}/size")
