# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The crash kernel's command line: without the arguments that carve memory out of the host.

A crash kernel has the memory of ``crashkernel=`` alone, but both kdump programs start from /proc/cmdline: huge pages
would be made of what little it has. kdump-config (Debian's kdump-tools 1.8.1 and 1.10.7, kdump_load) takes out
crashkernel=, hugepages=, hugepagesz= and abm= unless KDUMP_CMDLINE is set; kdumpctl (RHEL, kdump-lib.sh,
prepare_cmdline) takes out what KDUMP_COMMANDLINE_REMOVE names. Their configuration is a shell file each, and neither
reads a drop-in: a block of ours at the file's end says it, and nothing else of the file is touched.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._arguments import LAYOUT_ARGUMENT
from ._system import System

#: Arguments that no crash kernel is to inherit.
ARGUMENTS = (
    "hugepages", "hugepagesz", "default_hugepagesz", "hugetlb_free_vmemmap", "memmap", "dmem",
    "dax_hmem.region_idle", LAYOUT_ARGUMENT,
)  # fmt: skip
_BEGIN = "# BEGIN Carveout: the crash kernel has memory of its own and is not told what is carved out"
_END = "# END Carveout"
_BLOCK = re.compile(rf"{re.escape(_BEGIN)}\n.*?{re.escape(_END)}\n", re.DOTALL)
#: What kdump-config leaves out by itself.
_DEBIAN_DEFAULT = ("crashkernel", "hugepages", "hugepagesz", "abm")
_DEBIAN_NAMES = "|".join(re.escape(name) for name in dict.fromkeys((*_DEBIAN_DEFAULT, *ARGUMENTS)))
_DEBIAN_BODY = (
    # what kdump-config would do itself, with more names
    f"""KDUMP_CMDLINE=$(sed -re 's/(^| )({_DEBIAN_NAMES})=[^ ]*//g;s/"/\\\\\\\\"/' /proc/cmdline)\n"""
)
_RHEL_BODY = f'KDUMP_COMMANDLINE_REMOVE="$KDUMP_COMMANDLINE_REMOVE {" ".join(ARGUMENTS)}"\n'


@dataclass(frozen=True)
class Kdump:
    """One kdump program: its ``config``, the ``program`` without which that means nothing, how it loads anew.

    ``line`` is the variable for a command line of the operator's own, ``remove`` the one for names to leave out.
    """

    config: str
    program: str
    reload: tuple[str, ...]
    line: str
    remove: str
    default: tuple[str, ...]
    body: str

    @property
    def block(self) -> str:
        return f"{_BEGIN}\n{self.body}{_END}\n"

    def corrected(self, text: str) -> str:
        """The file with our block; as it is where the operator gave the crash kernel a line of his own."""
        before = without_block(text)
        if self.remove == "" and _value(before, self.line):
            return before
        return before + ("" if not before or before.endswith("\n") else "\n") + self.block

    def inherits(self, text: str) -> list[str]:
        """Which of :data:`ARGUMENTS` the crash kernel gets where they stand on the host's line."""
        before = without_block(text)
        line = _value(before, self.line)
        if line and "/proc/cmdline" not in line:
            left = [name for name in ARGUMENTS if re.search(rf"(^|[\s\"']){re.escape(name)}=", line)]
        else:
            # a line made of /proc/cmdline by other means: what is not named is not left out
            left = [name for name in ARGUMENTS if name not in (line or self.default)]
        if self.remove:
            removed = _value(before, self.remove).split()
            left = [name for name in left if name not in removed]
        return [] if text.endswith(self.block) and self.corrected(text) == text else left


KDUMPS = (
    Kdump(
        "/etc/default/kdump-tools", "/usr/sbin/kdump-config", ("kdump-config", "condreload"),
        "KDUMP_CMDLINE", "", _DEBIAN_DEFAULT, _DEBIAN_BODY,
    ),
    Kdump(
        "/etc/sysconfig/kdump", "/usr/bin/kdumpctl", ("kdumpctl", "reload"),
        "KDUMP_COMMANDLINE", "KDUMP_COMMANDLINE_REMOVE", (), _RHEL_BODY,
    ),
)  # fmt: skip


def without_block(text: str) -> str:
    return _BLOCK.sub("", text)


def block_of(text: str) -> str:
    """Our block as it stands in the file; empty where there is none."""
    found = _BLOCK.search(text)
    return found[0] if found else ""


def _value(text: str, name: str) -> str:
    """What a shell file sets last, without its quotes; empty where it sets nothing."""
    found = re.findall(rf"^[ \t]*(?:export[ \t]+)?{name}=(.*)$", text, re.MULTILINE)
    return str(found[-1]).strip().strip("\"'") if found else ""


def configured(system: System) -> list[tuple[Kdump, str]]:
    """Each kdump program that the host has, and its configuration."""
    found = []
    for kdump in KDUMPS:
        text = _read(system, kdump.config)
        if text is not None and system.stat(kdump.program) is not None:
            found.append((kdump, text))
    return found


def with_block(system: System) -> list[tuple[str, str]]:
    """Paths and texts of the configurations that have our block, also where the program is gone."""
    texts = [(kdump.config, _read(system, kdump.config)) for kdump in KDUMPS]
    return [(path, text) for path, text in texts if text is not None and _BLOCK.search(text)]


def _read(system: System, path: str) -> str | None:
    try:
        return system.read(path)
    except OSError:
        return None
