# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host side as one file: the same everywhere, and in need of nothing but a Python."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION
from ansible_collections.carveout.memory.plugins.plugin_utils import zipapp_build

# neither site-packages nor the user's environment: what a host has
BARE_PYTHON = [sys.executable, "-S", "-I"]


@pytest.fixture
def small_core(tmp_path: Path) -> Path:
    """A core of three files, one of them in a folder without `__init__.py`."""
    core = tmp_path / "core"
    (core / "_room").mkdir(parents=True)
    (core / "_host_side.py").write_text(
        "import sys\nfrom ._room import answer\n\ndef main():\n print(sys.argv[1:])\n return answer.VALUE\n"
    )
    (core / "_room" / "answer.py").write_text("from .._value import VALUE\n")
    (core / "_value.py").write_text("VALUE = 5\n")
    return core


def test_main_gets_the_arguments_and_gives_the_exit_status(small_core: Path, tmp_path: Path) -> None:
    built = zipapp_build.build_zipapp(small_core, tmp_path / "out" / "host.pyz", "1.2.3")
    done = subprocess.run(
        [*BARE_PYTHON, str(built), "restore", "-v"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("['restore', '-v']\n", "", 5)


def test_a_host_can_run_it_by_its_name(small_core: Path, tmp_path: Path) -> None:
    built = zipapp_build.build_zipapp(small_core, tmp_path / "host.pyz", "1.2.3")
    assert built.read_bytes().startswith(b"#!/usr/bin/python3\n")
    assert os.access(built, os.X_OK)


def test_same_sources_give_the_same_bytes(small_core: Path, tmp_path: Path) -> None:
    first = zipapp_build.build_zipapp(small_core, tmp_path / "first.pyz", "1.2.3").read_bytes()
    for source in small_core.rglob("*.py"):
        os.utime(source, (2_000_000_000, 2_000_000_000))
        source.chmod(0o600)
    (small_core / "__pycache__").mkdir()
    (small_core / "__pycache__" / "_value.cpython-311.pyc").write_bytes(b"left by a run")
    assert zipapp_build.build_zipapp(small_core, tmp_path / "second.pyz", "1.2.3").read_bytes() == first


@pytest.mark.parametrize(("file", "text"), [("_value.py", "VALUE = 6\n"), ("_new.py", "")])
def test_other_sources_give_other_bytes(small_core: Path, tmp_path: Path, file: str, text: str) -> None:
    first = zipapp_build.build_zipapp(small_core, tmp_path / "first.pyz", "1.2.3").read_bytes()
    (small_core / file).write_text(text)
    assert zipapp_build.build_zipapp(small_core, tmp_path / "second.pyz", "1.2.3").read_bytes() != first


def test_a_failed_build_leaves_the_old_file(small_core: Path, tmp_path: Path) -> None:
    built = zipapp_build.build_zipapp(small_core, tmp_path / "host.pyz", "1.2.3")
    before = built.read_bytes()
    with pytest.raises(FileNotFoundError):
        zipapp_build.build_zipapp(tmp_path / "no-such-core", built, "1.2.3")
    assert built.read_bytes() == before


def test_a_shipped_zipapp_is_taken_as_it_is(tmp_path: Path) -> None:
    shipped = tmp_path / "files" / "carveout-1.2.3.pyz"
    shipped.parent.mkdir()
    shipped.write_bytes(b"from the wheel")
    assert zipapp_build.host_zipapp(tmp_path, "1.2.3", tmp_path / "out") == shipped


def test_the_whole_core_runs_from_the_zipapp_on_a_bare_python(checkout: Path, tmp_path: Path) -> None:
    built = zipapp_build.host_zipapp(checkout, VERSION, tmp_path)
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in zipfile.ZipFile(built).namelist()
        if name != "__main__.py"
    ]
    assert f"{zipapp_build.PACKAGE}._units" in modules
    program = (
        "import importlib, sys\nsys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n    importlib.import_module(name)\n"
    )
    subprocess.run([*BARE_PYTHON, "-c", program, str(built), *modules], check=True)
