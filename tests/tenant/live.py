# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices that change while the host runs: grown, shrunk, renamed, added, removed; refused while a tenant has one open.

Every change is the main job with another plan, in one boot. A tenant keeps one device mapped all the while.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .host import Host, Job, lab_plan, must, wait_for

_HERE = Path(__file__).parent
_MIB = 1 << 20
#: The device that a tenant keeps mapped from the first change to the last.
_KEPT = "vm-c"
_MAPPER = (
    "import mmap, os, time; memory = mmap.mmap(os.open('/dev/carveout/{name}', os.O_RDWR), {size}); "
    "memory[4096:4101] = b'alive'; time.sleep(100000)"
)
#: Where writes are made to fail: the kernel's file gives way to one that is always full.
_FULL = "/dev/full"
_BIND = "/sys/bus/dax/drivers/device_dax/bind"


def run(host: Host) -> None:
    """All changes; TenantError where one does not do what it has to."""
    boot, first = host.boot_id(), host.devices()
    kept = _Holder(host, _KEPT, first[_KEPT]["size"])
    _resized(host)
    _renamed(host)
    _failing(host)
    _filled(host)
    now = host.devices()
    must(now[_KEPT] == first[_KEPT] and kept.sees(), f"the tenant of {_KEPT} lost its device")
    kept.end()
    must(host.boot_id() == boot, "the host was rebooted")
    _carve(host, lab_plan())
    must(host.devices() == first, "the first plan does not bring the first devices back")
    print("ok  live: the first plan again, and all devices as at first", flush=True)


