# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same content gives the same boots, another content others."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ansible_collections.carveout.memory.tests.kernel.seed import seed_of


def commit(folder: Path, text: str, message: str) -> None:
    (folder / "file").write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "--no-gpg-sign", "-m", message], check=True)


def test_the_seed_follows_from_what_is_committed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        subprocess.run(["git", "init", "-q", str(tmp_path / name)], check=True)
        commit(tmp_path / name, "a", name)
    first = seed_of(tmp_path / "one")
    assert seed_of(tmp_path / "two") == first
    commit(tmp_path / "two", "b", "changed")
    assert seed_of(tmp_path / "two") != first
    assert 0 <= first < 1 << 32


def test_without_a_repository_it_is_the_time(tmp_path: Path) -> None:
    before = int(time.time())
    assert before <= seed_of(tmp_path) <= time.time()
