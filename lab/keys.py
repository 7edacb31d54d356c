# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Key pairs of the lab: one to log in with, one that the hosts show. Made once for a cache, never leave it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import tools
from .errors import LabError
from .locks import locked


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 key pair in files."""

    private_file: Path

    @property
    def private(self) -> str:
        return self.private_file.read_text(encoding="ascii")

    @property
    def public(self) -> str:
        """The public key as in authorized_keys: ``ssh-ed25519 BASE64``, without the comment."""
        words = self.private_file.with_suffix(".pub").read_text(encoding="ascii").split()
        if len(words) < 2:
            raise LabError(
                f"{self.private_file}.pub is no public key: remove the directory {self.private_file.parent}"
            )
        return " ".join(words[:2])


@dataclass(frozen=True)
class Keys:
    """The key of the user who logs in, and the key by which a host is known."""

    user: KeyPair
    host: KeyPair


def ensure(cache: Path) -> Keys:
    """The key pairs below ``cache``; made when they are not there."""
    directory = cache / "keys"
    pairs = []
    with locked(cache / "keys.lock"):
        directory.mkdir(mode=0o700, exist_ok=True)
        for name in ("user", "host"):
            private = directory / f"{name}_ed25519"
            if not (private.is_file() and private.with_suffix(".pub").is_file()):
                private.unlink(missing_ok=True)
                # ssh-keygen writes the private key with mode 0600
                tools.run(
                    [
                        tools.find("ssh-keygen"),
                        "-q",
                        "-t",
                        "ed25519",
                        "-N",
                        "",
                        "-C",
                        f"carveout-lab-{name}",
                        "-f",
                        str(private),
                    ]
                )
            pairs.append(KeyPair(private))
    return Keys(user=pairs[0], host=pairs[1])
