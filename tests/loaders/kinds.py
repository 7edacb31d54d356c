# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done to a host before its real loader boots it, and what that boot has to bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import apply, plan, read_loader
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial import begin, plan_trial

from . import generated
from .hosts import NASTY, PLAIN_LOADER, VARIABLE, tree

#: The kernel takes 32 arguments that it does not know for init (init/main.c, MAX_INIT_ARGS).
PARTS = 3
#: Kinds of each loader: with ``trial`` the arguments are in an entry of our own that is chosen for one boot.
KINDS = {
    "grub": ("menu", "menu-trial"),
    "grub-bls": ("literal", "variable", "literal-trial"),
    "systemd-boot": ("systemd",),
}


class Prepared(NamedTuple):
    """The host's files by path, and the arguments that its next boot is predicted to have."""

    files: dict[str, str]
    arguments: list[str]


def prepare(root: Path, kind: str, part: int) -> Prepared:
    """A host below ``root``, changed by Carveout."""
    base = kind.removesuffix("-trial")
    for path, text in (generated.FILES if base == "menu" else tree(base)).items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("utf-8", "surrogateescape"))
    system = generated.Tree(root)
    augeas = None
    if base == "menu":
        (root / "etc/default/grub.d").mkdir()
        system.run(["grub-mkconfig", "-o", "/boot/grub/grub.cfg"])
        augeas = _augeas()
    wanted = _wanted(base, part)
    if base == kind:
        change = plan(system, augeas, read_loader(system, augeas), wanted)
        arguments = [*(apply(system, augeas, change).boot_arguments or ())]
    else:
        trial = plan_trial(system, wanted, ["panic=30"], 900)
        begin(system, trial)
        arguments = [*trial.arguments]
    there = [f"/{path.relative_to(root)}" for path in sorted(root.rglob("*")) if path.is_file()]
    return Prepared({path: system.read(path) or "" for path in there}, arguments)


def on_disk(files: Mapping[str, str]) -> dict[str, str]:
    """The files of a boot loader where it looks for them on its disk."""
    moves = {
        "/boot/loader/": "loader/",
        "/efi/": "",
        "/boot/grub2/": "boot/grub/",
        "/boot/grub/": "boot/grub/",
    }
    found = {}
    for path, text in files.items():
        for before, after in moves.items():
            if path.startswith(before):
                found[after + path[len(before) :]] = text
    return found


def _wanted(base: str, part: int) -> Sequence[str]:
    extra = {"systemd": PLAIN_LOADER, "variable": VARIABLE, "menu": VARIABLE}.get(base, ())
    return ["carveout.layout=0123456789abcdef", *[*NASTY, *extra][part::PARTS]]


def _augeas() -> object:
    from augeas import Augeas

    return Augeas(flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD)
