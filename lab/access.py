# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way into a virtual machine: ssh with its own key, against exactly the host key that it was built with."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from . import tools

USER = "root"
ADDRESS = "127.0.0.1"
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Access:
    """What it takes to log in."""

    port: int
    key_file: Path
    known_hosts: Path

    def common_options(self) -> list[str]:
        """Options of ssh beside address, port, user and key: nothing of the operator's own configuration counts."""
        return [
            "-F", "none",
            "-o", f"UserKnownHostsFile={_quoted(self.known_hosts)}",
            "-o", "GlobalKnownHostsFile=none",
            "-o", "StrictHostKeyChecking=yes",
            "-o", "IdentitiesOnly=yes",
            "-o", "IdentityAgent=none",
        ]  # fmt: skip

    def ssh(self, *options: str) -> list[str]:
        """The command line of ssh up to the destination; a command may follow."""
        return [
            tools.find("ssh"), *self.common_options(), *options, "-o", f"IdentityFile={_quoted(self.key_file)}",
            "-p", str(self.port), f"{USER}@{ADDRESS}",
        ]  # fmt: skip

    def write_known_hosts(self, host_key: str) -> None:
        """Write the file that ssh checks ``host_key`` (a public key) against."""
        self.known_hosts.write_text(f"[{ADDRESS}]:{self.port} {host_key}\n", encoding="ascii")

    def answers(self, timeout: float) -> bool:
        """Whether an ssh server greets on the port; cheaper for an emulated guest than a log-in."""
        try:
            with socket.create_connection((ADDRESS, self.port), timeout=timeout) as connection:
                connection.settimeout(timeout)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def free_port(preferred: int) -> int:
    """``preferred`` if nobody listens there on the loopback, else a port that the kernel finds."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            # as QEMU does: connections of an earlier machine that linger do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return preferred


def _quoted(path: Path) -> str:
    # ssh splits the values of these options at white space outside double quotes
    return f'"{path}"' if " " in str(path) else str(path)
