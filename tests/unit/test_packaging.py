# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One tree is checkout, collection and wheel: what each of them holds."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.carveout.memory.plugins.module_utils import _version

PREFIX = "ansible_collections/carveout/memory/"


def files_below(checkout: Path, *folders: str) -> set[str]:
    """The files in the folders, caches of the interpreter and of tools left out."""
    found = (path for folder in folders for path in (checkout / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(checkout)) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (built,) = out.iterdir()
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def collection(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> tarfile.TarFile:
    """The collection's archive, built from the checkout."""
    out = tmp_path_factory.mktemp("collection")
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    build = [str(galaxy), "collection", "build", "--output-path", str(out)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (built,) = out.iterdir()
    return tarfile.open(built)


def test_one_version_everywhere(checkout: Path) -> None:
    galaxy = yaml.safe_load((checkout / "galaxy.yml").read_text())
    assert galaxy["version"] == _version.VERSION
    assert importlib.metadata.version("carveout") == _version.VERSION
    assert f"## {_version.VERSION}" in (checkout / "CHANGELOG.md").read_text()


def test_imports_come_from_the_checkout(checkout: Path) -> None:
    assert Path(_version.__file__).resolve() == checkout / "plugins/module_utils/_version.py"


def test_wheel_holds_the_collection_and_nothing_else(checkout: Path, wheel: zipfile.ZipFile) -> None:
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    shipped = files_below(checkout, "meta", "plugins", "roles", "playbooks", "schemas")
    shipped |= {
        "galaxy.yml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        f"files/carveout-{_version.VERSION}.pyz",
    }
    assert files == {PREFIX + name for name in shipped}


def test_wheel_brings_the_command_and_its_dependencies(wheel: zipfile.ZipFile) -> None:
    info = f"carveout-{_version.VERSION}.dist-info/"
    metadata = wheel.read(info + "METADATA").decode()
    assert "Requires-Python: >=3.11" in metadata
    assert "Requires-Dist: ansible-core<2.22,>=2.19" in metadata
    assert "carveout = ansible_collections.carveout.memory" in wheel.read(info + "entry_points.txt").decode()


def test_collection_holds_what_the_wheel_holds(
    collection: tarfile.TarFile, wheel: zipfile.ZipFile, checkout: Path
) -> None:
    files = {member.name for member in collection.getmembers() if member.isfile()}
    in_wheel = {name.removeprefix(PREFIX) for name in wheel.namelist() if name.startswith(PREFIX)}
    # galaxy.yml becomes MANIFEST.json; the zipapp is built where it is first needed
    in_wheel -= {"galaxy.yml", f"files/carveout-{_version.VERSION}.pyz"}
    in_wheel |= {"MANIFEST.json", "FILES.json"}
    assert in_wheel <= files
    # docs/ is for readers of the collection; what somebody left lying about in the checkout is theirs to tidy
    others = ["git", "ls-files", "--others", "-z"]
    strays = subprocess.run(others, cwd=checkout, check=True, capture_output=True, text=True).stdout.split(
        "\0"
    )
    assert files - in_wheel - files_below(checkout, "docs") - set(strays) == set()
    assert not [member.name for member in collection.getmembers() if member.issym()]
