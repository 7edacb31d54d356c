# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Other firmware and other boot loaders: what is different in their images. Pure, nothing is built here.

The image of a BIOS machine with GRUB is made by ``recipe.py`` as it stands, and keeps its digest whatever happens here.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .recipe import PACKAGES, Recipe

_HERE = Path(__file__).resolve().parent
_LOADERS = _HERE / "loaders"
#: Where setup.sh begins with the boot loader, and what follows it.
_SECTION = (
    "# -------------------------------------------------------------------------------------------------- boot loader",
    "# nothing is out of date",
)


@dataclass(frozen=True)
class Flavour:
    """A machine's firmware and boot loader."""

    firmware: str = "bios"
    """``bios`` or ``uefi``"""
    loader: str = "grub"
    """``grub`` with a generated menu, or ``systemd-boot``"""

    def __str__(self) -> str:
        return f"{self.loader} on {self.firmware.upper()}"


DEFAULT = Flavour()
#: The packages of each loader.
_PACKAGES = {
    Flavour("uefi", "grub"): ("grub-efi-amd64",),
    Flavour("uefi", "systemd-boot"): ("systemd-boot",),
}
FLAVOURS = (DEFAULT, *_PACKAGES)


def check(flavour: Flavour) -> Flavour:
    """``flavour`` where the lab can build it; else LabError."""
    if flavour not in FLAVOURS:
        there = ", ".join(map(str, FLAVOURS))
        raise LabError(f"--firmware {flavour.firmware} --loader {flavour.loader}: there is {there}")
    return flavour


@dataclass(frozen=True)
class FlavourRecipe(Recipe):
    """The recipe of an image with another boot loader than GRUB on BIOS."""

    flavour: Flavour = DEFAULT

    def digest(self) -> str:
        total = hashlib.sha256(super().digest().encode())
        for path in (_HERE / "flavour.py", _HERE / "efi_disk.py", *sorted(_LOADERS.iterdir())):
            data = path.read_bytes()
            total.update(f"{path.name}\0{len(data)}\0".encode() + data)
        total.update(str(self.flavour).encode())
        return total.hexdigest()[:16]

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {**super().files(), "setup.sh": (self.setup().encode(), 0o755)}

    def setup(self) -> str:
        """setup.sh with this loader's part instead of GRUB's. Raises LabError where it has no such part."""
        text = (_HERE / "setup.sh").read_text(encoding="utf-8")
        begin, end = (text.find(f"{mark}\n" if mark.endswith("loader") else mark) for mark in _SECTION)
        if not 0 <= begin < end:
            raise LabError("lab/setup.sh has no part for the boot loader")
        part = (_LOADERS / f"{self.flavour.loader}-{self.flavour.firmware}.sh").read_text(encoding="utf-8")
        return text[:begin] + part + "\n" + text[end:]

    def mmdebstrap_arguments(self, target: str, tarball: str, uuid: str) -> list[str]:
        packages = [name for name in PACKAGES if name != "grub-pc"]
        found = []
        for argument in super().mmdebstrap_arguments(target, tarball, uuid):
            if argument.startswith("--include="):
                argument = f"--include={','.join([*packages, *_PACKAGES[self.flavour]])}"
            elif argument.startswith("--customize-hook=upload"):
                continue  # it came with the other files
            elif argument.startswith("--essential-hook="):
                selections = shlex.quote(str(_LOADERS / "debconf.selections"))
                argument = f'--essential-hook=chroot "$1" debconf-set-selections < {selections}'
            found.append(argument)
        return found
