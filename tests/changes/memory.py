# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory added, taken out and replaced on a carved host: the lab's machine started with other nodes."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.carveout.memory.lab.machine import GIB
from tests.rollback.host import NODE_MEMORY, RollbackHost
from tests.tenant.host import must

_SERVICE = "carveout-dax.service"
_GONE = "is not RAM of node 1 any more"
_TODO = "plan anew (the main job does), or go back with 'carveout rollback'"


def plan() -> dict[str, Any]:
    devices = [{"name": "vm-a", "size": "256MiB"}, {"name": "vm-b", "size": "rest"}]
    pools = {"guests": {"mechanism": "dax", "nodes": {1: "rest"}, "devices": devices}}
    return {"version": 1, "kernel": {"memory": "512MiB"}, "pools": pools}


def run(host: RollbackHost) -> None:
    """All of it; TenantError where something is not as it has to be."""
    host.site(plan())
    first, size = host.layout(), _size(host)
    _grown(host, first, size)
    second, size = host.layout(), _size(host)
    _shrunk(host, second, size)
    _elsewhere(host)
    host.switch(NODE_MEMORY)
    host.must_play("carveout.memory.rollback")
    must(not host.layout(), "the host still has a layout")


def _size(host: RollbackHost) -> int:
    """Of what the tenants have."""
    return sum(int(device["size"]) for device in host.devices().values())


def _states(host: RollbackHost) -> list[str]:
    return host.run("systemctl", "is-active", _SERVICE, "carveout.target", check=False).split()


def _grown(host: RollbackHost, layout: str, size: int) -> None:
    """Tenants keep what they have; verification tells; the main job plans with all of it, and vm-a stays in place."""
    started = time.monotonic()
    before = host.devices()
    host.switch((3 * GIB, 3 * GIB))
    must(_states(host) == ["active", "active"], f"service and target are {_states(host)}")
    must(host.devices() == before, "the devices are others")
    said = "[0x180000000, 0x1c0000000) was nothing and is RAM"
    host.refused("carveout.memory.verify", said, _TODO)
    host.site(plan())
    must(host.layout() != layout, "the layout is the old one")
    must(_size(host) == size + GIB, f"tenants have {_size(host)}, before {size}")
    must(host.devices()["vm-a"]["extents"] == before["vm-a"]["extents"], "vm-a moved")
    _settled(host)
    print(
        f"ok  node 1 has 1 GiB more: told, planned anew, verified ({time.monotonic() - started:.0f} s)",
        flush=True,
    )


def _shrunk(host: RollbackHost, layout: str, size: int) -> None:
    """The boot makes no device in what is left; neither playbook nor console go to a layout that does not fit."""
    started = time.monotonic()
    host.switch((3 * GIB, 2 * GIB))
    must(host.layout() == layout, f"the boot is for {host.layout()}")
    must(_states(host) == ["failed", "inactive"], f"service and target are {_states(host)}")
    must(not host.run("ls", "/dev/carveout", check=False).strip(), "there are devices")
    log = host.run("journalctl", "-b", "-o", "cat", "-u", _SERVICE)
    for words in ("carveout: pools.guests.nodes.1: the reservation", _GONE, _TODO):
        must(words in log, f"the journal does not say {words!r}: {log}")
    host.refused("carveout.memory.verify", _GONE, _TODO)
    must(_GONE in host.console("rollback", "--to", "committed", status=3), "the console would go to it")
    host.site(plan())
    must(_size(host) == size - GIB, f"tenants have {_size(host)}, before {size}")
    print(
        f"ok  node 1 has 1 GiB less: no device, told, planned anew, verified ({time.monotonic() - started:.0f} s)"
    )
    print("\n".join(f"    {line}" for line in log.splitlines() if line.startswith("carveout: ")), flush=True)


def _elsewhere(host: RollbackHost) -> None:
    """Node 0 got larger, so that the range of node 1's pool is node 0's now."""
    started = time.monotonic()
    host.switch((4 * GIB, 2 * GIB))
    must(_states(host) == ["failed", "inactive"], f"service and target are {_states(host)}")
    log = host.run("journalctl", "-b", "-o", "cat", "-u", _SERVICE)
    must(_GONE in log and "is RAM of node 0" in log, log)
    host.site(plan())
    must(_states(host) == ["active", "active"], f"service and target are {_states(host)}")
    _settled(host)
    print(
        f"ok  node 0 has 1 GiB more, node 1 begins elsewhere: told, planned anew ({time.monotonic() - started:.0f} s)"
    )


def _settled(host: RollbackHost) -> None:
    job = host.site(plan())
    must("changed=0 " in job.said, f"a run with nothing to do does something:\n{job.said[-3000:]}")
