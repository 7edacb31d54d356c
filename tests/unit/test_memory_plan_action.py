# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module memory_plan as Ansible runs it: in a play, with values that Ansible made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

HOST: dict[str, Any] = {
    "schema": 1,
    "architecture": "x86_64",
    "firmware": {
        "map": [[0, 654336, 1], [1048576, 3 * GIB, 1], [4 * GIB, 10 * GIB, 1]],
        "boot": "bios",
        "srat": [[0, 0, 6 * GIB], [1, 6 * GIB, 10 * GIB]],
        "hmat": False,
    },
    "kernel": {"running": "6.12.107", "default": "6.12.107", "config": {}},
    "cmdline": "quiet",
    "boot_arguments": ["quiet"],
    "foreign": [],
    "committed": None,
    "layouts": {},
    "state": {},
}
PLAN = """\
version: 1
kernel:
  memory: {0: 2GiB, 1: 1GiB}
pools:
  guests:
    mechanism: dax
    nodes: {0: 1GiB, 1: rest}
    devices:
      - {name: vm-a, node: 0, size: 1GiB, mode: "0660"}
      - {name: vm-b, node: 1, extents: [{offset: 0, size: 2MiB}]}
"""
PLAY = """\
- hosts: localhost
  gather_facts: false
  vars:
    plan_file: plan.yml
    size: 1GiB
    snapshot: "{{ lookup('ansible.builtin.file', 'host.json') | from_json }}"
    plan:
      version: 1
      kernel:
        memory: {0: 2GiB, "1": "{{ size }}"}
      pools:
        guests:
          mechanism: dax
          nodes: {0: "{{ size }}", 1: rest}
          devices:
            - {name: "vm-{{ 'a' }}", node: 0, size: 1GiB, mode: "0660"}
            - name: vm-b
              node: 1
              extents: "{{ [{'offset': 0, 'size': '2MiB'}] }}"
  tasks:
    - name: From a file
      carveout.memory.memory_plan:
        plan: "{{ playbook_dir }}/{{ plan_file }}"
        host: "{{ snapshot }}"
      register: file
    - name: From variables
      carveout.memory.memory_plan:
        plan: "{{ plan }}"
        host: "{{ snapshot }}"
      register: variables
    - name: On a host that has committed it
      carveout.memory.memory_plan:
        plan: "{{ plan }}"
        host: "{{ snapshot | combine({'committed': file.layout.id, 'layouts': {file.layout.id: file.layout}}) }}"
      register: committed
    - name: With a layout to keep
      carveout.memory.memory_plan:
        plan: "{{ plan }}"
        host: "{{ snapshot | combine({'kernel': {'running': '6.1.0', 'default': '6.1.0', 'config': {}}}) }}"
        previous: "{{ file.layout }}"
      register: kept
    - name: With a layout to replace
      carveout.memory.memory_plan:
        plan: "{{ plan }}"
        host: "{{ snapshot | combine({'kernel': {'running': '6.1.0', 'default': '6.1.0', 'config': {}}}) }}"
        previous: "{{ file.layout }}"
        replan: true
      register: replanned
    - name: What cannot be
      carveout.memory.memory_plan:
        plan: "{{ plan | combine({'pools': {'a': {'mechanism': 'dax', 'nodes': {0: '9GiB', 1: '99GiB'}}}}) }}"
        host: "{{ snapshot }}"
      ignore_errors: true
      register: impossible
    - name: What makes no sense
      carveout.memory.memory_plan:
        plan: "{{ item }}"
        host: "{{ snapshot }}"
      loop:
        - "{{ playbook_dir }}/gone.yml"
        - "~nobody-of-this-name/plan.yml"
        - "{{ plan | combine({'polcy': {}}) }}"
        - "{{ plan | combine({'version': 2.5}) }}"
        - [1, 2]
        - 5
      ignore_errors: true
      register: senseless
    - name: A host that is none
      carveout.memory.memory_plan:
        plan: "{{ plan }}"
        host: {schema: 1}
      ignore_errors: true
      register: no_host
    - name: A layout that was edited
      carveout.memory.memory_plan:
        plan: "{{ plan }}"
        host: "{{ snapshot }}"
        previous: "{{ file.layout | combine({'kernel': 'x'}) }}"
      ignore_errors: true
      register: edited
    - name: Tell
      ansible.builtin.copy:
        dest: "{{ playbook_dir }}/results.json"
        mode: "0600"
        content: "{{ {'file': file, 'variables': variables, 'committed': committed, 'kept': kept, 'edited': edited,
          'replanned': replanned, 'impossible': impossible, 'senseless': senseless, 'no_host': no_host} | to_json }}"
      check_mode: false
"""


