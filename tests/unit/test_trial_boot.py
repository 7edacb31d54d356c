# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules around a trial boot as Ansible runs them, on a host that is a tree of files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import next_entry
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_grub import ENTRIES
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_switch import (
    HEADER,
    UNIT,
    unit_text,
)
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.modules import kernel_cmdline, trial_boot

OURS = ["carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff"]
DATA = Path(__file__).parent / "test_boot_data"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host below a directory: Debian's menu, and grub-mkconfig as a script that writes another."""

    class Host(RealSystem):
        def __init__(self) -> None:
            super().__init__(str(tmp_path))

        def run(self, argv: list[str]) -> Completed:  # type: ignore[override]
            if argv[0].endswith("grub-mkconfig"):
                return super().run(["sh", f"{tmp_path}{argv[0]}", str(tmp_path), *argv[1:]])
            return Completed(0, "ext2\n" if "--target=fs" in argv else "", "")

    files = {
        "etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
        "usr/sbin/grub-mkconfig": (DATA / "grub-mkconfig").read_text(),
        "boot/grub/grub.cfg": (DATA / "debian13.cfg").read_text(),
        "boot/grub/grubenv": "# GRUB Environment Block\n".ljust(1024, "#"),
        "proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-6.12.1-test root=UUID=1 ro quiet\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "etc/default/grub.d").mkdir()
    for module in (trial_boot, kernel_cmdline):
        monkeypatch.setattr(module, "RealSystem", Host)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(module: Any = trial_boot, **arguments: object) -> dict[str, Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        result.pop("invocation", None)
        return result

    return run


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_trial_begins_once_and_ends_once(root: Path, run: Run) -> None:
    before = files(root)
    predicted = run(arguments=OURS, _ansible_check_mode=True)
    assert files(root) == before
    assert run(arguments=OURS) == predicted
    assert predicted["changed"] is True
    assert predicted["actions"] == [f"write {path}" for path in (UNIT, ENTRIES, "/boot/grub/grubenv")]
    assert predicted["boot_arguments"][-3:] == ["carveout.trial", "panic=30", "systemd.crash_reboot"]
    assert " ".join(OURS) in " ".join(predicted["boot_arguments"])
    assert run(arguments=OURS)["changed"] is False

    (root / "proc/cmdline").write_text("BOOT_IMAGE=/boot/vmlinuz ro carveout.trial panic=30\n")
    assert run(state="absent", _ansible_check_mode=True)["log"] == ""
    (root / "proc/cmdline").write_text("BOOT_IMAGE=/boot/vmlinuz ro\n")
    ended = run(state="absent")
    assert ended["changed"] is True and "was not kept" in ended["log"]
    assert ended["actions"] == ["write /boot/grub/grubenv", f"remove {ENTRIES}", f"remove {UNIT}"]
    (root / "proc/cmdline").write_bytes(before[root / "proc/cmdline"])
    assert files(root) == before
    assert run(state="absent") == {"changed": False, "actions": [], "log": "", "diff": []}


def test_the_options_reach_the_entry_and_the_unit(root: Path, run: Run) -> None:
    done = run(arguments=OURS, extra=["panic=5", "x y"], seconds=60)
    assert [problem["code"] for problem in done["problems"]] == ["argument-invalid"]
    done = run(arguments=OURS, extra=["panic=5", "init=/x"], seconds=60)
    assert done["boot_arguments"][-3:] == ["carveout.trial", "panic=5", "init=/x"]
    assert "RuntimeMaxSec=60\n" in (root / UNIT.lstrip("/")).read_text()
    refused = run(arguments=OURS, kernel="5.4")
    assert [problem["path"] for problem in refused["problems"]] == ["boot.kernel"]


def test_what_becomes_permanent_ends_the_trial(root: Path, run: Run) -> None:
    try:
        from augeas import Augeas
    except (ImportError, OSError) as error:
        pytest.skip(f"augeas is not installed: {error}")
    assert Augeas
    # a generated menu that can boot an entry once, and reads the host's own
    script = (DATA / "grub-mkconfig").read_text().replace("; then set", "; then\n save_env next_entry\n set")
    script += 'echo "source /boot/grub/custom.cfg" >> "$1${3:-/boot/grub/grub.cfg}"\n'
    (root / "usr/sbin/grub-mkconfig").write_text(script)
    subprocess.run(["sh", str(root / "usr/sbin/grub-mkconfig"), str(root)], check=True)
    before = files(root)
    run(arguments=OURS)
    entry = next_entry(
        (root / "boot/grub/grub.cfg").read_text(), lambda path: (root / path.lstrip("/")).read_text()
    )
    (root / "proc/cmdline").write_text(entry.command_line + "\n")
    predicted = run(kernel_cmdline, arguments=OURS, _ansible_check_mode=True)
    done = run(kernel_cmdline, arguments=OURS)
    assert predicted["actions"] == done["actions"]
    assert done["actions"][3:] == ["write /boot/grub/grubenv", f"remove {ENTRIES}", f"remove {UNIT}"]
    assert done["reboot_required"] is False
    assert done["boot_arguments"] == ["root=UUID=1", "ro", "quiet", *OURS]
    assert run(kernel_cmdline, arguments=OURS)["changed"] is False
    run(arguments=OURS)
    assert run(kernel_cmdline, state="absent")["actions"][-1] == f"remove {UNIT}"
    (root / "proc/cmdline").write_bytes(before[root / "proc/cmdline"])
    assert files(root) == before


@pytest.mark.usefixtures("root")
def test_without_root_or_arguments_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run()["msg"] == "state is present but all of the following are missing: arguments"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "become: true" in run(arguments=OURS)["msg"]


def test_systemd_takes_the_unit_as_it_is_meant(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "carveout-trial.service"
    path.write_text(unit_text(HEADER, 900))
    done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


OPTIONS = ("arguments", "extra", "seconds", "kernel", "measured", "state")


def test_documentation_and_specification_agree() -> None:
    documentation = yaml.safe_load(trial_boot.DOCUMENTATION)
    assert set(documentation["options"]) == {*OPTIONS}
    for task in yaml.safe_load(trial_boot.EXAMPLES):
        assert "carveout.memory.trial_boot" in task


def test_of_two_runs_that_measured_the_same_host_only_one_begins_a_trial(root: Path, run: Run) -> None:
    first = run(arguments=OURS, measured="")
    assert first["changed"]
    before = files(root)
    other = ["carveout.layout=fedcba9876543210", *OURS[1:]]
    for check in (True, False):
        refused = run(arguments=other, measured="", _ansible_check_mode=check)
        assert "another run has prepared a trial boot" in refused["msg"]
        assert files(root) == before
    # what a run left that was killed is there when the next one measures
    left = str((root / UNIT.lstrip("/")).stat().st_mtime_ns)
    assert run(arguments=other, measured=left)["changed"]


def test_of_two_runs_that_measured_the_same_host_only_one_changes_the_arguments(root: Path, run: Run) -> None:
    before = files(root)
    refused = run(
        kernel_cmdline, arguments=OURS, measured=["carveout.layout=fedcba9876543210", "memmap=1G%5G-1+2"]
    )
    assert "another run has changed this host's arguments" in refused["msg"]
    assert files(root) == before
    assert run(kernel_cmdline, arguments=OURS, measured=[], _ansible_check_mode=True)["changed"]
