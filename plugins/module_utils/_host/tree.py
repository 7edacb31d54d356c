# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host from its files: the running one, or a captured tree of ``/proc``, ``/sys``, ``/etc`` and ``/boot``.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from .._arguments import COMMAND_LINE_SIZE
from .._boot.loader import read_loader
from .._boot.state import LoaderState
from .._dax.current import CURRENT
from .._dax.state import read_state
from .._host_files import known_files
from .._kdump import configured
from .._layout import LAYOUT_ID
from .._system import System
from . import proc
from .dmemfs import read_dmemfs
from .files import Reader
from .firmware import read_affinity, read_map
from .hugetlb import read_mounts, read_pages, read_vmemmap
from .kernels import read_config
from .layouts import read_committed, read_layouts, read_previous, read_verified
from .model import ForeignArgument, Host
from .text import printable

_NODES = "/sys/devices/system/node"
_RELEASE = re.compile(r"[A-Za-z0-9_.+~-]{1,128}")
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_]{1,32}")


def read_host(
    system: System,
    *,
    augeas: Any = None,
    machine: str = "",
    root: bool = True,
    kernel: str = "",
    loader: LoaderState | None = None,
) -> Host:
    """Read a host.

    ``augeas`` is what :func:`read_loader` takes, ``loader`` what that gave where it was asked already. ``machine`` is
    ``uname -m`` of the running host; for a captured tree it is empty, and the tree says it (/proc/sys/kernel/arch, 6.1
    and later) or x86_64 is taken. ``root`` says whether the reader is root. ``kernel`` is the release that is to boot
    next, where that is not what the boot loader says yet.

    What is missing or garbled is left out and named in ``state["problems"]``. Raises
    :class:`NotPossible` where an x86_64 host does not show its firmware map or hides its ACPI tables, and
    :class:`InvalidInput` where these are damaged.
    """
    reader = Reader(system)
    architecture = machine or reader.line("/proc/sys/kernel/arch") or "x86_64"
    firmware_map = read_map(reader, architecture)
    affinity = read_affinity(reader, firmware_map)
    running = _running_release(reader)
    loader = loader or read_loader(system, augeas)
    default = kernel or (loader.kernel if _RELEASE.fullmatch(loader.kernel) else "")
    layouts = read_layouts(reader)
    cmdline = (reader.text("/proc/cmdline", 2 * COMMAND_LINE_SIZE) or "").rstrip("\n")
    tokens = None if loader.boot_arguments is None else tuple(printable(t) for t in loader.boot_arguments)
    dax = read_state(system)
    committed = read_committed(reader)
    return Host(
        architecture=architecture if _ARCHITECTURE.fullmatch(architecture) else "unknown",
        firmware_map=firmware_map,
        node_ranges=affinity.nodes,
        hmat=bool(affinity.hmat_targets),
        firmware_boot="efi" if reader.names("/sys/firmware/efi") else "bios",
        kernel_running=running,
        kernel_default=default,
        kernel_config=read_config(reader, default or running),
        cmdline=cmdline,
        boot_arguments=tokens,
        foreign=tuple(
            ForeignArgument(printable(f.argument), printable(f.file), f.line) for f in loader.foreign
        ),
        committed=committed,
        layouts=layouts,
        hmat_targets=affinity.hmat_targets,
        state={
            "root": root,
            "boot_id": reader.line("/proc/sys/kernel/random/boot_id")[:64],
            "augeas": augeas is not None,
            "iomem": [list(line) for line in proc.parse_iomem(reader.text("/proc/iomem", 4 << 20) or "")],
            "meminfo": proc.parse_meminfo(reader.text("/proc/meminfo", 1 << 16) or ""),
            "nodes": _node_meminfo(reader),
            "vmstat": proc.parse_vmstat(reader.text("/proc/vmstat", 1 << 16) or ""),
            "block_size": proc.parse_hex(reader.line("/sys/devices/system/memory/block_size_bytes")) or None,
            "dax": dax.to_json(),
            "namespaces": [namespace.to_json() for namespace in dax.namespaces],
            "links": {printable(name): printable(target) for name, target in dax.links.items()},
            "loader": _printable(loader.to_json()),
            "files": known_files(system),
            "noted_layout": _noted_layout(reader),
            "verified": read_verified(reader, committed),
            "previous": read_previous(reader) or "",
            "hugepages": read_pages(reader),
            "hugetlb_vmemmap": read_vmemmap(reader),
            "mounts": read_mounts(reader, system),
            "dmemfs": read_dmemfs(reader, system, cmdline, bool(machine)),
            "kdump": {kdump.config: kdump.inherits(text) for kdump, text in configured(system)},
            "problems": list(reader.problems),
        },
    )


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return value


def _noted_layout(reader: Reader) -> str:
    """What the host notes as the layout that this boot has now; empty where it is the booted one."""
    noted = reader.line(CURRENT)
    if noted and not LAYOUT_ID.fullmatch(noted):
        reader.problem(CURRENT, "does not hold a layout's ID")
        return ""
    return noted


def _running_release(reader: Reader) -> str:
    release = reader.line("/proc/sys/kernel/osrelease")
    if not release:  # a tree captured without it
        words = reader.line("/proc/version").split()
        release = words[2] if words[:2] == ["Linux", "version"] and len(words) > 2 else ""
    return release if _RELEASE.fullmatch(release) else ""


def _node_meminfo(reader: Reader) -> dict[str, dict[str, int]]:
    found = {}
    for name in reader.names(_NODES):
        if re.fullmatch(r"node\d{1,4}", name):
            found[str(int(name[4:]))] = proc.parse_meminfo(
                reader.text(posixpath.join(_NODES, name, "meminfo"), 1 << 16) or ""
            )
    return found
