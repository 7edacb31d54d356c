# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which processes have a device open or mapped: unbinding a DAX device would kill them with SIGBUS.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable

from .._errors import NotPossible, Problem
from .._system import System
from .state import LINKS, DaxDevice, read_links

#: udev looks into every new block device and lets go at once.
_BRIEF = ("(udev-worker)", "systemd-udevd")
#: Types of the nodes of devices.
_KINDS = (stat.S_IFCHR, stat.S_IFBLK)


def refuse_in_use(system: System, devices: Iterable[DaxDevice]) -> None:
    """Raise :class:`NotPossible` naming the processes that use one of the devices."""
    nodes = {device.node_path: device.name for device in devices if device.driver and device.node_path}
    if not nodes:
        return
    names = {node: f"{LINKS}/{name} ({node})" for name, node in read_links(system).items()}
    problems = [
        Problem(
            "",
            "dax-in-use",
            f"{names.get(node, node)} is in use by {', '.join(users)}; stop that first",
        )
        for node, users in sorted(_users(system, list(nodes)).items())
    ]
    if problems:
        raise NotPossible(problems)


def _users(system: System, nodes: list[str]) -> dict[str, list[str]]:
    """Processes by node, as ``name (pid N)``.

    A file descriptor is recognised by the number of the device, whatever the name it was opened
    by; a mapping that outlived its descriptor by the name in ``/proc/PID/maps``.
    """
    numbers = {}
    for node in nodes:
        found = system.stat(node)
        if found is not None and stat.S_IFMT(found.mode) in _KINDS:
            numbers[stat.S_IFMT(found.mode), found.device] = node
    users = _held(system, {number: node for (kind, number), node in numbers.items() if kind == stat.S_IFBLK})
    for pid in system.listdir("/proc"):
        if not pid.isdigit():
            continue
        if _name(system, pid) in _BRIEF:
            continue
        for node in sorted(_opened(system, pid, numbers) | _mapped(system, pid, nodes)):
            users.setdefault(node, []).append(f"{_name(system, pid)} (pid {pid})")
    return users


def _opened(system: System, pid: str, numbers: dict[tuple[int, int], str]) -> set[str]:
    try:
        descriptors = system.listdir(f"/proc/{pid}/fd")
    except OSError:
        return set()  # it ended meanwhile
    opened = set()
    for descriptor in descriptors:
        found = system.stat(f"/proc/{pid}/fd/{descriptor}")
        if found is not None and (stat.S_IFMT(found.mode), found.device) in numbers:
            opened.add(numbers[stat.S_IFMT(found.mode), found.device])
    return opened


def _mapped(system: System, pid: str, nodes: list[str]) -> set[str]:
    names = {line.rpartition(" ")[2] for line in _text(system, f"/proc/{pid}/maps").splitlines()}
    return {node for node in nodes if node in names}


def _held(system: System, numbers: dict[int, str]) -> dict[str, list[str]]:
    """What else uses block devices: mounted file systems, and devices on top of them."""
    users: dict[str, list[str]] = {}
    for line in _text(system, "/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        major, _, minor = fields[2].partition(":") if len(fields) > 4 else ("", "", "")
        if major.isdigit() and minor.isdigit() and os.makedev(int(major), int(minor)) in numbers:
            node = numbers[os.makedev(int(major), int(minor))]
            users.setdefault(node, []).append(f"the file system at {fields[4]}")
    for node in numbers.values():
        for holder in system.listdir(f"/sys/class/block/{posixpath.basename(node)}/holders"):
            users.setdefault(node, []).append(f"/dev/{holder}")
    return users


def _name(system: System, pid: str) -> str:
    return _text(system, f"/proc/{pid}/comm").strip() or "a process"


def _text(system: System, path: str) -> str:
    try:
        return system.read(path) or ""
    except OSError:
        return ""  # it ended meanwhile
