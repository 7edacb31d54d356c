# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernels that are installed on a host: their configuration, and what would install another.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._system import System
from . import proc
from .files import Reader

#: What installs packages, by its program: the arguments before the package's name or file. Run as programs, as
#: Ansible's own modules need bindings that the host's newer Python lacks on RHEL 8.
_INSTALLERS = {
    "dnf": ("dnf", "--assumeyes", "install"),
    "yum": ("yum", "--assumeyes", "install"),
    "apt-get": ("apt-get", "--yes", "--no-install-recommends", "install"),
}


def read_config(reader: Reader, release: str) -> Mapping[str, str]:
    """The configuration of a kernel; empty where it is not there."""
    if release:
        for path in (
            f"/boot/config-{release}", f"/lib/modules/{release}/config", f"/usr/lib/modules/{release}/config"
        ):  # fmt: skip
            text = reader.text(path, 4 << 20)
            if text:
                return proc.parse_config(text)
    return {}


def is_installed(system: System, release: str) -> bool:
    """Whether the kernel's image is there to be booted, and its modules."""
    return system.stat(f"/boot/vmlinuz-{release}") is not None and any(
        system.stat(f"{modules}/{release}") is not None for modules in ("/lib/modules", "/usr/lib/modules")
    )


def installer(system: System) -> tuple[str, ...]:
    """The beginning of a command that installs a package; empty where the host has none that is known."""
    for program, argv in _INSTALLERS.items():
        if system.stat(f"/usr/bin/{program}") is not None:
            return argv
    return ()
