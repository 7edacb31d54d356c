# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going back to a stored layout or to none, by what the module and the console share, on trees of files."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.bench import faked
from ansible_collections.carveout.memory.plugins.module_utils import _console
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN
from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.augeas_binding import open_augeas
from ansible_collections.carveout.memory.plugins.module_utils._host_files import (
    COMMAND,
    COMMITTED,
    PREVIOUS,
    UNIT_DIRECTORY,
    VERIFIED,
    known_files,
    layout_path,
    program_path,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._records import verified_release
from ansible_collections.carveout.memory.plugins.module_utils._rollback import (
    Rollback,
    pinned_kernel,
    plan_rollback,
    roll_back,
)
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed

A = dict(faked.PLAN)
B: dict[str, Any] = {
    "version": 1,
    "kernel": {"memory": "50%"},
    "pools": {"guests": {"mechanism": "reserved", "nodes": {"0": "4GiB", "1": "rest"}}},
}


class Host:
    """A tree with A and then B carved, committed and booted. ``bare``: the files of the time before."""

    def __init__(self, tree: Path) -> None:
        self._on(tree)
        faked.write_machine(tree, (16, 16))
        self.bare = self.files()
        self.first = faked.carve(tree, A)
        self.of_first = self.files()
        self.second = faked.carve(tree, B)

    def _on(self, tree: Path) -> None:
        self.tree = tree
        self.augeas = open_augeas()
        self.system = faked.Tree(tree)

    def copy(self, tree: Path) -> Host:
        """The same on a tree of its own."""
        shutil.copytree(self.tree, tree, symlinks=True)
        other = copy.copy(self)
        other._on(tree)
        return other

    def files(self) -> dict[str, str]:
        """Path and content of everything but /proc, which a boot makes anew."""
        return {
            str(path.relative_to(self.tree)): str(path.readlink()) if path.is_symlink() else path.read_text("latin-1")
            for path in self.tree.rglob("*")
            if (path.is_symlink() or path.is_file()) and "proc" not in path.relative_to(self.tree).parts[:1]
            and "node" not in path.parts
        }  # fmt: skip

    def plan(self, to: str, commit: bool = True, **more: Any) -> Rollback:
        return plan_rollback(self.system, self.augeas, to, commit=commit, **more)

    def back(self, to: str, commit: bool = True) -> Rollback:
        planned = self.plan(to, commit)
        roll_back(self.system, self.augeas, planned, _no_pause, commit=commit)
        return planned

    def boot(self, layout: Layout | None) -> None:
        """What a boot makes of the entry: its command line, and a map as the layout predicts it."""
        line = read_loader(self.system, self.augeas).command_line
        assert ("carveout.layout=" in line) == (layout is not None)
        (self.tree / "proc/cmdline").write_text(line + "\n")
        shutil.rmtree(self.tree / "run", ignore_errors=True)
        if layout is not None:
            faked.write_booted(self.tree, layout)

    def text(self, path: str) -> str | None:
        return self.system.read(path)


def _no_pause(seconds: float) -> None:
    raise AssertionError("nothing to wait for")


@pytest.fixture(scope="module")
def carved(tmp_path_factory: pytest.TempPathFactory) -> Host:
    if open_augeas() is None:
        pytest.skip("augeas is not installed")
    return Host(tmp_path_factory.mktemp("carved"))


@pytest.fixture
def host(carved: Host, tmp_path: Path) -> Host:
    return carved.copy(tmp_path / "host")


@pytest.fixture(scope="module", params=["previous", "none"])
def whole(
    request: pytest.FixtureRequest, carved: Host, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, str]]:
    """A target, and the files where nothing stops the way there."""
    host = carved.copy(tmp_path_factory.mktemp("whole") / "host")
    host.back(request.param)
    return str(request.param), host.files()


