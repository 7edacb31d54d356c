# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host whose DAX devices exist in memory only, to see failures that a real kernel does not give on demand."""

from __future__ import annotations

import errno
import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import (
    Device,
    Layout,
    Memory,
    Reservation,
)
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, Stat

MIB = 1 << 20
GIB = 1 << 30
BUS = "/sys/bus/dax"
MEMORY = "/sys/devices/system/memory"
BLOCK = 128 * MIB


@dataclass
class FakeDevice:
    """One ``daxX.Y`` of the fake kernel."""

    region: int
    align: int = 2 * MIB
    ranges: list[Range] = field(default_factory=list)
    driver: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0o600

    @property
    def size(self) -> int:
        return sum(range_.size for range_ in self.ranges)


class FakeKernel:
    """The DAX bus of Linux 6.12 as drivers/dax/bus.c and tries on 6.1, 6.12 and 7.2 show it.

    What it models: a region has a seed ``daxX.0`` that cannot be deleted; ``resource`` of an empty device is
    the region's start; ``mapping`` takes ``start-end`` in hexadecimal with the end inclusive, refuses overlaps
    with ENOMEM, *ignores a misaligned length with success* and never looks at the start's alignment; ``align``
    is EBUSY while bound and EINVAL where the size is no multiple; ``size`` is EBUSY while bound; ``delete`` is
    EBUSY for the seed and for what is bound or not empty; an empty device cannot be bound (ENXIO); and, where
    ``probe_fails`` is set, binding reports success without a driver, as the write to ``new_id`` does on 7.2
    where live System RAM lies in the ranges. ``region_flags_kmem``: device_dax does not match (ENODEV), as for
    regions that were not made idle on 6.3 and later, unless it is told the name (``new_id``).

    ``kmem`` (drivers/dax/kmem.c): ``new_id`` binds a device by its name and adds the whole memory blocks of each range,
    onlined as ``auto_online_blocks`` says; a block in ``pinned`` does not go offline (EBUSY); what is online while the
    driver is unbound stays until the next boot.

    udev is modelled as far as the rule goes: it sets links, owners and modes where all its keys match.
    """

    def __init__(self, regions: Sequence[Range]) -> None:
        self.regions = dict(enumerate(regions))
        self.devices = {f"dax{index}.0": FakeDevice(index) for index in self.regions}
        self.files: dict[str, str] = {
            "/etc/passwd": "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n",
            "/etc/group": "root:x:0:\ndaemon:x:1:\nkvm:x:104:\n",
            "/proc/cmdline": "ro quiet\n",
        }
        self.links: dict[str, str] = {}
        self.links_by_hand: set[str] = set()
        self.open_files: dict[str, str] = {}
        self.writes: list[tuple[str, str]] = []
        self.fail_at = -1
        self.probe_fails = False
        self.region_flags_kmem = False
        self.old_length_check = False
        self.udev_ignores_owner = False
        self.missing_modules = False
        self.policy = "online"
        self.blocks: dict[int, str] = {}
        self.pinned: set[int] = set()
        self.names_for_kmem: list[str] = []

    # ------------------------------------------------------------------------------------------- reading

    def _parent(self, region: int) -> str:
        return f"/sys/devices/platform/hmem.{region}"

    def _device(self, path: str) -> tuple[FakeDevice, str] | None:
        for name, device in self.devices.items():
            place = f"{self._parent(device.region)}/{name}/"
            if path.startswith(place):
                return device, path[len(place) :]
        return None

    def read(self, path: str) -> str | None:
        if path in self.files:
            return self.files[path]
        if path.startswith(f"{MEMORY}/"):
            return self._memory(path[len(MEMORY) + 1 :])
        for index, range_ in self.regions.items():
            values = {
                "id": index,
                "size": range_.size,
                "align": 2 * MIB,
                "available_size": range_.size
                - sum(d.size for d in self.devices.values() if d.region == index),
            }
            for attribute, value in values.items():
                if path == f"{self._parent(index)}/dax_region/{attribute}":
                    return f"{value}\n"
        found = self._device(path)
        return None if found is None else self._attribute(*found)

    def _memory(self, name: str) -> str | None:
        if name in ("block_size_bytes", "auto_online_blocks"):
            return f"{BLOCK:x}\n" if name == "block_size_bytes" else f"{self.policy}\n"
        number, _, attribute = name.removeprefix("memory").partition("/")
        zone = self.blocks.get(int(number))
        if zone is None:
            return None
        if attribute == "state":
            return "online\n" if zone else "offline\n"
        return f"{zone or 'Normal Movable'}\n"

    def _write_memory(self, name: str, text: str) -> None:
        if name == "auto_online_blocks":
            self.policy = text
            return
        number = int(name.removeprefix("memory").partition("/")[0])
        if text == "offline" and number in self.pinned:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.blocks[number] = {"offline": "", "online_movable": "Movable", "online_kernel": "Normal"}[text]

    def _numbers(self, device: FakeDevice) -> list[int]:
        return [
            number
            for range_ in device.ranges
            for number in range(-(-range_.start // BLOCK), range_.end // BLOCK)
        ]

    def _attribute(self, device: FakeDevice, attribute: str) -> str | None:
        if attribute == "size":
            return f"{device.size}\n"
        if attribute == "align":
            return f"{device.align}\n"
        if attribute == "target_node":
            return "0\n"
        if attribute == "resource":
            first = device.ranges[0] if device.ranges else self.regions[device.region]
            return f"{first.start:#x}\n"
        match = re.fullmatch(r"mapping(\d+)/(start|end|page_offset)", attribute)
        if match is None or int(match[1]) >= len(device.ranges):
            return None
        index = int(match[1])
        offset = sum(range_.size for range_ in device.ranges[:index]) // 4096
        value = {
            "start": device.ranges[index].start,
            "end": device.ranges[index].end - 1,
            "page_offset": offset,
        }
        return f"{value[match[2]]:#x}\n"

    def listdir(self, path: str) -> list[str]:
        if path == f"{BUS}/devices":
            return sorted(self.devices)
        if path == "/dev/carveout":
            return sorted(self.links)
        if path == "/proc":
            return ["1", "cpuinfo", *sorted({place.split("/")[2] for place in self.open_files})]
        if path.startswith("/proc/"):
            if path == "/proc/1/fd":
                raise ProcessLookupError(errno.ESRCH, "No such process")
            return sorted(
                place.rpartition("/")[2] for place in self.open_files if place.startswith(path + "/")
            )
        found = self._device(path + "/")
        return [] if found is None else [f"mapping{index}" for index in range(len(found[0].ranges))]

    def readlink(self, path: str) -> str | None:
        directory, name = posixpath.split(path)
        if directory == f"{BUS}/devices" and name in self.devices:
            return f"../../..{self._parent(self.devices[name].region)[4:]}/{name}"
        if directory == "/dev/carveout":
            return self.links.get(name)
        if name == "driver":
            driver = ""
            if directory.startswith(f"{BUS}/devices/"):
                driver = self.devices[posixpath.basename(directory)].driver
            else:
                found = self._device(directory + "/")
                driver = found[0].driver if found else ""
            return f"../../../../bus/dax/drivers/{driver}" if driver else None
        return None

    def stat(self, path: str) -> Stat | None:
        path = self.open_files.get(path, path)
        if path in self.files:
            return Stat(stat.S_IFREG | 0o644, 0, 0, 0, 0)
        device = self.devices.get(posixpath.basename(path))
        if device is None:
            return None
        number = 1000 + sorted(self.devices).index(posixpath.basename(path))
        return Stat(stat.S_IFCHR | device.mode, device.uid, device.gid, number, 0)

    # ------------------------------------------------------------------------------------------- writing

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self.files[path] = text

    def remove(self, path: str) -> bool:
        return self.files.pop(path, None) is not None

    def write_sysfs(self, path: str, text: str, seconds: int = 0) -> None:
        self.writes.append((path, text))
        if len(self.writes) - 1 == self.fail_at:
            raise OSError(errno.EIO, "injected")
        for index in self.regions:
            if path == f"{self._parent(index)}/dax_region/create":
                return self._create(index)
            if path == f"{self._parent(index)}/dax_region/delete":
                return self._delete(text)
        if path.startswith(f"{MEMORY}/"):
            return self._write_memory(path[len(MEMORY) + 1 :], text)
        if path == f"{BUS}/drivers/device_dax/bind":
            return self._bind(self.devices[text])
        if path == f"{BUS}/drivers/kmem/new_id":
            self.names_for_kmem.append(text)
            if not self.probe_fails:
                self.devices[text].driver = "kmem"
                self.blocks.update(
                    dict.fromkeys(
                        self._numbers(self.devices[text]), "" if self.policy == "offline" else "Normal"
                    )
                )
            return None
        if path == f"{BUS}/drivers/device_dax/new_id":
            self.devices[text].driver = "device_dax"
            return None
        if path == f"{BUS}/drivers/device_dax/remove_id":
            return None
        if path == f"{BUS}/drivers/kmem/remove_id":
            return self.names_for_kmem.remove(text)
        if re.fullmatch(f"{BUS}/drivers/[a-z_]+/unbind", path):
            if self.devices[text].driver == "kmem":
                for number in self._numbers(self.devices[text]):
                    if not self.blocks[number]:
                        del self.blocks[number]
            self.devices[text].driver = ""
            return self._unlink(text)
        found = self._device(path)
        assert found is not None, path
        device, attribute = found
        if attribute == "mapping":
            return self._map(device, text)
        if device.driver:
            raise OSError(errno.EBUSY, "Device or resource busy")
        if attribute == "size":
            assert text == "0"
            device.ranges.clear()
        elif attribute == "align":
            if any(range_.size % max(int(text), 2 * MIB) for range_ in device.ranges):
                raise OSError(errno.EINVAL, "Invalid argument")
            device.align = int(text)
        return None

    def _create(self, index: int) -> None:
        taken = {int(name.rpartition(".")[2]) for name, d in self.devices.items() if d.region == index}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        self.devices[f"dax{index}.{number}"] = FakeDevice(index)

    def _delete(self, name: str) -> None:
        device = self.devices.get(name)
        if device is None:
            raise OSError(errno.ENXIO, "No such device or address")
        if device.driver or device.size or name.endswith(".0"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        del self.devices[name]

    def _map(self, device: FakeDevice, text: str) -> None:
        first, last = (int(part, 16) for part in text.split("-"))
        added = Range(first, last + 1)
        if added.size % max(device.align, 2 * MIB):
            if self.old_length_check:
                raise OSError(errno.ENXIO, "No such device or address")
            return
        taken = [r for d in self.devices.values() if d.region == device.region for r in d.ranges]
        if any(r.overlaps(added) for r in taken) or not self.regions[device.region].contains(added):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        device.ranges.append(added)

    def _bind(self, device: FakeDevice) -> None:
        if self.region_flags_kmem:
            raise OSError(errno.ENODEV, "No such device")
        if not device.size:
            raise OSError(errno.ENXIO, "No such device or address")
        if not self.probe_fails:
            device.driver = "device_dax"

    def run(self, argv: Sequence[str]) -> Completed:
        if argv[0] == "modprobe" and self.missing_modules:
            return Completed(1, "", "modprobe: FATAL: Module dax_hmem not found\n")
        if list(argv[:2]) == ["udevadm", "trigger"]:
            for path in argv[3:]:
                self._udev(posixpath.basename(path))
        return Completed(2 if argv[0] == "getent" else 0, "", "")

    def _unlink(self, name: str) -> None:
        mine = [link for link, target in self.links.items() if target == f"../{name}"]
        for link in set(mine) - self.links_by_hand:
            del self.links[link]

    def _udev(self, name: str) -> None:
        device = self.devices[name]
        self._unlink(name)
        path = f"{self._parent(device.region)}/{name}"
        for line in self.files.get("/run/udev/rules.d/61-carveout.rules", "").splitlines():
            keys = re.findall(r'(?:ATTR\{([^}]+)\}|([A-Z]+))(==|\+=|=)"([^"]*)"', line)
            if not keys or not line.startswith("DRIVER"):
                continue
            wanted = {
                attribute: value for attribute, _, operator, value in keys if attribute and operator == "=="
            }
            if device.driver != "device_dax" or any(
                (self.read(f"{path}/{attribute}") or "").strip() != value
                for attribute, value in wanted.items()
            ):
                continue
            values = {key: value for _, key, operator, value in keys if operator != "=="}
            self.links[values["SYMLINK"].partition("/")[2]] = f"../{name}"
            device.mode = int(values["MODE"], 8)
            if not self.udev_ignores_owner:
                device.uid = {"root": 0, "daemon": 1}[values["OWNER"]]
                device.gid = {"root": 0, "daemon": 1, "kvm": 104}[values["GROUP"]]


class Builder:
    """Layouts for tests, and the fake host that was booted with one."""

    @staticmethod
    def layout(regions: Sequence[Range], devices: Sequence[Device], mechanism: str = "dax") -> Layout:
        reservations = tuple(
            Reservation(f"pool{i}", mechanism, 0, r.start, r.end, 2 * MIB) for i, r in enumerate(regions)
        )
        return Layout(
            plan={"version": 1},
            kernel="6.12.0",
            arguments=("dax_hmem.region_idle=1",),
            reservations=reservations,
            devices=tuple(devices),
            predicted_map=(),
            memory=Memory(),
            memory_nodes={},
        )

    @staticmethod
    def device(name: str, *extents: Range, align: int = 2 * MIB, pool: int = 0, **access: str) -> Device:
        return Device(name, f"pool{pool}", 0, align, tuple(extents), f"pools.pool{pool}.devices[0]", **access)

    @staticmethod
    def kernel(layout: Layout) -> FakeKernel:
        kernel = FakeKernel([r.range for r in layout.reservations if r.mechanism == "dax"])
        kernel.files["/proc/cmdline"] = "ro " + " ".join(layout.kernel_arguments) + "\n"
        return kernel


@pytest.fixture(scope="session")
def build() -> Builder:
    return Builder()
