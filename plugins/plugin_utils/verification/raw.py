# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Raw reads: texts of /proc and of the device files, parsed here anew.

Nothing of the core's readers is used, so that a mistake in one of them cannot hide itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

_PROC = ("/proc/cmdline", "/proc/iomem", "/proc/meminfo")
_NOTED = "/run/carveout/layout"
_DEVICES = "==> device files <=="


class Resource(NamedTuple):
    """A line of /proc/iomem: first and last byte."""

    first: int
    last: int
    name: str


class DeviceFile(NamedTuple):
    """What ``readlink`` and ``stat`` say of a link and of what it points to."""

    target: str
    kind: str
    mode: str
    owner: str
    group: str


class Raw(NamedTuple):
    """``mem_total`` and ``hugetlb`` are in KiB; ``files`` are by device name.

    ``noted`` is the layout that the host says it has.
    """

    cmdline: str
    iomem: tuple[Resource, ...]
    mem_total: int
    files: dict[str, DeviceFile]
    noted: str = ""
    hugetlb: int = 0


def raw_command(names: Sequence[str]) -> str:
    """One line for the host's shell: four texts with a heading each, then a line for every device."""
    links = " ".join(shlex.quote(f"/dev/carveout/{name}") for name in names)
    lines = (
        'printf "%s|%s|%s\\n" "${link##*/}" "$(readlink -f -- "$link")" '
        '"$(stat -L -c \'%F|%a|%U|%G\' -- "$link" 2>&1)"'
    )
    noted = f"echo '==> {_NOTED} <=='; cat {_NOTED} 2>/dev/null; echo '{_DEVICES}'"
    command = f"LC_ALL=C tail -v -n +1 {' '.join(_PROC)} && {{ {noted}; }}"
    return f"{command} && for link in {links}; do {lines}; done" if names else command


def parse_raw(text: str) -> Raw:
    parts = re.split(r"^==> (.+) <==$\n?", text, flags=re.MULTILINE)
    texts: dict[str, str] = dict(zip(parts[1::2], parts[2::2], strict=True))
    resources = []
    for line in texts.get("/proc/iomem", "").splitlines():
        addresses, _, name = line.strip().partition(" : ")
        first, _, last = addresses.partition("-")
        resources.append(Resource(int(first or "0", 16), int(last or "0", 16), name))
    total = re.search(r"^MemTotal: +(\d+) kB$", texts.get("/proc/meminfo", ""), re.MULTILINE)
    huge = re.search(r"^Hugetlb: +(\d+) kB$", texts.get("/proc/meminfo", ""), re.MULTILINE)
    files = {}
    for entry in texts.get("device files", "").splitlines():
        words = [*entry.split("|"), "", "", "", "", ""]
        files[words[0]] = DeviceFile(*words[1:6])
    cmdline, noted = (texts.get(name, "").strip() for name in ("/proc/cmdline", _NOTED))
    return Raw(
        cmdline, tuple(resources), int(total[1]) if total else 0, files, noted, int(huge[1]) if huge else 0
    )