def test_the_layout_before_is_remembered_and_gone_back_to_with_one_boot(host: Host) -> None:
    assert host.text(PREVIOUS) == host.first.id + "\n" and host.text(COMMITTED) == host.second.id + "\n"
    assert host.text(VERIFIED) == f"{host.second.id} {faked.KERNEL}\n"
    done = host.back("previous")
    assert done.reboot_required and f"write {DROP_IN}" in done.actions
    host.boot(host.first)
    assert host.text(COMMITTED) == host.first.id + "\n"
    # nobody verified it in this boot yet, and there is nothing before it to go back to
    assert verified_release(host.system, host.first.id) == ""
    after = host.files()
    left = {layout_path(host.second.id).lstrip("/")}
    assert {path for path in after if after[path] != host.of_first.get(path)} == left
    assert host.of_first.keys() - after.keys() == {VERIFIED.lstrip("/")}
    # by mistake once more
    with pytest.raises(NotPossible, match=f"known from before {host.first.id}; on the host are: "):
        host.plan("previous")
    assert host.back(host.first.id).actions == ()


def test_to_none_every_file_is_as_it_was(host: Host) -> None:
    done = host.back("none")
    assert done.reboot_required and done.layout is None
    assert host.files() == host.bare and not (host.tree / "etc/carveout").exists()
    host.boot(None)
    again = host.plan("none")
    assert (again.actions, again.reboot_required) == ((), False)


def test_what_is_committed_is_had_again_where_something_else_was_written(host: Host) -> None:
    # a run that was stopped before it committed
    host.back(host.first.id, commit=False)
    assert host.text(COMMITTED) == host.second.id + "\n"
    stopped = host.plan("committed")
    assert not stopped.reboot_required and f"write {DROP_IN}" in stopped.actions
    host.boot(host.first)
    assert host.back("committed").reboot_required
    host.boot(host.second)
    assert host.plan("committed").actions == ()
    assert host.text(PREVIOUS) == host.first.id + "\n"


def test_a_trial_is_ended_by_going_back_to_what_is_committed(host: Host) -> None:
    before = host.files()
    host.system.write(f"{UNIT_DIRECTORY}/carveout-trial.service", "[Unit]\n")
    line = (host.tree / "proc/cmdline").read_text()
    trial = line.replace(
        " ".join(host.second.kernel_arguments), f"{' '.join(host.first.kernel_arguments)} carveout.trial"
    )
    assert trial != line
    (host.tree / "proc/cmdline").write_text(trial)
    done = host.back("committed")
    assert done.actions == (f"remove {UNIT_DIRECTORY}/carveout-trial.service",) and done.reboot_required
    assert ["systemctl", "disable", "--now", "carveout-trial.service"] in host.system.ran
    assert host.files() == before


def test_what_was_committed_forwards_is_what_is_gone_back_to(host: Host) -> None:
    host.boot(host.second)
    host.back(host.first.id)
    host.boot(host.first)
    assert faked.carve(host.tree, B) == host.second
    assert host.text(PREVIOUS) == host.first.id + "\n"


def test_nothing_is_changed_by_a_look(host: Host) -> None:
    before = host.files()
    for to in ("none", "committed", "previous"):
        planned = host.plan(to)
        assert bool(planned.actions) == bool(planned.diff) == (to != "committed")
    assert host.files() == before


@pytest.mark.parametrize("point", range(16))
def test_stopped_anywhere_the_next_call_takes_it_up(
    host: Host, whole: tuple[str, dict[str, str]], point: int
) -> None:
    to, files = whole
    stopping = Stopping(host.tree, point)
    planned = host.plan(to)
    try:
        roll_back(stopping, host.augeas, planned, _no_pause, commit=True)
    except Stopped:
        # between the two there is always an entry that boots one of the layouts whole, or none
        words = read_loader(host.system, None).boot_arguments or ()
        ids = [word for word in words if word.startswith("carveout.layout=")]
        known = {layout.kernel_arguments for layout in (host.first, host.second)}
        assert not ids or tuple(words[words.index(ids[0]) :]) in known
        host.back(to)
    assert host.files() == files


class Stopped(Exception):
    """The end of a process."""


