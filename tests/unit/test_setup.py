# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""tools/setup.py where it cannot go on: it says what to do and changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
# the distribution's own: one in root's home could not be run by anyone else
PYTHON = "/usr/bin/python3"


@pytest.fixture
def copy(checkout: Path) -> Iterator[Path]:
    """What the set-up reads, where anyone may read it, wanting a package that no machine has."""
    if not os.access(PYTHON, os.X_OK) or shutil.which("dpkg-query") is None:
        pytest.skip("this is not Debian with its own Python")
    with tempfile.TemporaryDirectory(prefix="carveout-setup-") as folder:
        root = Path(folder)
        for name in (
            "tools/setup.py",
            "pyproject.toml",
            "requirements.lock",
            "plugins/module_utils/_version.py",
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, root / name)
        (root / "tools/system-packages.txt").write_text("# why\ndpkg\ncarveout-no-such-package  # because\n")
        (root / "bin").mkdir()
        (root / "bin/dpkg-query").symlink_to(str(shutil.which("dpkg-query")))
        for path in (root, *root.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        yield root


def set_up(root: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run the copied set-up as someone who is not root."""
    someone = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        [PYTHON, str(root / "tools/setup.py"), *arguments],
        cwd=root, env={"PATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        **someone,
    )  # fmt: skip


def test_without_root_and_sudo_it_names_the_missing_packages_and_stops(copy: Path) -> None:
    done = set_up(copy, path=str(copy / "bin"))
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends carveout-no-such-package\n" in done.stderr
    assert "dpkg " not in done.stderr and "Traceback" not in done.stderr
    assert not (copy / ".venv").exists()


def test_elsewhere_than_on_debian_it_names_all_packages(copy: Path) -> None:
    done = set_up(copy, path=str(copy / "tools"))
    assert done.returncode == 1
    assert "dpkg carveout-no-such-package" in done.stderr and "--skip-system-packages" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_it_may_not_write_to_is_one_message(copy: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be someone whose folder this is not")
    done = set_up(copy, "--skip-system-packages", path="/usr/bin:/bin")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr and "Traceback" not in done.stderr


def test_every_system_package_says_why(checkout: Path) -> None:
    lines = (checkout / "tools/system-packages.txt").read_text().splitlines()
    named = [line for line in lines if line.partition("#")[0].strip()]
    assert named and all(len(line.partition("#")[0].split()) == 1 for line in named)
    assert [line for line in named if not line.partition("#")[2].strip()] == []
