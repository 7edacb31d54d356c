# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module node_metrics as Ansible runs it: a process that reads its arguments and prints its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._system import _beside

MODULE = "ansible_collections.carveout.memory.plugins.modules.node_metrics"


def run(**arguments: Any) -> dict[str, Any]:
    arguments = {**arguments, "_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False}
    script = (
        "import sys; from ansible.module_utils.testing import patch_module_args\n"
        f"import json, {MODULE} as module\n"
        "with patch_module_args(json.loads(sys.argv[1])):\n    module.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(arguments)],
        capture_output=True, text=True, check=False, env=os.environ.copy(),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    """A reader that has the old one open keeps all of it; the temporary file's name does not end in .prom."""
    path = tmp_path / "carveout.prom"
    assert run(directory=str(tmp_path), text="carveout_drift 1\n")["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o644
    first = path.stat().st_ino
    with path.open() as reader:
        answer = run(directory=str(tmp_path), text="carveout_drift 0\n")
        assert reader.read() == "carveout_drift 1\n"
    assert (answer["changed"], answer["path"]) == (True, str(path))
    assert answer["diff"]["before"] == "carveout_drift 1\n"
    assert path.read_text() == "carveout_drift 0\n"
    assert path.stat().st_ino != first
    assert [file.name for file in tmp_path.iterdir()] == ["carveout.prom"]


def test_it_is_written_anew_where_nothing_changed(tmp_path: Path) -> None:
    """Its time tells when the host was last looked at."""
    path = tmp_path / "carveout.prom"
    assert run(directory=str(tmp_path), text="carveout_drift 0\n")["changed"] is True
    os.utime(path, (1, 1))
    assert run(directory=str(tmp_path), text="carveout_drift 0\n")["changed"] is False
    assert path.stat().st_mtime > 1


def test_check_mode_and_removal(tmp_path: Path) -> None:
    path = tmp_path / "carveout.prom"
    assert run(directory=str(tmp_path), text="x 1\n", _ansible_check_mode=True)["changed"] is True
    assert not path.exists()
    path.write_text("x 1\n")
    assert run(directory=str(tmp_path), state="absent")["changed"] is True
    assert not path.exists()
    assert run(directory=str(tmp_path), state="absent")["changed"] is False
    assert run(directory=str(tmp_path / "gone"), state="absent")["changed"] is False


def test_what_is_refused(tmp_path: Path) -> None:
    assert "is no directory" in run(directory=str(tmp_path / "gone"), text="x 1\n")["msg"]
    assert not (tmp_path / "gone").exists()
    assert "text" in run(directory=str(tmp_path))["msg"]
    (tmp_path / "carveout.prom").mkdir()
    assert "not a regular file" in run(directory=str(tmp_path), text="x 1\n")["msg"]


def test_a_link_of_somebody_else_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the password\n")
    path = tmp_path / "carveout.prom"
    for arguments in ({"text": "x 1\n"}, {"state": "absent"}):
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "secret")
        answer = run(directory=str(tmp_path), **arguments)
        assert answer["changed"] is True and "password" not in json.dumps(answer)
        assert (tmp_path / "secret").read_text() == "the password\n"
        assert not path.is_symlink()


def test_what_somebody_put_where_the_file_is_staged_is_not_written_to(tmp_path: Path) -> None:
    """A hard link to another file of theirs: it would be ours to fill and theirs to keep."""
    (tmp_path / "other").write_text("theirs\n")
    name = _beside(str(tmp_path / "carveout.prom"), "new")
    os.link(tmp_path / "other", name)
    assert run(directory=str(tmp_path), text="x 1\n")["changed"] is True
    assert (tmp_path / "other").read_text() == "theirs\n"
    assert (tmp_path / "carveout.prom").read_text() == "x 1\n"
