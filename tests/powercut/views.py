# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk as GRUB reads it, which replays no journal, and as Linux does after a power cut."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ansible_collections.carveout.memory.lab.disk import PARTITION_START
from ansible_collections.carveout.memory.plugins.module_utils._arguments import layout_id, split
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN, owned_tokens
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import BootEntry, next_entry
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_words import GrubScriptError
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_switch import UNIT
from tests.tenant.host import must

MENU, ENVIRONMENT, ENTRIES = (f"/boot/grub/{name}" for name in ("grub.cfg", "grubenv", "custom.cfg"))
_COMMITTED = "/etc/carveout/committed"
_LAYOUTS = "/etc/carveout/layouts"


class GrubView(NamedTuple):
    """The texts that GRUB reads of its files; None where it finds none."""

    texts: Mapping[str, str | None]

    def entry(self) -> BootEntry:
        """What boots next. Raises GrubScriptError."""
        return next_entry(self.texts[MENU] or "", self.texts.get)


def grub_view(disk: Path) -> GrubView:
    """By GRUB's own code (grub-fstest), in the file system as it lies there."""
    return GrubView({path: _grub_read(disk, path) for path in (MENU, ENVIRONMENT, ENTRIES)})


def grub_checksum(disk: Path, path: str) -> str:
    """GRUB's own CRC of a file's content, or how it failed."""
    done = _fstest(disk, "crc", path)
    return (done.stdout or done.stderr).decode("utf-8", "replace").strip()


def _grub_read(disk: Path, path: str) -> str | None:
    done = _fstest(disk, "cat", path)
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None


def _fstest(disk: Path, command: str, path: str) -> subprocess.CompletedProcess[bytes]:
    words = ["grub-fstest", str(disk), command, f"(loop0,msdos1){path}"]
    return subprocess.run(words, capture_output=True, check=False)


def check_linux(disk: Path, undo: Path, allowed: Mapping[str, str]) -> None:
    """What Linux finds after it has replayed the journal; TenantError where that is nothing whole.

    ``allowed`` are the layouts' arguments by their IDs. The disk is left as it was.
    """
    undo.unlink(missing_ok=True)
    where = f"{disk}?offset={PARTITION_START}"
    try:
        # what a boot does by itself; status 4 and more: a person is needed
        done = subprocess.run(["e2fsck", "-fp", "-z", str(undo), where], capture_output=True, check=False)
        must(done.returncode < 4, f"e2fsck: {done.stdout.decode(errors='replace')}")
        _check_files(where, allowed)
    finally:
        if undo.exists():
            subprocess.run(["e2undo", "-f", str(undo), where], capture_output=True, check=True)


def _check_files(where: str, allowed: Mapping[str, str]) -> None:
    menu = _linux_read(where, MENU)
    must(menu is not None and menu.rstrip().endswith("### END /etc/grub.d/41_custom ###"), "half a menu")
    texts = {MENU: menu, ENVIRONMENT: _linux_read(where, ENVIRONMENT), ENTRIES: _linux_read(where, ENTRIES)}
    stored = _names(where, _LAYOUTS)
    try:
        names = {layout_id(split(GrubView(texts).entry().arguments))}
    except GrubScriptError as error:
        must(False, f"Linux's view of the menu: {error}")
        return
    committed = (_linux_read(where, _COMMITTED) or "").strip()
    names |= {committed} - {""}
    for name in names - {None}:
        must(f"{name}.json" in stored, f"{name} boots or is committed, and is not stored: {stored}")
    for name in stored:
        if name.endswith(".json"):
            layout = json.loads(_linux_read(where, f"{_LAYOUTS}/{name}") or "")
            must(" ".join(layout["kernel_arguments"]) == allowed[name[:-5]], f"{name} is another layout")
    drop_in = _linux_read(where, DROP_IN)
    if drop_in is not None:
        must(" ".join(owned_tokens(drop_in)) in allowed.values(), f"half a drop-in: {drop_in!r}")
    for path in (UNIT, ENTRIES):
        text = _linux_read(where, path)
        must(
            text is None or text.endswith(("WantedBy=sysinit.target\n", "# END Carveout trial\n")),
            f"half of {path}",
        )


def _linux_read(where: str, path: str) -> str | None:
    done = subprocess.run(["debugfs", "-R", f"cat {path}", where], capture_output=True, check=False)
    if b"File not found" in done.stderr:
        return None
    return done.stdout.decode("utf-8", "surrogateescape")


def _names(where: str, path: str) -> list[str]:
    done = subprocess.run(["debugfs", "-R", f"ls -p {path}", where], capture_output=True, check=False)
    names = [line.split("/")[5] for line in done.stdout.decode().splitlines() if line.startswith("/")]
    return [name for name in names if name not in (".", "..")]


def journal(disk: Path) -> list[tuple[int, int]]:
    """The ranges of the disk in which ext4's journal lies: GRUB looks at nothing there."""
    where = f"{disk}?offset={PARTITION_START}"
    done = subprocess.run(["debugfs", "-R", "stat <8>", where], capture_output=True, check=True)
    found = re.findall(r"\([0-9]+(?:-[0-9]+)?\):([0-9]+)(?:-([0-9]+))?", done.stdout.decode())
    must(bool(found), "the journal was not found")
    block = 4096
    ranges = [(int(first), int(last or first) + 1) for first, last in found]
    return [(PARTITION_START + start * block, PARTITION_START + end * block) for start, end in ranges]
