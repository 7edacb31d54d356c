# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Carveout keeps on a host: planned, written and removed in a tree of files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import (
    KEPT_LAYOUTS,
    Plan,
    apply_absent,
    apply_present,
    plan_absent,
    plan_present,
    up_to_date,
)
from ansible_collections.carveout.memory.plugins.module_utils._host_files import (
    COMMAND,
    COMMITTED,
    ENABLED,
    PREVIOUS,
    expected_files,
    known_files,
    layout_path,
    program_path,
    unit_texts,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout, Memory
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION
from ansible_collections.carveout.memory.plugins.plugin_utils.zipapp_build import build_zipapp, host_zipapp

LAYOUT = Layout(
    plan={"version": 1}, kernel="6.12", arguments=("a=1",), reservations=(), devices=(), predicted_map=(),
    memory=Memory(), memory_nodes={},
)  # fmt: skip
#: Bytes that are neither UTF-8 nor free of carriage returns, as a zip archive has them.
PROGRAM = b"#!/usr/bin/python3\nPK\x03\x04\xff\xfe\r\n\r\x00end"
DIGEST = hashlib.sha256(PROGRAM).hexdigest()


class Tree(RealSystem):
    """A tree of files, with the one thing that systemctl does to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.commands: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.commands.append(list(argv))
        enabled = self.root / ENABLED.lstrip("/")
        if argv[:2] == ["systemctl", "enable"]:
            enabled.parent.mkdir(parents=True, exist_ok=True)
            enabled.symlink_to("/etc/systemd/system/carveout.target")
        elif argv[:2] == ["systemctl", "disable"]:
            enabled.unlink()
        elif argv[0] == "rmdir":
            subprocess.run(["rmdir", argv[1], str(self.root / argv[2].lstrip("/"))], check=True)
        return Completed(0, "", "")


def program() -> str:
    return PROGRAM.decode("utf-8", "surrogateescape")


def install(
    tree: Tree, layout: Layout | None = LAYOUT, committed: str | None = None, booted: str | None = None
) -> Plan:
    plan = plan_present(tree, DIGEST, program, layout, committed, booted)
    apply_present(tree, plan)
    return plan


def test_everything_is_installed_once_and_byte_for_byte(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    plan = install(tree, committed=LAYOUT.id)
    assert plan.changed and plan.enable
    assert (tmp_path / program_path().lstrip("/")).read_bytes() == PROGRAM
    assert os.access(tmp_path / program_path().lstrip("/"), os.X_OK)
    assert (tmp_path / COMMITTED.lstrip("/")).read_text() == LAYOUT.id + "\n"
    stored = (tmp_path / layout_path(LAYOUT.id).lstrip("/")).read_text()
    assert Layout.from_json(json.loads(stored)) == LAYOUT
    assert tree.commands == [["systemctl", "daemon-reload"], ["systemctl", "enable", "carveout.target"]]

    assert known_files(tree) == expected_files(DIGEST, LAYOUT, LAYOUT.id)
    assert not install(tree, committed=LAYOUT.id).changed
    assert len(tree.commands) == 2
    assert up_to_date(known_files(tree), DIGEST, LAYOUT, LAYOUT.id)


@pytest.mark.parametrize("path", sorted(expected_files(DIGEST, LAYOUT, LAYOUT.id)))
def test_each_file_that_is_missing_or_other_is_noticed_and_mended(tmp_path: Path, path: str) -> None:
    tree = Tree(tmp_path)
    install(tree, committed=LAYOUT.id)
    file = tmp_path / path.lstrip("/")
    file.unlink()
    assert not up_to_date(known_files(tree), DIGEST, LAYOUT, LAYOUT.id)
    install(tree, committed=LAYOUT.id)
    # a command that does not begin as ours is another's
    if path not in (ENABLED, COMMAND):
        file.write_text("other")
        assert not up_to_date(known_files(tree), DIGEST, LAYOUT, LAYOUT.id)
        (change,) = install(tree, committed=LAYOUT.id).changes
        assert (change.path, change.before) == (path, "other")
    assert up_to_date(known_files(tree), DIGEST, LAYOUT, LAYOUT.id)


def test_old_layouts_are_kept_but_not_all(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    layouts = [replace(LAYOUT, kernel=f"6.{number}") for number in range(8)]
    for age, layout in enumerate(layouts):
        install(tree, layout, booted=layouts[0].id, committed=layouts[1].id if age == 1 else None)
        os.utime(tmp_path / layout_path(layout.id).lstrip("/"), ns=(age, age))
    kept = {Path(path).stem for path in known_files(tree) if path.endswith(".json")}
    expected = {layout.id for layout in (layouts[0], layouts[1], layouts[7], *layouts[7 - KEPT_LAYOUTS : 7])}
    assert kept == expected
    # the booted, the committed and two more: only the host can tell whether that is too many
    assert not up_to_date(known_files(tree), DIGEST, layouts[7], None)
    assert not install(tree, layouts[7], booted=layouts[0].id).changed


def test_the_layout_before_the_committed_one_is_kept_and_asks_for_no_more_calls(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    layouts = [replace(LAYOUT, kernel=f"6.{number}") for number in range(6)]
    for age, layout in enumerate(layouts):
        committed = layout.id if age in (0, 5) else None
        plan = plan_present(
            tree, DIGEST, program, layout, committed, layouts[5].id if age == 5 else None, verified="6.12"
        )
        apply_present(tree, plan)
        os.utime(tmp_path / layout_path(layout.id).lstrip("/"), ns=(age, age))
    assert tree.read(PREVIOUS) == layouts[0].id + "\n"
    kept = {Path(path).stem for path in known_files(tree) if path.endswith(".json")}
    assert kept == {layouts[number].id for number in (0, 3, 4, 5)}
    for release, idle in (("6.12", True), ("6.13", False), (None, True)):
        found = up_to_date(known_files(tree), DIGEST, layouts[5], layouts[5].id, None, release)
        assert found == idle


def test_programs_of_other_versions_go(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    install(tree)
    old = tmp_path / "usr/lib/carveout/carveout-0.0.9.pyz"
    old.write_bytes(b"old")
    assert not up_to_date(known_files(tree), DIGEST, LAYOUT, None)
    assert [change.path for change in install(tree).changes] == ["/usr/lib/carveout/carveout-0.0.9.pyz"]
    assert not old.exists()


def test_only_a_stored_layout_can_be_committed(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    with pytest.raises(NotPossible, match="0123456789abcdef cannot be committed"):
        install(tree, committed="0123456789abcdef")
    assert list(tmp_path.iterdir()) == []
    install(tree)
    assert install(tree, layout=None, committed=LAYOUT.id).changed
    # what is committed already stays so, whatever became of its file
    (tmp_path / layout_path(LAYOUT.id).lstrip("/")).unlink()
    assert not install(tree, layout=None, committed=LAYOUT.id).changed


def test_absent_leaves_no_trace_but_what_others_put_there(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    install(tree, committed=LAYOUT.id)
    apply_absent(tree, plan_absent(tree))
    left = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert left == [] and known_files(tree) == {}
    assert not (tmp_path / "etc/carveout").exists() and not (tmp_path / "usr/lib/carveout").exists()
    assert not plan_absent(tree).changed
    install(tree)
    (tmp_path / "etc/carveout/notes").write_text("mine")
    apply_absent(tree, plan_absent(tree))
    assert (tmp_path / "etc/carveout/notes").read_text() == "mine"


def test_the_units_are_valid(tmp_path: Path) -> None:
    analyze = Path("/usr/bin/systemd-analyze")
    if not analyze.exists():
        pytest.skip("no systemd-analyze here")
    for path, text in unit_texts().items():
        (tmp_path / Path(path).name).write_text(text.replace(program_path(), str(analyze)))
    done = subprocess.run(
        [str(analyze), "verify", str(tmp_path / "carveout.target")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "carveout" not in done.stderr, done.stderr


def test_the_program_runs_where_there_is_nothing_but_python(checkout: Path, tmp_path: Path) -> None:
    program_file = build_zipapp(checkout / "plugins/module_utils", tmp_path / "carveout.pyz", VERSION)
    expected = {"--version": f"carveout {VERSION}", "state": '"regions"', "restore": "no layout"}
    for argument, words in expected.items():
        argv = [sys.executable, "-I", str(program_file), argument]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and words in done.stdout, done.stderr


def play(checkout: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run the module by Ansible on a host that nobody can reach."""
    unreachable = ["-e", "ansible_host=127.0.0.1", "-e", "ansible_port=1", "-e", "ansible_connection=ssh"]
    environment = dict(
        os.environ, ANSIBLE_CONFIG=str(checkout / "ansible.cfg"), ANSIBLE_LOAD_CALLBACK_PLUGINS="1",
        ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal", LC_ALL="C.UTF-8",
    )  # fmt: skip
    argv = [str(Path(sys.executable).with_name("ansible")), "all", "-i", "nowhere,", *unreachable]
    argv += ["-m", "carveout.memory.host_files", "-a", json.dumps(arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, cwd=checkout)
    assert " => {" in done.stdout, done.stdout + done.stderr
    answer = json.JSONDecoder().raw_decode(done.stdout.partition(" => ")[2])[0]
    assert isinstance(answer, dict)
    return answer


def test_a_host_that_has_everything_is_not_asked(checkout: Path, tmp_path: Path) -> None:
    content = host_zipapp(checkout, VERSION, tmp_path).read_bytes()
    installed = expected_files(hashlib.sha256(content).hexdigest(), LAYOUT, LAYOUT.id)
    task = {"layout": LAYOUT.to_json(), "committed": LAYOUT.id, "installed": installed}
    answer = play(checkout, task)
    assert (answer["changed"], answer["asked"], answer["actions"]) == (False, False, [])
    # the same host short of one file has to be asked, and cannot be
    del installed[COMMITTED]
    assert play(checkout, task)["unreachable"] is True
    assert play(checkout, {"state": "absent", "installed": {}})["asked"] is False


def test_an_edited_layout_is_refused_on_the_controller(checkout: Path) -> None:
    edited = dict(LAYOUT.to_json(), kernel="5.4")
    answer = play(checkout, {"layout": edited})
    assert answer["problems"][0]["code"] == "layout-changed" and "it was edited" in answer["msg"]
