# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real sshd on loopback, for as long as it is needed, behind which every faked host of a directory answers."""

from __future__ import annotations

import getpass
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .faked import ENTER

_INSTALLED = Path("/usr/sbin/sshd")
_SECONDS = 10


class SshdError(Exception):
    """There is no sshd, or it does not start; the message says what would help."""


def _program() -> Path:
    """The installed sshd, or that of the distribution's package, unpacked into the user's cache and not installed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "carveout" / "sshd"
    unpacked = folder / "usr/sbin/sshd"
    if _INSTALLED.exists() or unpacked.exists():
        return _INSTALLED if _INSTALLED.exists() else unpacked
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            ["apt-get", "download", "openssh-server", "libwrap0"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SshdError(f"no sshd: install the package openssh-server ({error})") from None
    return unpacked


@contextmanager
def sshd(folder: Path) -> Iterator[dict[str, object]]:
    """Serve the hosts below ``folder``; gives Ansible's variables for all of them.

    Each connection says by a variable of its environment which host it means. Everything that was started ends with
    the block.
    """
    program = _program()
    libraries = program.parents[1] / "lib" / f"{os.uname().machine}-linux-gnu"
    for name in ("host", "user"):
        key = folder / f"{name}_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (folder / "user_key.pub").rename(folder / "authorized_keys")
    command = folder / "as-host.sh"
    command.write_text(
        "#!/bin/sh\ncase $CARVEOUT_HOST in *[!a-z0-9]* | '') exit 1 ;; esac\n"
        f'exec {shlex.quote(str(ENTER))} {shlex.quote(str(folder))}/"$CARVEOUT_HOST" "$SSH_ORIGINAL_COMMAND"\n'
    )
    command.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nAcceptEnv CARVEOUT_HOST\nMaxStartups 500\nMaxSessions 100\n"
        f"LogLevel ERROR\nForceCommand {command}\n"
    )
    # a package that is not installed has made no user for sshd and no place for it to be shut in
    (folder / "passwd").write_text(
        Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/bin/false\n"
    )
    script = (
        f"mount --bind {folder}/passwd /etc/passwd; mount -t tmpfs tmpfs /run; mkdir -m 755 /run/sshd; "
        f"LD_LIBRARY_PATH={libraries} exec {program} -D -e -f {folder}/sshd_config"
    )
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", script],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait(port, process, folder / "sshd.log")
        known = f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}"
        (folder / "known_hosts").write_text(known)
        yield {
            "ansible_user": getpass.getuser(),
            "ansible_port": port,
            "ansible_ssh_private_key_file": str(folder / "user_key"),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": (
                f"-o Hostname=127.0.0.1 -o UserKnownHostsFile={folder / 'known_hosts'} -o IdentitiesOnly=yes "
                "-o SetEnv=CARVEOUT_HOST={{ inventory_hostname }}"
            ),
        }
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(_SECONDS * 10):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SshdError(f"sshd does not start (it takes root): {log.read_text().strip()[-500:]}")
