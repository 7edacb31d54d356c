# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role boot as Ansible runs it, as far as it goes without touching the host it runs on, which is this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host_files import expected_files
from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.zipapp_build import host_zipapp

ROOT = Path(__file__).resolve().parents[2]
PLAN = {
    "version": 1,
    "kernel": {"memory": "1GiB"},
    "pools": {"a": {"mechanism": "reserved", "nodes": {"0": "256MiB"}}},
}
FIRST_CHANGE = "carveout.memory.boot : Install the layout and the boot service"


@pytest.fixture(scope="module")
def layout() -> Layout:
    host = host_from_json(json.loads((ROOT / "tests/unit/data/host.json").read_text(encoding="utf-8")))
    return make_layout(validated_plan(PLAN), host)


def play(folder: Path, layout: Layout, state: dict[str, Any], *options: str) -> tuple[int, str]:
    """Status and output of the role for a host without augeas; never a traceback."""
    state = {"augeas": False, "loader": {"problem": ""}, "files": {}, "kdump": {}, **state}
    snapshot = {"committed": None, "cmdline": "ro quiet", "state": state}
    variables = {"boot_layout": layout.to_json(), "boot_snapshot": snapshot}
    role = {"ansible.builtin.import_role": {"name": "carveout.memory.boot"}, "vars": variables}
    shown = {"ansible.builtin.debug": {"msg": "pending {{ boot_pending }}"}}
    book = [{"hosts": "all", "gather_facts": False, "tasks": [role, shown]}]
    (folder / "play.yml").write_text(json.dumps(book), encoding="utf-8")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local",
            "-e", f"ansible_python_interpreter={sys.executable}", *options, str(folder / "play.yml"),
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_no_packages_is_understood_as_it_comes_from_the_command_line(layout: Layout, tmp_path: Path) -> None:
    status, said = play(tmp_path, layout, {}, "-e", "boot_install_packages=false")
    assert status == 2
    assert "The host has no augeas binding for Python; install python3-augeas" in said
    assert "changed=0" in said


def test_an_owner_that_does_not_exist_is_told_before_anything_is_changed(
    layout: Layout, tmp_path: Path
) -> None:
    device = Device(
        "vm", "a", 0, 2 << 20, (layout.reservations[0].range,), "pools.a.devices[0]", "nobody-here"
    )
    status, said = play(tmp_path, dataclasses.replace(layout, devices=(device,)), {})
    assert status == 2
    told = "the user 'nobody-here' does not exist on this host; create it first"
    assert (told if os.geteuid() == 0 else "use become: true") in said
    assert "changed=0" in said and "Install the" not in said


def test_check_mode_goes_on_where_augeas_would_be_installed(layout: Layout, tmp_path: Path) -> None:
    program = hashlib.sha256(host_zipapp(ROOT, VERSION, tmp_path).read_bytes()).hexdigest()
    installed = expected_files(program, layout, None)
    status, said = play(tmp_path, layout, {"files": installed}, "--check", "--start-at-task", FIRST_CHANGE)
    assert status == 0, said
    assert "pending True" in said
    assert "skipped=4" in said  # the boot loader, the reboot, what becomes of it and the trial


def test_a_reboot_is_asked_for_once() -> None:
    reboots = [
        task
        for path in ROOT.glob("roles/*/tasks/*.yml")
        for task in yaml.safe_load(path.read_text(encoding="utf-8"))
        if "ansible.builtin.reboot" in task
    ]
    assert len(reboots) >= 4
    # a second try of the connection that it cuts off would be a second reboot
    assert [task["name"] for task in reboots if task["vars"] != {"ansible_ssh_retries": 0}] == []
