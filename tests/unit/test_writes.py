# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that are replaced whole or not at all, and what is left of a write that was killed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils import _journal, _system
from ansible_collections.carveout.memory.plugins.module_utils._remains import clear, remains
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

Write = Callable[[RealSystem, str, str, int], None]


class Killed(BaseException):
    """The run ends here, and does nothing more."""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """Each step that a write takes, with the files that are there then; paths of a host that boots from them."""
    seen: list[tuple[str, dict[str, str]]] = []

    def settle(directory: str) -> None:
        seen.append(("settle", {p.name: p.read_text() for p in Path(directory).iterdir()}))

    monkeypatch.setattr(_system, "settle", settle)
    return seen


def test_a_boot_file_has_its_blocks_until_the_new_one_is_where_a_loader_looks(
    tmp_path: Path, events: list[tuple[str, dict[str, str]]]
) -> None:
    path = tmp_path / "grub.cfg"
    path.write_text("old")
    path.chmod(0o600)
    inode = path.stat().st_ino
    RealSystem().write_boot(str(path), "new", 0o640)
    assert [files for _, files in events] == [
        {"grub.cfg": "old", ".carveout-grub.cfg.new": "new", ".carveout-grub.cfg.old": "old"},
        {"grub.cfg": "new", ".carveout-grub.cfg.old": "old"},
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["grub.cfg"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != inode

    events.clear()
    assert RealSystem().remove_boot(str(path))
    assert [files for _, files in events] == [{".carveout-grub.cfg.old": "new"}]
    assert list(tmp_path.iterdir()) == []
    assert not RealSystem().remove_boot(str(path))


@pytest.mark.usefixtures("events")
def test_where_there_are_no_links_it_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    (tmp_path / "entry.conf").write_text("old")
    RealSystem().write_boot(str(tmp_path / "entry.conf"), "new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"entry.conf": "new"}


@pytest.mark.parametrize("killed_at", range(1, 8))
@pytest.mark.parametrize("boot", [False, True])
def test_a_write_that_is_killed_leaves_the_old_file_or_the_new_one_and_the_next_clears_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, boot: bool
) -> None:
    system = RealSystem(str(tmp_path))
    system.write("/boot/grub/grub.cfg", "old")
    before = dict(os.environ)
    left = 0

    def dying(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            nonlocal left
            left += 1
            if left >= killed_at:
                raise Killed
            return real(*args, **options)

        monkeypatch.setattr(os, name, call)

    # each is a step after which the disk has changed; once dead, nothing more is done
    for name in ("fsync", "link", "replace", "unlink", "fchmod"):
        dying(name)
    with pytest.raises(Killed):
        (system.write_boot if boot else system.write)("/boot/grub/grub.cfg", "new")
        raise Killed  # it was through before
    monkeypatch.undo()
    assert dict(os.environ) == before
    assert (tmp_path / "boot/grub/grub.cfg").read_text() in ("old", "new")
    found = remains(system)
    assert all(os.path.basename(path).startswith(".carveout-grub.cfg.") for path in found)
    clear(system, found)
    assert system.listdir("/boot/grub") == ["grub.cfg"]
    system.write_boot("/boot/grub/grub.cfg", "new")
    assert system.read("/boot/grub/grub.cfg") == "new"


def test_what_a_killed_write_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    system = RealSystem(str(tmp_path))
    system.write("/etc/carveout/committed", "a\n")
    (tmp_path / "etc/carveout/.carveout-committed.new").write_text("a longer text than the next one\n" * 99)
    (tmp_path / "etc/carveout/.carveout-notes").write_text("somebody else's\n")
    assert remains(system) == ["/etc/carveout/.carveout-committed.new"]
    system.write("/etc/carveout/committed", "b\n")
    assert remains(system) == []
    assert system.read("/etc/carveout/committed") == "b\n"
    assert system.listdir("/etc/carveout") == [".carveout-notes", "committed"]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    system = RealSystem(str(tmp_path))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/.carveout-x.new").symlink_to(tmp_path / "elsewhere")
    system.write("/etc/x", "text")
    assert (tmp_path / "etc/x").read_text() == "text" and not (tmp_path / "etc/x").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_settling_a_directory_of_any_file_system_is_no_trouble(tmp_path: Path) -> None:
    _journal.settle(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        _journal.settle(str(tmp_path / "missing"))