class Stopping(faked.Tree):
    """A tree whose program ends before one of its writes."""

    def __init__(self, root: Path, point: int) -> None:
        super().__init__(root)
        self.left = point

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self._count()
        super().write(path, text, mode)

    def remove(self, path: str) -> bool:
        self._count()
        return super().remove(path)

    def write_boot(self, path: str, text: str, mode: int = 0o644) -> None:
        self._count()
        super().write_boot(path, text, mode)

    def remove_boot(self, path: str) -> bool:
        self._count()
        return super().remove_boot(path)

    def run(self, argv: Sequence[str]) -> Completed:
        if argv[0].endswith("grub-mkconfig"):
            self._count()
        return super().run(argv)


def test_what_cannot_be_gone_back_to_is_refused_with_what_can(host: Host) -> None:
    with pytest.raises(NotPossible, match=f"0123456789abcdef is not on this host; .*{host.first.id}"):
        host.plan("0123456789abcdef")
    with pytest.raises(InvalidInput, match=r"'\.\./\.\./etc' is nothing to go back to"):
        host.plan("../../etc")
    host.system.remove(COMMITTED)
    with pytest.raises(NotPossible, match="no layout is committed; on the host are: "):
        host.plan("committed")


def test_a_layout_whose_memory_is_not_there_any_more_is_refused(host: Host) -> None:
    before = host.files()
    last = host.tree / "sys/firmware/memmap/4/end"
    last.write_text(f"{(33 << 30) - 1:#x}\n")
    host.plan("previous")
    last.write_text(f"{(25 << 30) - 1:#x}\n")
    with pytest.raises(
        NotPossible, match=r"pools.guests.nodes.1: .* is not RAM of node 1 any more: .* is nothing"
    ):
        host.plan("previous")
    host.plan("none")
    last.write_text(f"{(33 << 30) - 1:#x}\n")
    assert host.files() == before


def test_without_augeas_only_what_needs_no_writing_can_be_had(host: Host) -> None:
    host.augeas = None
    with pytest.raises(
        NotPossible, match="takes the package python3-augeas, and it is missing; going back to none"
    ):
        host.plan("previous")
    assert host.plan("committed").actions == ()
    host.back("none")
    assert host.files() == host.bare


def test_a_program_of_another_version_is_not_taken_for_this_one(host: Host) -> None:
    host.system.remove(program_path())
    with pytest.raises(NotPossible, match="run the main job"):
        host.plan("previous")
    # check mode comes before the task that installs it
    assert host.plan("previous", commit=False, foresee=True).actions
    host.back("none")
    assert host.files() == host.bare


def test_a_command_of_others_stays(host: Host) -> None:
    path = host.tree / COMMAND.lstrip("/")
    path.write_text("#!/bin/sh\nexec something else\n")
    with pytest.raises(NotPossible, match="/usr/sbin/carveout is there already and not Carveout's"):
        host.plan("previous")
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(NotPossible, match="/usr/sbin/carveout is there already"):
        host.plan("previous")
    assert COMMAND not in known_files(host.system)
    host.back("none")
    assert path.is_symlink()


def test_the_layout_before_is_kept_however_old_it_is(host: Host) -> None:
    for number in range(6):
        plan = {**B, "kernel": {"memory": f"{40 + number}%"}}
        layout = faked.make_layout_for(host.tree, plan)
        host.system.write(layout_path(layout.id), json.dumps(layout.to_json()))
    faked.carve(host.tree, B)
    stored = [path for path in known_files(host.system) if path.endswith(".json")]
    assert layout_path(host.first.id) in stored and len(stored) == 4


def test_where_no_systemd_runs_none_is_asked(host: Host) -> None:
    """A shell that the kernel started instead of systemd: systemctl can enable and disable, and no more."""

    class Bare(faked.Tree):
        def run(self, argv: Sequence[str]) -> Completed:
            if argv[0] == "systemctl" and argv[1] not in ("enable", "disable"):
                return Completed(1, "", "System has not been booted with systemd as init system (PID 1).")
            return super().run(argv)

    host.system = Bare(host.tree)
    host.back("previous")
    host.boot(host.first)
    host.back("none")
    assert host.files() == host.bare
    # where one runs, what it says counts
    host.system = faked.Tree(host.tree)
    faked.carve(host.tree, A)
    host.system = Bare(host.tree)
    (host.tree / "run/systemd/system").mkdir(parents=True)
    with pytest.raises(CarveoutError, match="not been booted with systemd"):
        host.back("none")


