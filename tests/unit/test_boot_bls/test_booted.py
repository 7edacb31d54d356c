# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The readers of entry files against what real loaders handed to real kernels (`python -m tests.loaders`)."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._boot import bls
from ansible_collections.carveout.memory.plugins.module_utils._boot.bls_files import Files
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub import MENU
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import BootEntry, next_entry
from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

BOOTED = json.loads((Path(__file__).parents[2] / "loaders" / "booted.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(BOOTED))
def test_the_next_boot_is_read_as_it_was_booted(name: str, tmp_path: Path) -> None:
    boot: dict[str, Any] = BOOTED[name]
    for path, text in boot["files"].items():
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    system = RealSystem(str(tmp_path))
    # the loader's own argument in front, the image or the initrd, depends on the disk
    arrived = split(boot["cmdline"])
    assert "6.12.0" in arrived[0] or arrived[0].startswith("initrd=")
    if "-trial" in name:
        entry = trial_of(system)
        assert (entry.kernel, split(entry.arguments)) == ("6.12.0", arrived[1:])
        assert arrived[-2:] == ["carveout.trial", "panic=30"]
        assert "carveout.trial" not in (read_loader(system, None).boot_arguments or ())
        return
    state = read_loader(system, None)
    assert (state.problem, state.kernel) == ("", "6.12.0")
    assert state.boot_arguments == tuple(arrived[1:])


def trial_of(system: RealSystem) -> BootEntry:
    """What boots next where an entry is chosen for one boot."""
    menu = bls.find_menu(system)
    if menu is None:
        return next_entry(system.read(MENU) or "", system.read)
    return bls.next_boot(system, menu, Files(system), trial=True)


def test_every_character_was_booted() -> None:
    kinds = {"literal": "'\\$", "variable": "'\\", "systemd": ""}
    for kind, missing in kinds.items():
        seen = set("".join(boot["cmdline"] for name, boot in BOOTED.items() if name.startswith(f"{kind} ")))
        assert set(string.printable[:-6]) - set(string.ascii_letters) - seen <= set(missing), kind
