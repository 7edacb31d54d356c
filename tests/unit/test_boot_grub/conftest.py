# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host that is a tree of files, edited through a real augeas, its settings sourced by a real sh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.change import Change
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_apply import apply, plan
from ansible_collections.carveout.memory.plugins.module_utils._boot.state import LoaderState
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem

MKCONFIG = Path(__file__).parents[1] / "test_boot_data" / "grub-mkconfig"
DEFAULTS = """\
# how GRUB boots
GRUB_DEFAULT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=ttyS0"
"""


class Tree(RealSystem):
    """A host below a directory, whose grub-mkconfig is a script."""

    def __init__(self, root: Path, augeas: Any) -> None:
        super().__init__(str(root))
        self.root = root
        self.augeas = augeas
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.ran.append(list(argv))
        return super().run(["sh", f"{self.root}{argv[0]}", str(self.root), *argv[1:]])

    def put(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def boot(self) -> None:
        """What a reboot does to /proc/cmdline."""
        self.put("/proc/cmdline", read_loader(self, None).command_line + "\n")

    def files(self) -> dict[str, bytes]:
        return {
            str(p): p.read_bytes()
            for p in sorted(self.root.rglob("*"))
            if p.is_file() and "proc" not in p.parts
        }

    def state(self, *augeas: Any) -> LoaderState:
        """What is read of it: with augeas, unless another or None is given."""
        return read_loader(self, *(augeas or [self.augeas]))

    def plan(self, wanted: Sequence[str] | None, kernel: str = "") -> Change:
        return plan(self.state(), self.augeas, wanted, kernel)

    def apply(self, change: Change) -> None:
        apply(self, self.augeas, change)

    def change_to(self, wanted: Sequence[str] | None, kernel: str = "") -> Change:
        """Plan and apply."""
        change = self.plan(wanted, kernel)
        self.apply(change)
        return change


@pytest.fixture(scope="session")
def augeas() -> Any:
    try:
        from augeas import Augeas
    except (ImportError, OSError) as error:
        pytest.skip(f"augeas is not installed: {error}")
    return Augeas(flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD)


@pytest.fixture
def tree(tmp_path: Path, augeas: Any) -> Tree:
    system = Tree(tmp_path, augeas)
    system.put("/etc/default/grub", DEFAULTS)
    system.put("/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n')
    system.put("/usr/sbin/grub-mkconfig", MKCONFIG.read_text())
    system.put("/boot/grub/grubenv", "# GRUB Environment Block\n####")
    system.run(["/usr/sbin/grub-mkconfig"])
    system.ran.clear()
    system.boot()
    return system
