# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that are rebooted by somebody else, that come back late, with another ssh key, or not at all, as the role
``boot`` tells it: on faked hosts, through what stands in for ssh."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.bench import faked

#: What OpenSSH says, to standard error and with status 255.
OTHER_KEY = """\
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
Host key for 192.0.2.1 has changed and you have requested strict checking.
Host key verification failed."""
GONE = "ssh: connect to host 192.0.2.1 port 22: No route to host"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    (host, *_) = faked.make_fleet(folder, 3)
    why = faked.can_enter(host)
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    return folder


def play(
    fleet: Path, tasks_from: str, by_host: dict[str, dict[str, Any]], **variables: Any
) -> dict[str, str]:
    """What the tasks of the role say on each host; empty where they pass."""
    environment = {**os.environ, **faked.put_before_ssh(fleet, 3), "ANSIBLE_SSH_RETRIES": "0"}
    inventory = json.loads((fleet / "hosts.json").read_text())
    for host, own in by_host.items():
        inventory["all"]["hosts"][host] = own
    (fleet / "hosts.json").write_text(json.dumps(inventory))
    role = {"ansible.builtin.import_role": {"name": "carveout.memory.boot", "tasks_from": tasks_from}}
    book = [{"hosts": "all", "gather_facts": False, "tasks": [{**role, "vars": variables}]}]
    (fleet / "play.yml").write_text(json.dumps(book))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", fleet / "hosts.json", fleet / "play.yml"],
        cwd=fleet, capture_output=True, text=True, check=False, timeout=300, env=environment,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    failed = dict(re.findall(r"^fatal: \[(\w+)\]: FAILED! => (.*)$", said, re.MULTILINE))
    assert "PLAY RECAP" in said, said
    return {host: failed.get(host, "") for host in by_host}


def boot_id(fleet: Path, host: str) -> str:
    return (fleet / host / "proc/random/boot_id").read_text().strip()


def test_a_boot_that_somebody_else_made_is_noticed_by_its_id(fleet: Path) -> None:
    said = play(
        fleet,
        "same_boot",
        {
            "h0000": {"boot_expected": boot_id(fleet, "h0000")},
            "h0001": {"boot_expected": "12345678-0000-4000-8000-000000000000"},
        },
    )
    assert said["h0000"] == ""
    assert "Somebody else rebooted the host since this run looked at it" in said["h0001"]
    assert boot_id(fleet, "h0001") in said["h0001"]


def test_nothing_is_committed_on_another_boot_than_the_verified(fleet: Path) -> None:
    layout, snapshot = {"id": "0" * 16, "kernel_arguments": []}, {"committed": None, "state": {}}
    (said,) = play(
        fleet, "commit", {"h0000": {"boot_verified": "12345678-0000-4000-8000-000000000000"}},
        boot_layout=layout, boot_snapshot=snapshot, boot_kernel="",
    ).values()  # fmt: skip
    assert "Somebody else rebooted the host" in said
    assert (fleet / "h0000/root/etc/carveout/committed").read_text().strip() != layout["id"]


def test_a_host_that_did_not_come_back_says_what_can_be_told(fleet: Path) -> None:
    ssh = fleet / "bin/ssh"
    own = "".join(
        f"case \" $* \" in *' {host} '*) cat >&2 <<'EOF'\n{text}\nEOF\nexit 255 ;; esac\n"
        for host, text in (("h0001", OTHER_KEY), ("h0002", GONE))
    )
    faked.put_before_ssh(fleet, 3)
    ssh.unlink()
    ssh.write_text(f'#!/bin/sh\n{own}exec {faked.CHECKOUT}/bench/ssh.sh "$@"\n')
    ssh.chmod(0o755)
    said = play(
        fleet, "unanswered", {"h0000": {}, "h0001": {}, "h0002": {}},
        boot_kind="trial boot", boot_unanswered="Timed out waiting for last boot time check (timeout=1800)",
        boot_reboot_timeout=1800,
    )  # fmt: skip
    ssh.unlink()
    for message in said.values():
        assert "did not come back from its trial boot: Timed out" in message
    assert "It answers now" in said["h0000"] and "1800 seconds of carveout_reboot_timeout" in said["h0000"]
    assert "another ssh host key than before" in said["h0001"] and "ssh-keygen -R" in said["h0001"]
    assert "Power-cycle it: every boot after the trial has the old arguments" in said["h0002"]
