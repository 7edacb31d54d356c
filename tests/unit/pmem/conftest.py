# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host with namespaces of persistent memory as files below a directory, with an ndctl and a udev of its own."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._host_files import layout_path, layout_text
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._model.struct_pages import pmem_space
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem, Stat
from ansible_collections.carveout.memory.plugins.module_utils._units import parse_size

GIB = 1 << 30
BUS = "/sys/devices/platform/e820_pmem/ndbus0"


class PmemHost(RealSystem):
    """sysfs as Linux 6.12 shows it with nd_e820 (tried in QEMU).

    ``said`` are the commands; ``broken`` is what ndctl fails with, ``lying``: it reports success and does nothing.
    """

    def __init__(self, root: Path, ranges: Sequence[Range]) -> None:
        super().__init__(str(root))
        self.root = root
        self.said: list[list[str]] = []
        self.broken = ""
        self.lying = False
        self.access: dict[str, tuple[int, int, int]] = {}
        self.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n")
        self.put("/etc/group", "root:x:0:\ndaemon:x:1:\nkvm:x:104:\n")
        for index, whole in enumerate(ranges):
            place = f"{BUS}/region{index}/namespace{index}.0"
            self.put(f"{place}/resource", f"{whole.start:#x}\n")
            self.put(f"{place}/size", f"{whole.size}\n")
            self.put(f"{place}/target_node", "1\n")
            link = root / f"sys/bus/nd/devices/namespace{index}.0"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(
                f"../../../..{place.removeprefix('/sys/devices')}".replace("../../../..", "../../../devices")
            )
            self.raw(index)

    def put(self, path: str, text: str) -> None:
        place = Path(str(self.root) + path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def raw(self, index: int) -> None:
        """As after power-on: no info block, the block device is the whole namespace."""
        self._clear(index)
        place = f"{BUS}/region{index}/namespace{index}.0"
        self.put(f"{place}/block/pmem{index}/dev", "259:0\n")
        self.put(f"{place}/mode", "memory\n")
        Path(f"{self.root}{place}/driver").symlink_to("../nd_pmem")
        self._node(f"pmem{index}")
        self._udev(f"{place}/block/pmem{index}")

    def _clear(self, index: int) -> None:
        region = Path(f"{self.root}{BUS}/region{index}")
        for holder in (*region.glob("dax*"), *region.glob("pfn*"), region / f"namespace{index}.0/block"):
            shutil.rmtree(holder, ignore_errors=True)
        self.put(f"{BUS}/region{index}/namespace{index}.0/holder", "\n")
        Path(f"{self.root}{BUS}/region{index}/namespace{index}.0/driver").unlink(missing_ok=True)
        for name in (f"pmem{index}", f"dax{index}.0"):
            Path(f"{self.root}/dev/{name}").unlink(missing_ok=True)
            for link in Path(f"{self.root}/dev/carveout").glob("*"):
                if link.readlink().name == name:
                    link.unlink()

    def _node(self, name: str) -> None:
        self.put(f"/dev/{name}", "")
        self.access[f"/dev/{name}"] = (0, 0, 0o600)

    def stat(self, path: str) -> Stat | None:
        found = super().stat(path)
        if found is None or path not in self.access:
            return found
        uid, gid, mode = self.access[path]
        kind = stat.S_IFBLK if "pmem" in path else stat.S_IFCHR
        return found._replace(
            mode=kind | mode, uid=uid, gid=gid, device=os.makedev(259, int(re.sub(r"[^0-9]", "", path)[0]))
        )

    def run(self, argv: Sequence[str]) -> Completed:
        self.said.append(list(argv))
        if argv[0] == "ndctl":
            if self.broken:
                return Completed(1, "", f"libndctl: something\n{self.broken}\n")
            if not self.lying:
                return self._ndctl(list(argv)) or Completed(0, "", "")
        if list(argv[:2]) == ["udevadm", "trigger"]:
            for path in argv[3:]:
                self._udev(path)
        return Completed(2 if argv[0] == "getent" else 0, "", "")

    def _ndctl(self, argv: list[str]) -> Completed | None:
        if argv[1] == "destroy-namespace":
            self._clear(int(argv[-1][9:].split(".")[0]))
            return None
        options = dict(word[2:].split("=") for word in argv if "=" in word)
        index = int(options["reconfig"][9:].split(".")[0])
        self._clear(index)
        place = f"{BUS}/region{index}"
        if (options["mode"], options["map"]) == ("fsdax", "mem"):
            assert "align" not in options
            self.raw(index)
            return None
        start = int((self.read(f"{place}/namespace{index}.0/resource") or "").strip(), 16)
        size = int(self.read(f"{place}/namespace{index}.0/size") or "0")
        align = parse_size(options["align"] + "iB")
        data = pmem_space(Range(start, start + size), align, options["map"] == "dev")
        holder = f"{'dax' if options['mode'] == 'devdax' else 'pfn'}{index}.0"
        self.put(f"{place}/namespace{index}.0/holder", f"{holder}\n")
        for name, value in (
            ("resource", f"{data.start:#x}"), ("size", data.end - data.start), ("align", align),
            ("mode", "pmem" if options["map"] == "dev" else "ram"),
        ):  # fmt: skip
            self.put(f"{place}/{holder}/{name}", f"{value}\n")
        if options["mode"] == "devdax":
            device, driver, name = f"{place}/{holder}/{holder}", "device_dax", holder
            for key, value in (
                ("size", str(data.end - data.start)), ("align", str(align)),
                ("mapping0/start", f"{data.start:#x}"), ("mapping0/end", f"{data.end - 1:#x}"),
            ):  # fmt: skip
                self.put(f"{device}/{key}", f"{value}\n")
        else:
            name = f"pmem{index}"
            device, driver = f"{place}/{holder}", "nd_pmem"
            self.put(f"{device}/block/{name}/size", f"{(data.end - data.start) // 512}\n")
        self.put(f"{device}/dev", "252:0\n")
        Path(f"{self.root}{device}/driver").symlink_to(f"../{driver}")
        self._node(name)
        self._udev(f"{device}/block/{name}" if "pmem" in name else device)
        return None

    def _udev(self, path: str) -> None:
        name = Path(path).name
        subsystem, place = ("dax", path) if "dax" in name else ("block", str(Path(path).parents[1]))
        for line in (self.read("/run/udev/rules.d/61-carveout.rules") or "").splitlines():
            if not line.startswith("DRIVER" if subsystem == "dax" else 'SUBSYSTEM=="block"'):
                continue
            wanted = re.findall(r'ATTRS?\{([^}]+)\}=="([^"]*)"', line)
            if any((self.read(f"{place}/{key}") or "").strip() != value for key, value in wanted):
                continue
            values = dict(re.findall(r'([A-Z]+)\+?="([^"]*)"', line))
            link = Path(f"{self.root}/dev/{values['SYMLINK']}")
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"../{name}")
            owner, group = {"root": 0, "daemon": 1}[values["OWNER"]], {"root": 0, "kvm": 104}[values["GROUP"]]
            self.access[f"/dev/{name}"] = (owner, group, int(values["MODE"], 8))


@pytest.fixture
def booted(tmp_path: Path) -> Callable[..., tuple[PmemHost, Layout]]:
    """A host that was just switched on with the layout of a pool of 6 GiB; the pool's devices and keys are given."""

    def make(devices: list[dict[str, Any]], **keys: Any) -> tuple[PmemHost, Layout]:
        firmware = [(0, 3 * GIB, 1), (4 * GIB, 32 * GIB, 1)]
        on = make_host(firmware, [(0, 0, 16 * GIB), (1, 16 * GIB, 32 * GIB)])
        pool = {"mechanism": "pmem", "nodes": {"1": "6GiB"}, "devices": devices, **keys}
        layout = make_layout(make_plan("2GiB", {"p": pool}), on)
        host = PmemHost(tmp_path, [r.range for r in layout.reservations])
        host.put("/proc/cmdline", f"ro {' '.join(layout.kernel_arguments)}\n")
        host.put(layout_path(layout.id), layout_text(layout))
        return host, layout

    return make
