# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet of faked hosts for each test: what one does to its hosts is gone with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faked_boots import make_fleet

from ansible_collections.carveout.memory.bench import faked


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (probe,) = faked.make_fleet(folder / "probe", 1)
    why = faked.can_enter(probe)
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    make_fleet(folder / "fleet", 4)
    return folder / "fleet"


@pytest.fixture
def fleet(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "fleet", symlinks=True))
