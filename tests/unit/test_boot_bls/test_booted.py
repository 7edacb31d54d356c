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
    state = read_loader(RealSystem(str(tmp_path)), None)
    assert (state.problem, state.kernel) == ("", "6.12.0")
    # the loader's own argument in front, the image or the initrd, depends on the disk
    arrived = split(boot["cmdline"])
    assert state.boot_arguments == tuple(arrived[1:])
    assert "6.12.0" in arrived[0] or arrived[0].startswith("initrd=")


def test_every_character_was_booted() -> None:
    for kind, missing in (("literal", "'\\$"), ("variable", "'\\"), ("systemd", "")):
        seen = set("".join(boot["cmdline"] for name, boot in BOOTED.items() if name.startswith(kind)))
        assert set(string.printable[:-6]) - set(string.ascii_letters) - seen <= set(missing), kind