def play(folder: Path, checkout: Path, *options: str) -> tuple[str, dict[str, Any]]:
    folder.joinpath("host.json").write_text(json.dumps(HOST))
    folder.joinpath("plan.yml").write_text(PLAN)
    folder.joinpath("play.yml").write_text(PLAY)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}", *options, "play.yml"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout, json.loads(folder.joinpath("results.json").read_text())


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> tuple[str, dict[str, Any]]:
    return play(tmp_path_factory.mktemp("play"), checkout, "--check", "--diff")


@pytest.fixture(scope="module")
def results(played: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return played[1]


def test_a_layout_comes_out(results: dict[str, Any]) -> None:
    result = results["file"]
    layout = Layout.from_json(result["layout"])
    assert result["changed"] is True
    assert layout.kernel_arguments[1:] == (
        "memmap=1G%4G-1+0xefffffff",
        "memmap=3G%6G-1+0xefffffff",
        "dax_hmem.region_idle=1",
    )
    assert result["text"].startswith(f"layout {layout.id} for kernel 6.12.107\n")


def test_values_that_ansible_made_give_the_same_layout(results: dict[str, Any]) -> None:
    """Templates, numbers as keys, tagged text: the layout is the one of the plain file."""
    assert results["variables"]["layout"] == results["file"]["layout"]


def test_changed_means_another_layout_than_the_committed_one(results: dict[str, Any]) -> None:
    assert results["committed"]["changed"] is False
    assert results["committed"]["layout"] == results["file"]["layout"]
    assert results["kept"]["layout"] == results["file"]["layout"]
    assert results["replanned"]["layout"]["kernel"] == "6.1.0"


def test_every_problem_is_told(results: dict[str, Any]) -> None:
    result = results["impossible"]
    assert result["failed"] is True
    assert [p["path"] for p in result["problems"]] == ["pools.a.nodes.0", "pools.a.nodes.1"]
    assert all(p["code"] == "does-not-fit" for p in result["problems"])
    assert result["msg"].startswith(
        "The memory plan cannot be carried out on this host:\n- pools.a.nodes.0: 9GiB"
    )


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (0, "gone.yml: No such file"),
        (1, "home directory"),
        (2, "polcy: unknown key; did you mean 'policy'?"),
        (3, "version: 2.5 is not one of: 1"),
        (4, "the plan is a mapping, or the path of a YAML file"),
        (5, "the plan is a mapping, or the path of a YAML file"),
    ],
)
def test_senseless_plans(results: dict[str, Any], index: int, words: str) -> None:
    result = results["senseless"]["results"][index]
    assert result["failed"] is True
    assert words in result["msg"]
    assert len(result["problems"]) == 1


def test_senseless_hosts_and_layouts(results: dict[str, Any]) -> None:
    assert "architecture: is missing" in results["no_host"]["msg"]
    assert "layout.id: " in results["edited"]["msg"]


def test_the_difference_is_shown(played: tuple[str, dict[str, Any]]) -> None:
    text, results = played
    assert "--- before: memory map without Carveout" in text
    assert f"+++ after: layout {results['file']['layout']['id']}" in text
    assert "+memmap=1G%4G-1+0xefffffff" in text
    assert "guests: vm-a" in text
    before = results["committed"]["diff"]
    assert before["before"] == before["after"]
