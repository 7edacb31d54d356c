# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of hosts that somebody else has taken over: texts of their choice, and layouts that they forged.

An ID is a checksum, not a signature: whoever writes a layout can give it the right one.
"""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout, _read
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

from . import mutate, samples

_DEVICE = {"name": "vm-a", "size": "rest", "owner": "nobody", "mode": "0660", "unit": "qemu-a.service"}
_POOLS: tuple[dict[str, Any], ...] = (
    {"mechanism": "dax", "nodes": {"1": "1GiB"}, "devices": [_DEVICE]},
    {"mechanism": "dax", "nodes": {"0": "rest", "1": "rest"}},
    {"mechanism": "reserved", "nodes": {"1": "512MiB"}},
    {"mechanism": "pmem", "nodes": {"1": "1GiB"}, "devices": [{"name": "pm-a", "size": "rest"}]},
    {
        "mechanism": "hugetlb", "page_size": "2MiB", "nodes": {"1": "512MiB"}, "optimize_vmemmap": True,
        "mounts": [{"path": "/mnt/pages", "size": "64MiB", "owner": "nobody", "mode": "0770"}],
    },
    {"mechanism": "dax", "existing": True, "nodes": {"0": "rest"}, "devices": [{"name": "old", "size": "rest"}]},
    {"mechanism": "auto", "nodes": {"1": "1GiB"}},
)  # fmt: skip
PLANS = [
    samples.PLAN,
    *({"version": 1, "kernel": {"memory": "25%"}, "pools": {"pool": pool}} for pool in _POOLS),
]
ATTACKS = (
    "$(touch /tmp/x)", "`id`", "; id", "../../etc/passwd", "/etc/shadow", "{{ lookup('pipe', 'id') }}", "%n%s", '"',
    "'", "<script>alert(1)</script>", "]]>", "-->", "init=/bin/sh", "memmap=exactmap", "root", "a,b", "0666",
    "x.service",
)  # fmt: skip
#: Arguments that a forged layout has more.
_MORE = (
    "init=/bin/sh", "nokaslr", "memmap=exactmap", "memmap=2M@64G", "memmap=16M%1T-2+1", "memmap=0%0-1+2", "mem=64G",
    "numa=nohmat", "hugepages=1", "hugepagesz=2M", "dmem=1G", "transparent_hugepage=never", "dax_hmem.region_idle=1",
    "dax-hmem.region_idle=1", "carveout.trial", "memmap=1G%0-77+78", "memmap=1M!4G", "hugetlb_free_vmemmap=on",
    "memmap=1G%70G-1+2", "dax_hmem.region_idle=0", "nokaslr=x", "memmap", "numa",
)  # fmt: skip


def make(chance: random.Random) -> tuple[Any, Any]:
    """A plan, and a snapshot of a host that lies about itself."""
    number = chance.randrange(len(PLANS))
    plan, host = copy.deepcopy(PLANS[number]), copy.deepcopy(samples.host())
    forged = _forged(number, chance) if chance.random() < 0.7 else None
    if forged:
        booted = [*forged["kernel_arguments"]] if chance.random() < 0.8 else []
        host.update(layouts={forged["id"]: forged}, committed=forged["id"], boot_arguments=["quiet", *booted])
        host["cmdline"] = " ".join(host["boot_arguments"])
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        _lie(host, chance)
    if chance.random() < 0.2:
        # the rest of the snapshot at random, too
        mutated = mutate.mutated(host, chance)
        host = {**mutated, "layouts": host["layouts"], "committed": host["committed"]}
    return plan, host


def _lie(host: dict[str, Any], chance: random.Random) -> None:
    """One text becomes an attack."""
    texts = [path for path in mutate.places({**host, "layouts": {}}) if isinstance(_at(host, path), str)]
    path = chance.choice(texts)
    inner = _at(host, path[:-1])
    inner[path[-1]] = chance.choice(("", "", inner[path[-1]])) + chance.choice(ATTACKS)


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


@cache
def _honest(number: int) -> dict[str, Any] | None:
    """The layout of the plan on the honest host, without one before."""
    host = {**samples.host(), "committed": None, "layouts": {}, "boot_arguments": ["quiet"]}
    try:
        layout = make_layout(validated_plan(PLANS[number]), host_from_json(host))
    except CarveoutError:
        return None
    found: dict[str, Any] = json.loads(json.dumps(layout.to_json()))
    return found


def _forged(number: int, chance: random.Random) -> dict[str, Any] | None:
    """Something else than the honest layout, with the ID that fits it; None where no layout can say that."""
    layout = copy.deepcopy(_honest(number))
    if layout is None:
        return None
    what = chance.random()
    if what < 0.4:
        at = chance.randint(1, max(1, len(layout["kernel_arguments"])))
        layout["kernel_arguments"].insert(at, chance.choice(_MORE))
    elif what < 0.6 and layout["devices"]:
        device = chance.choice(layout["devices"])
        key = chance.choice(("owner", "group", "mode", "units", "name", "path"))
        device[key] = {"units": ["sshd.service"], "mode": "0666"}.get(
            key, chance.choice(("nobody", "x", "vm-b"))
        )
    elif what < 0.7 and layout["mounts"]:
        key = chance.choice(("path", "owner", "mode"))
        layout["mounts"][0][key] = {"path": "/mnt/other", "owner": "nobody", "mode": "0777"}[key]
    else:
        layout = mutate.mutated(layout, chance)
    try:
        forged: dict[str, Any] = json.loads(json.dumps(_read(layout).to_json()))
        Layout.from_json(forged)
    except (CarveoutError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        return None
    return forged