def plan(*devices: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The lab's plan with these devices, in place of those of the same name, and without some."""
    made = lab_plan()
    pool = made["pools"]["guests"]
    gone = {*without, *(device["name"] for device in devices)}
    pool["devices"] = [device for device in pool["devices"] if device["name"] not in gone] + list(devices)
    return made


class _Holder:
    """A process on the host that has a device mapped."""

    def __init__(self, host: Host, name: str, size: int) -> None:
        self._host, self._name, self._size = host, name, size
        self._node = host.run("readlink", "-f", f"/dev/carveout/{name}").strip()
        program = _MAPPER.format(name=name, size=size)
        self.pid = host.background(f'python3 -c "{program}" >/dev/null 2>&1')
        wait_for(f"a tenant that maps {name}", 30, self.sees)

    def sees(self) -> bool:
        """Whether it has the very device mapped that it mapped at first."""
        found = self._host.run("grep", "-cF", self._node, f"/proc/{self.pid}/maps", check=False).strip()
        return found == "1"

    def end(self) -> None:
        self._host.run("kill", "-9", str(self.pid))


def _resized(host: Host) -> None:
    """Shrink a device, and grow it again: refused while it is open, and the memory at its start stays what it was."""
    before = host.devices()
    marks = host.script(_HERE / "marks.py", "write", f"resized {time.time_ns()}")
    small = plan({"name": "vm-e", "node": 1, "size": "1GiB"})
    _refused(host, small, "vm-e", before["vm-e"]["size"])
    _carve(host, small)
    shrunk = host.devices()["vm-e"]
    must(shrunk["size"] == 1024 * _MIB, f"vm-e was not shrunk: {shrunk}")
    large = plan({"name": "vm-e", "node": 1, "size": "1152MiB"})
    _refused(host, large, "vm-e", shrunk["size"])
    _carve(host, large)
    grown = host.devices()["vm-e"]
    must(grown["size"] == 1152 * _MIB, f"vm-e was not grown: {grown}")
    must(grown["extents"][0][0] == before["vm-e"]["extents"][0][0], f"vm-e went elsewhere: {grown}")
    now = host.script(_HERE / "marks.py", "read")
    must(now["vm-e"][0] == marks["vm-e"][0], "vm-e lost what was at its start")
    others = {name for name in before if name != "vm-e"}
    must(all(now[name] == marks[name] for name in others), "another device lost what was in it")
    print("ok  live: shrunk and grown, refused while open; contents kept", flush=True)


def _renamed(host: Host) -> None:
    """One device gets another name, one goes, others come, of each align."""
    before = host.devices()
    changed = plan(
        {"name": "vm-z", "node": 0, "size": "1GiB"},
        {"name": "vm-e", "node": 1, "size": "1GiB"},
        {"name": "vm-small", "node": 1, "size": "128MiB", "align": "4KiB", "mode": "0640", "group": "daemon"},
        without=("vm-b", "vm-d"),
    )
    for name in ("vm-b", "vm-d"):
        _refused(host, changed, name, before[name]["size"])
    _carve(host, changed)
    after = host.devices()
    must(
        sorted(after) == ["pm-a", "vm-a", "vm-c", "vm-e", "vm-small", "vm-z"],
        f"there are {', '.join(sorted(after))}",
    )
    must(after["vm-z"]["extents"] == before["vm-b"]["extents"], "the renamed device is not the same memory")
    small = after["vm-small"]
    must(
        (small["align"], small["group"], small["mode"]) == (4096, "daemon", "0640"),
        f"vm-small is not as the plan says: {small}",
    )
    print("ok  live: renamed, removed and added, refused while open", flush=True)


def _failing(host: Host) -> None:
    """A step fails: what is half made goes again, and the next run makes it right."""
    wanted = plan(
        {"name": "vm-b", "node": 0, "size": "512MiB", "align": "2MiB"},
        {"name": "vm-d", "node": 1, "size": "256MiB"},
        {"name": "vm-e", "node": 1, "size": "512MiB"},
    )
    regions = host.snapshot()["state"]["dax"]["regions"]
    # those of persistent memory have devices of their own
    last = max((int(region["start"]), region["path"]) for region in regions if "/hmem" in region["path"])[1]
    # binding is the last of a device's steps; creating is the first, and fails here in the second region only
    for place in (_BIND, f"{last}/create"):
        host.run("mount", "--bind", _FULL, place)
        try:
            job = host.carve(wanted)
        finally:
            host.run("umount", place)
        must(not job.ok, f"the main job did not notice that {place} takes nothing")
        must("No space left on device" in job.said, f"it does not say why it failed:\n{job.said[-1500:]}")
        must("Traceback" not in job.said, f"a failing step ends in a traceback:\n{job.said[-3000:]}")
        # udev makes the links of finished devices a little later
        wait_for(f"{place} failed: no devices that nobody asked for", 15, lambda: not _orphans(host))
    must("vm-b" in host.devices(), "the device that was made before the failing step did not stay")
    _carve(host, wanted)
    sizes = {name: device["size"] // _MIB for name, device in host.devices().items()}
    must((sizes["vm-b"], sizes["vm-d"], sizes["vm-e"]) == (512, 256, 512), f"not made: {sizes}")
    print("ok  live: failing steps leave nothing behind, the next run makes all", flush=True)


def _filled(host: Host) -> None:
    """Every byte of a device of each align, as a tenant: 4 KiB, 2 MiB and 1 GiB."""
    _carve(host, plan({"name": "vm-d", "node": 1, "size": "256MiB", "align": "4KiB"}))
    aligns = {host.devices()[name]["align"] for name in ("vm-a", "vm-b", "vm-d", "vm-e")}
    must(aligns == {4096, 2 * _MIB, 1024 * _MIB}, f"aligns: {sorted(aligns)}")
    names = ("vm-a", "vm-d", "vm-e")
    said = host.script(_HERE / "tenant.py", *(f"/dev/carveout/{name}" for name in names))
    must(said["ok"], f"a byte is wrong: {said}")
    print(f"ok  live: every byte of {', '.join(names)} written and read", flush=True)


def _orphans(host: Host) -> list[str]:
    """Devices that nobody has asked for: empty ones (but for each region's first), or without a driver or a link."""
    state = host.snapshot()["state"]
    linked = set(state["links"].values())
    return [
        device["name"]
        for region in state["dax"]["regions"]
        for device in region["devices"]
        if not device["name"].endswith(".0") or device["size"]
        if not device["size"] or not device["driver"] or device["node_path"] not in linked
    ]


def _refused(host: Host, changed: dict[str, Any], name: str, size: int) -> None:
    """The plan is refused while a process has the device mapped, the process is named, and nothing changes."""
    before = host.devices()
    holder = _Holder(host, name, size)
    job = host.carve(changed)
    held = holder.sees()
    holder.end()
    must(not job.ok, f"the plan took {name} from a process that had it mapped")
    must(
        f"/dev/carveout/{name} " in job.said and f"(pid {holder.pid})" in job.said,
        f"it does not name {name} and process {holder.pid}:\n{job.said[-1500:]}",
    )
    must(held and host.devices() == before, f"refusing to change {name} changed something")


def _carve(host: Host, wanted: dict[str, Any]) -> Job:
    job = host.carve(wanted)
    must(job.ok, f"the main job failed:\n{job.said[-4000:]}")
    return job
