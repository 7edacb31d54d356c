# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rollback's playbook on faked hosts, as far as it goes without a reboot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.bench import faked

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    (host, *_) = faked.make_fleet(folder, 2)
    why = faked.can_enter(host)
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    for name in ("shutdown", "reboot"):
        # the programs of a faked host are this machine's: none of them may reboot it
        for place in folder.glob("h*/usr/sbin"):
            (place / name).write_text("#!/bin/sh\nexit 1\n")
            (place / name).chmod(0o755)
    return folder


def files(fleet: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for part in ("root/etc", "root/boot", "usr")
        for path in sorted((fleet / "h0000" / part).rglob("*"))
        if path.is_file()
    }


def play(fleet: Path, *options: str, status: int = 0) -> str:
    """What the playbook says of one host."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), "-i", fleet / "hosts.json", "--limit", "h0000",
            *options, "carveout.memory.rollback",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, **faked.put_before_ssh(fleet, 2)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert "Traceback" not in said
    return said


def test_check_mode_shows_what_would_go_and_touches_nothing(fleet: Path) -> None:
    before = files(fleet)
    said = play(fleet, "--check", "--diff")
    for path in ("/etc/carveout/committed", "/usr/sbin/carveout"):
        assert f"--- before: {path}\n+++ after: {path}\n" in said
    assert "-carveout.layout=" in said
    assert files(fleet) == before


def test_what_is_committed_and_runs_is_verified_and_nothing_changes(fleet: Path) -> None:
    before = files(fleet)
    said = play(fleet, "-e", "carveout_rollback_to=committed")
    assert "changed=0 " in said
    assert files(fleet) == before


def test_a_target_that_is_not_there_is_refused(fleet: Path) -> None:
    before = files(fleet)
    said = play(fleet, "-e", "carveout_rollback_to=previous", status=2)
    assert "no layout is known from before" in said and "on the host are: " in said
    said = play(fleet, "-e", "carveout_rollback_to=../../etc", status=2)
    assert "is nothing to go back to" in said
    assert files(fleet) == before


def test_a_kernel_that_is_new_to_the_layout_is_recorded(fleet: Path) -> None:
    verified = fleet / "h0000/root/etc/carveout/verified"
    text = verified.read_text()
    verified.write_text(text.replace(faked.KERNEL, "6.1.0-other"))
    said = play(fleet, "-e", "carveout_rollback_to=committed")
    assert "changed=1 " in said and verified.read_text() == text
