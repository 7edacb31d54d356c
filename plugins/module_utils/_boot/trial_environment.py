# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether GRUB takes the choice of an entry for one boot back by itself, or would boot the trial for ever.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

from .._system import System
from .trial_loader import INSTEAD, refused
from .trial_text import CHOICE

#: File systems that GRUB only reads (00_header's check_writable).
_READ_ONLY = {"btrfs", "cpiofs", "newc", "odc", "romfs", "squash4", "tarfs", "zfs"}


def check_environment(system: System, path: str, menu: str, environment: str, tools: str) -> None:
    """Raise :class:`NotPossible` where it does not.

    ``menu`` is the text of the menu at ``path``, ``environment`` the file of its variables, ``tools`` how the names of
    this GRUB's programs begin (``grub`` or ``grub2``).
    """
    if not re.search(rf"^\s*save_env\s+(?:-f\s+\S+\s+)?{CHOICE}\s*$", menu, re.MULTILINE):
        raise refused(f"{path} knows no choice for one boot only (`save_env {CHOICE}`); {INSTEAD}")
    if system.read(environment) is None or system.readlink(environment) is not None:
        raise refused(
            f"{environment} is missing or a link, so GRUB cannot note that the trial was booted: make it with"
            f" `{tools}-editenv {environment} create`, or {INSTEAD}"
        )
    for target, what in (("abstraction", "lies on"), ("fs", "is in a file system of type")):
        done = system.run([f"{tools}-probe", f"--target={target}", environment])
        if done.status != 0:
            said = (done.stderr or done.stdout).strip().replace("\n", " / ")
            raise refused(
                f"GRUB's own {tools}-probe cannot tell where {environment} lies ({said}); {INSTEAD}"
            )
        found = set(done.stdout.split())
        if found if target == "abstraction" else found & _READ_ONLY:
            raise refused(
                f"{environment} {what} {' '.join(sorted(found))}, where GRUB cannot write: it would boot the trial"
                f" again and again. Use a /boot on a plain partition, or {INSTEAD}"
            )
