# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main job on fleets of faked hosts: how many calls each host gets, whatever is or is not to be done on it.

What stands in for ssh counts: modules and raw commands alike, and what a connection would need beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.bench import faked

#: What a host gets that needs no change: one call that measures, one for raw texts.
SETTLED = 2
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    (host, *_) = faked.make_fleet(folder, 40)
    why = faked.can_enter(host)
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    (host / "calls").unlink()
    return folder


@pytest.fixture(autouse=True)
def uncounted(fleet: Path) -> Iterator[None]:
    yield
    for calls in fleet.glob("*/calls"):
        calls.unlink()


def play(
    fleet: Path, count: int, *options: str, status: int = 0, **variables: str
) -> tuple[str, dict[str, list[str]]]:
    """Runs the main job; its output, and the calls by host."""
    environment = {**os.environ, **faked.put_before_ssh(fleet, count)}
    for name, value in variables.items():
        options = (*options, "-e", f"{name}={value}")
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", fleet / "hosts.json", *options, "carveout.memory.site"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env=environment,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert "Traceback" not in said
    return said, {
        host: (fleet / host / "calls").read_text().splitlines()
        for host in sorted(path.name for path in fleet.glob("h0*"))[:count]
    }


@pytest.mark.parametrize("count", [20, 40])
def test_a_run_with_nothing_to_do(fleet: Path, count: int) -> None:
    said, calls = play(fleet, count)
    assert {host: len(made) for host, made in calls.items()} == dict.fromkeys(calls, SETTLED)
    assert said.count("changed=0 ") == count


def test_check_and_diff_mode_make_no_more(fleet: Path) -> None:
    said, calls = play(fleet, 2, "--check", "--diff")
    assert [len(made) for made in calls.values()] == [SETTLED, SETTLED]
    assert "+++" not in said and "tasks/carve.yml" not in said


def test_hosts_that_lack_something_are_looked_at_closely(fleet: Path) -> None:
    lacking = (
        "etc/systemd/system/carveout.target",
        "etc/default/grub.d/zz-carveout.cfg",
        "etc/carveout/committed",
    )
    kept = [(fleet / f"h{number:04}/root" / path) for number, path in enumerate(lacking)]
    texts = [path.read_text() for path in kept]
    for path in kept:
        path.unlink()
    trial = fleet / "h0003/root/etc/systemd/system/carveout-trial.service"
    trial.write_text("[Unit]\n")
    said, calls = play(fleet, 5, "--check")
    for path, text in zip(kept, texts, strict=True):
        path.write_text(text)
    trial.unlink()
    assert len(calls.pop("h0004")) == SETTLED
    assert all(len(made) > SETTLED for made in calls.values())
    assert [line.count("h000") for line in said.splitlines() if "tasks/carve.yml for" in line] == [4]
    # what each lacks is what would be changed
    recap = said.partition("PLAY RECAP")[2]
    assert [" changed=0 " in line for line in recap.splitlines()[1:6]] == [False, False, False, False, True]


def test_a_host_that_is_not_as_it_should_be_fails_the_verification(fleet: Path) -> None:
    iomem = fleet / "h0000/proc/iomem"
    text = iomem.read_text()
    iomem.write_text(text + "440000000-47fffffff : System RAM\n")
    said, calls = play(fleet, 2, status=2)
    iomem.write_text(text)
    assert len(calls["h0000"]) > SETTLED == len(calls["h0001"])
    assert "h0000 is not as its layout" in said
    assert "raw /proc/iomem has 'System RAM' at 0x440000000" in said


def test_a_report_and_artifacts_can_be_had_all_the_same(fleet: Path, tmp_path: Path) -> None:
    """The suite that writes the report asks twice more."""
    paths = {"carveout_artifacts": str(tmp_path / "kept"), "carveout_junit": str(tmp_path / "junit")}
    _, calls = play(fleet, 2, **paths)
    assert [len(made) for made in calls.values()] == [SETTLED + 2, SETTLED + 2]
    assert 'failures="0"' in (tmp_path / "junit/h0000.xml").read_text()
    verified = json.loads((tmp_path / "kept/h0001.verified.json").read_text())
    assert len(verified["expectations"]) > 10 and all(e["met"] for e in verified["expectations"])
    assert verified["id"] == json.loads((tmp_path / "kept/h0001.layout.json").read_text())["id"]


def test_metrics_are_left_where_something_was_to_be_done(fleet: Path) -> None:
    """And name what is committed now, not what was when the verification looked."""
    committed = [fleet / f"h{number:04}/root/etc/carveout/committed" for number in range(2)]
    wanted = committed[0].read_text()
    committed[0].unlink()
    said, calls = play(fleet, 2, carveout_metrics="/var/tmp")
    assert committed[0].read_text() == wanted
    assert len(calls["h0001"]) == SETTLED
    files = [fleet / f"h{number:04}/root/var/tmp/carveout.prom" for number in range(2)]
    assert [file.exists() for file in files] == [True, False], said
    text = files[0].read_text()
    assert f'carveout_committed_layout_info{{id="{wanted.strip()}"}} 1' in text
    assert "carveout_drift 0" in text
    files[0].unlink()


def test_a_kernel_that_the_layout_was_not_verified_with_is_verified_and_recorded(fleet: Path) -> None:
    verified = fleet / "h0000/root/etc/carveout/verified"
    text = verified.read_text()
    assert text.endswith(f" {faked.KERNEL}\n")
    verified.write_text(text.replace(faked.KERNEL, "6.1.0-old"))
    said, calls = play(fleet, 2)
    assert len(calls["h0000"]) > SETTLED == len(calls["h0001"])
    assert verified.read_text() == text
    assert [" changed=1 " in line for line in said.partition("PLAY RECAP")[2].splitlines()[1:3]] == [
        True,
        False,
    ]
    (fleet / "h0000/calls").unlink()
    _, calls = play(fleet, 1)
    assert len(calls["h0000"]) == SETTLED


def test_a_kernel_that_boots_next_is_warned_of_with_nothing_to_do(fleet: Path) -> None:
    menu = fleet / "h0000/root/boot/grub/grub.cfg"
    text = menu.read_text()
    assert 'set default="0"' in text
    menu.write_text(text.replace('set default="0"', 'set default="advanced-1>linux-6.1.0-old-advanced-1"'))
    said, calls = play(fleet, 2)
    menu.write_text(text)
    words = " ".join(said.split())
    assert len(calls["h0000"]) == len(calls["h0001"]) == SETTLED
    assert words.count("the kernel 6.1.0-old boots next") == 1
    assert f"was verified with {faked.KERNEL}. It is predicted to do the same" in words
    assert said.count("changed=0 ") == 2
