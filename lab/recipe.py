# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the disk image is made of, and its digest: pure, nothing is built here."""

from __future__ import annotations

import hashlib
import io
import shlex
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    "systemd-sysv", "udev", "kmod", "iproute2", "openssh-server", "e2fsprogs",
    "linux-image-amd64", "initramfs-tools", "lz4", "grub-pc",
    "python3", "python3-augeas", "ndctl", "daxctl",
)  # fmt: skip
# documentation that nobody reads here; augeas lenses and copyright files stay
DPKG_EXCLUDES = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*/*")
DPKG_INCLUDES = ("/usr/share/doc/*/copyright",)

_HERE = Path(__file__).resolve().parent
# the sources that decide how the image comes out: a change in them makes another image
_SOURCES = ("recipe.py", "disk.py", "setup.sh", "debconf.selections")


@dataclass(frozen=True)
class Recipe:
    """All inputs of one disk image."""

    user_key: str
    """public key that may log in as root"""
    host_key: str = field(repr=False)
    """private key that the host shows"""
    host_key_public: str
    mirror: str = MIRROR

    @property
    def sources(self) -> str:
        """The line of sources.list that the packages come from."""
        return f"deb {self.mirror} {SUITE} main"

    def files(self) -> dict[str, tuple[bytes, int]]:
        """What is laid into the root file system before the packages: path -> (content, mode)."""
        found = _tree(_HERE / "rootfs")
        found["root/.ssh/authorized_keys"] = (f"{self.user_key}\n".encode(), 0o600)
        found["etc/ssh/ssh_host_ed25519_key"] = (self.host_key.encode(), 0o600)
        found["etc/ssh/ssh_host_ed25519_key.pub"] = (f"{self.host_key_public}\n".encode(), 0o644)
        return found

    def digest(self) -> str:
        """A name for the image: the same inputs give the same 16 hexadecimal digits."""
        total = hashlib.sha256()

        def add(name: str, data: bytes) -> None:
            total.update(f"{name}\0{len(data)}\0".encode())
            total.update(data)

        add("sources.list", self.sources.encode())
        for name in _SOURCES:
            add(name, (_HERE / name).read_bytes())
        for path, (data, mode) in sorted(self.files().items()):
            add(f"{path}:{mode:o}", data)
        return total.hexdigest()[:16]

    def mmdebstrap_arguments(self, target: str, tarball: str, uuid: str) -> list[str]:
        """The arguments of mmdebstrap that make the root file system below ``target``.

        ``tarball`` is a file with :meth:`tar`'s content; ``uuid`` the one that the file system will get.
        """
        here = _HERE
        return [
            "--mode=root", "--variant=minbase", "--format=directory",
            "--aptopt=Apt::Install-Recommends \"false\"",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in DPKG_EXCLUDES),
            *(f"--dpkgopt=path-include={pattern}" for pattern in DPKG_INCLUDES),
            f"--include={','.join(PACKAGES)}",
            f"--setup-hook=tar-in {shlex.quote(tarball)} /",
            f"--essential-hook=chroot \"$1\" debconf-set-selections < {shlex.quote(str(here / 'debconf.selections'))}",
            f"--customize-hook=upload {shlex.quote(str(here / 'setup.sh'))} /setup.sh",
            f"--customize-hook=chroot \"$1\" sh /setup.sh {uuid}",
            "--customize-hook=rm \"$1/setup.sh\"",
            SUITE, target, self.sources,
        ]  # fmt: skip

    def tar(self) -> bytes:
        """:meth:`files` as a tar archive, everything owned by root."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, (data, mode) in sorted(self.files().items()):
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()


def _tree(root: Path) -> dict[str, tuple[bytes, int]]:
    # a script is known by its first line: what git and umask make of modes does not count
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        found[str(path.relative_to(root))] = (data, 0o755 if data.startswith(b"#!") else 0o644)
    return found
