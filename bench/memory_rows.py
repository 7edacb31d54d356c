# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the memory benchmark boots: each mechanism at each page size, as arguments, modules and a guest's shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import read_plan
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, KIB, MIB
from ansible_collections.carveout.memory.tests.kernel.machine import Machine

#: 320 GiB on two nodes. q35 has 2 GiB of it below 4 GiB, the rest from there on.
MACHINE = Machine(nodes=(160 * GIB, 160 * GIB), board="q35", phys_bits=42)
#: What is carved out of each node; 8 GiB of each stay with the kernel.
CARVE = 152 * GIB

_WORDS = {4 * KIB: "4 KiB", 2 * MIB: "2 MiB", GIB: "1 GiB"}
_SUFFIX = {4 * KIB: "4k", 2 * MIB: "2m", GIB: "1g"}

_DAX = """
for d in /sys/bus/dax/devices/dax*.0; do
  r=$(readlink -f $d); r=${{r%/*}}/dax_region
  echo {align} > $d/align
  cat $r/available_size > $d/size
  echo ${{d##*/}} > /sys/bus/dax/drivers/device_dax/new_id
done
"""

# libnvdimm's own files, which ndctl writes to as well (drivers/nvdimm/pfn_devs.c: "ram" is map=mem, "pmem" map=dev).
_PMEM = """
for i in 0 1; do
  tries=0
  until [ -e /sys/bus/nd/devices/namespace$i.0 -a -e /sys/bus/nd/devices/region$i/dax_seed ]; do
    tries=$((tries + 1)); [ $tries -lt 120 ] || break
    sleep 1
  done
  d=$(cat /sys/bus/nd/devices/region$i/dax_seed)
  echo {mode} > /sys/bus/nd/devices/$d/mode
  echo {align} > /sys/bus/nd/devices/$d/align
  echo 0f5e0000-0000-4000-8000-00000000000$i > /sys/bus/nd/devices/$d/uuid
  echo namespace$i.0 > /sys/bus/nd/devices/$d/namespace
  echo $d > /sys/bus/nd/drivers/dax_pmem/bind
done
"""

_FSDAX = """
tries=0
until [ -e /sys/block/pmem0 -a -e /sys/block/pmem1 ]; do
  tries=$((tries + 1)); [ $tries -lt 300 ] || break
  sleep 1
done
"""


@dataclass(frozen=True)
class Row:
    """One boot. ``carve``: which mechanism's arguments take memory from the kernel ("dax", "reserved", "pmem", "")

    ``page`` is the page size in bytes, 0 where there is none. ``setup`` is the shell that the guest runs before it
    looks at its memory.
    """

    key: str
    title: str
    carve: str = ""
    page: int = 0
    tokens: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: str = ""
    optimised: bool = False
    """HugeTLB gives struct pages back"""
    on_device: bool = False
    """struct pages are in the carved memory"""

    @property
    def page_words(self) -> str:
        return _WORDS.get(self.page, "")


def _dax(page: int) -> Row:
    modules = ("device_dax", "dax_hmem region_idle=1")
    return Row(
        f"dax-{_SUFFIX[page]}", "device-DAX", "dax", page, modules=modules, setup=_DAX.format(align=page)
    )


def _hugetlb(page: int, optimised: bool) -> Row:
    count = CARVE // page
    size = {2 * MIB: "2M", GIB: "1G"}[page]
    tokens: tuple[str, ...] = (f"hugepagesz={size}", f"hugepages=0:{count},1:{count}")
    if page < GIB:
        # Such pages come from the page allocator, which Debian's kernels have zero them: 304 GiB would be touched.
        tokens = ("init_on_alloc=0", *tokens)
    if optimised:
        return Row(
            f"hugetlb-{_SUFFIX[page]}-hvo",
            "HugeTLB, vmemmap optimised",
            page=page,
            tokens=("hugetlb_free_vmemmap=on", *tokens),
            optimised=True,
        )
    return Row(f"hugetlb-{_SUFFIX[page]}", "HugeTLB", page=page, tokens=tokens)


def _pmem(page: int, on_device: bool) -> Row:
    mode, words = ("pmem", "dev") if on_device else ("ram", "mem")
    return Row(
        f"pmem-{_SUFFIX[page]}-{words}",
        f"pmem devdax, map={words}",
        "pmem",
        page,
        modules=("libnvdimm", "device_dax", "dax_pmem", "nd_e820"),
        setup=_PMEM.format(mode=mode, align=page),
        on_device=on_device,
    )


BASELINE = Row("baseline", "nothing carved out")

#: The machines of the table, in its order; the baseline comes first.
ROWS = (
    BASELINE,
    Row("reserved", "reserved, idle", "reserved"),
    Row("dax-idle", "soft-reserved, idle", "dax"),
    _dax(GIB),
    _dax(2 * MIB),
    _dax(4 * KIB),
    Row(
        "kmem",
        "device-DAX given back to the kernel (kmem)",
        "dax",
        modules=("device_dax", "kmem", "dax_hmem"),
    ),
    _hugetlb(GIB, True),
    _hugetlb(2 * MIB, True),
    _hugetlb(GIB, False),
    _hugetlb(2 * MIB, False),
    _pmem(GIB, False),
    _pmem(2 * MIB, False),
    _pmem(2 * MIB, True),
    Row(
        "pmem-fsdax",
        "pmem, namespace as the kernel makes it (fsdax)",
        "pmem",
        4 * KIB,
        modules=("libnvdimm", "nd_btt", "nd_pmem", "nd_e820"),
        setup=_FSDAX,
    ),
)


def plan_of(row: Row) -> dict[str, Any]:
    """The plan for a row that the planner carves."""
    pool: dict[str, Any] = {
        "mechanism": row.carve,
        "nodes": dict.fromkeys(range(len(MACHINE.nodes)), f"{CARVE // GIB}GiB"),
        "align": "1GiB",
    }
    if row.carve == "dax" and row.page:
        pool["devices"] = [
            {"name": f"tenant-{node}", "node": node, "size": "rest", "align": f"{row.page // KIB}KiB"}
            for node in pool["nodes"]
        ]
    return {"version": 1, "kernel": {"memory": {0: "7GiB", 1: "8GiB"}}, "pools": {"tenants": pool}}


def layout_of(row: Row, host: Host) -> Layout | None:
    """The planner's layout, None for rows that it does not carve."""
    return make_layout(read_plan(plan_of(row)), host) if row.carve in ("dax", "reserved") else None


def tokens_of(row: Row, host: Host) -> tuple[str, ...]:
    """The row's kernel arguments, in the planner's own spelling where it carves; pmem has the same ranges."""
    layout = layout_of(row, host)
    if layout is not None:
        return (*layout.kernel_arguments, *row.tokens)
    if row.carve == "pmem":
        like = layout_of(Row("", "", "dax"), host)
        assert like is not None
        size = f"{CARVE // GIB}G"
        return tuple(f"memmap={size}!{r.start // GIB}G" for r in like.reservations)
    return row.tokens