def test_a_disk_that_is_read_only_is_told_before_anything_is_tried(host: Host) -> None:
    mounts = host.tree / "proc/self/mounts"
    mounts.parent.mkdir()
    before = host.files()
    lines = ["/dev/vda1 / ext4 rw,relatime 0 0", "/dev/vda2 /boot ext4 rw 0 0"]
    for line, place in ((lines[0], "/"), (lines[1], "/boot")):
        mounts.write_text("\n".join(lines).replace(line, line.replace(" rw", " ro")) + "\n")
        with pytest.raises(
            NotPossible, match=f"{place} is mounted read-only; 'mount -o remount,rw {place}' first"
        ):
            _console.rollback(host.system, host.augeas, "none", dry_run=False, reboot=False)
    assert _console.rollback(host.system, host.augeas, "none", dry_run=True, reboot=False) == 0
    assert host.files() == before
    # a disk that was remounted shows its last state
    mounts.write_text("rootfs / rootfs ro 0 0\n" + "\n".join(lines) + "\n")
    assert _console.rollback(host.system, host.augeas, "none", dry_run=False, reboot=False) == 0
    assert host.files() == host.bare


def test_the_console_says_what_it_does(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    def say(to: str, **more: Any) -> str:
        options = {"dry_run": False, "reboot": False, **more}
        assert _console.rollback(host.system, host.augeas, to, **options) == 0
        return capsys.readouterr().out

    before = host.files()
    said = say("previous", dry_run=True)
    assert f"carveout: would write {DROP_IN}\n" in said and "nothing was changed" in said
    assert host.files() == before
    assert f"the next boot is for the layout {host.first.id}: reboot to have that memory layout" in say(
        "previous"
    )
    host.boot(host.first)
    assert f"the host is as its layout {host.first.id} says; no reboot is needed" in say("committed")
    host.system.ran.clear()
    assert "the next boot is for no layout; rebooting" in say("none", reboot=True)
    assert host.system.ran[-1] == ["reboot", "-f"]


def test_the_status_tells_what_is_what(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    def told() -> dict[str, Any]:
        _console.status(host.system, host.augeas, as_json=True)
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict)
        return found

    assert told() == {
        "running": host.second.id, "next_boot": host.second.id, "committed": host.second.id,
        "verified": faked.KERNEL, "previous": host.first.id, "stored": sorted([host.first.id, host.second.id]),
        "trial": "", "kernel": faked.KERNEL, "pending": [],
    }  # fmt: skip
    host.back("previous")
    found = told()
    assert (found["running"], found["next_boot"]) == (host.second.id, host.first.id)
    assert found["pending"] == ["reboot", f"verify it with {faked.KERNEL} (the main job does)"]
    host.system.write(f"{UNIT_DIRECTORY}/carveout-trial.service", "[Unit]\n")
    assert told()["trial"] == "the next boot, or what is left of one"
    assert _console.status(host.system, host.augeas, as_json=False) == 5
    said = capsys.readouterr().out
    assert (
        f"runs          {host.second.id}\n" in said
        and "on trial      the next boot" in said
        and "to be done    reboot\n" in said
    )


def test_the_kernel_that_a_plan_names_boots_by_default_again(host: Host) -> None:
    assert pinned_kernel(host.first) == ""
    named = Layout.from_json(host.first.to_json())
    plan = {"pools": {"f": {"mechanism": "dmemfs", "kernel": {"release": "5.4.119-1"}}}}
    object.__setattr__(named, "plan", plan)
    assert pinned_kernel(named) == "5.4.119-1"
