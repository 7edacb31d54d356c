# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel that a dmemfs pool names: what a plan may say, what is looked for, the module in a play."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.files import Reader
from ansible_collections.carveout.memory.plugins.module_utils._host.kernels import (
    installer,
    is_installed,
    read_config,
)
from ansible_collections.carveout.memory.plugins.module_utils._mechanisms.dmemfs import missing_config
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.dmemfs import the_pool
from ansible_collections.carveout.memory.plugins.module_utils._planner.dmemfs_plan import KernelSource
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

RELEASE = "5.4.119-20.0009.tl3"


def plan_with(kernel: dict[str, Any]) -> Any:
    pool = {"mechanism": "dmemfs", "nodes": {"0": "1GiB"}, "kernel": kernel}
    return make_plan("2GiB", {"files": pool}, policy={"transparent_huge_pages": "never"})


REPOSITORY = {"url": "https://mirror.example/tl3/", "key": "file:///etc/pki/rpm-gpg/KEY"}


@pytest.mark.parametrize(
    ("kernel", "source"),
    [
        ({}, KernelSource(RELEASE)),
        ({"package": "kernel-5.4.119-20.0009.tl3"}, KernelSource(RELEASE, "kernel-5.4.119-20.0009.tl3")),
        ({"file": "files/kernel.rpm"}, KernelSource(RELEASE, file="files/kernel.rpm")),
        (
            {"package": "kernel", "repository": REPOSITORY},
            KernelSource(RELEASE, "kernel", url=REPOSITORY["url"], key=REPOSITORY["key"]),
        ),
    ],
)
def test_what_brings_a_kernel(kernel: dict[str, Any], source: KernelSource) -> None:
    pool = the_pool(plan_with({"release": RELEASE, **kernel}))
    assert pool is not None
    assert pool.kernel == source


@pytest.mark.parametrize(
    ("kernel", "path", "code"),
    [
        ({"package": "--installroot=/"}, "package", "name-invalid"),
        ({"package": "a b"}, "package", "name-invalid"),
        ({"file": "kernel.zip"}, "file", "name-invalid"),
        ({"file": "-x.deb"}, "file", "name-invalid"),
        ({"package": "kernel", "file": "kernel.rpm"}, "file", "key-of-others"),
        ({"file": "kernel.rpm", "repository": REPOSITORY}, "repository", "key-of-others"),
        ({"package": "k", "repository": {**REPOSITORY, "url": "ftp://x"}}, "repository.url", "name-invalid"),
        ({"package": "k", "repository": {**REPOSITORY, "key": "https://x y"}}, "repository.key", "name-invalid"),
        ({"release": ""}, "release", "kernel-invalid"),
        ({"release": "../5.4"}, "release", "kernel-invalid"),
    ],
)  # fmt: skip
def test_what_a_plan_cannot_name(kernel: dict[str, Any], path: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan_with({"release": RELEASE, **kernel})
    assert (caught.value.problems[0].path, caught.value.problems[0].code) == (
        f"pools.files.kernel.{path}", code
    )  # fmt: skip


def test_a_plan_fits_before_its_kernel_is_installed() -> None:
    """Nothing is known of its configuration then; the release is the plan's word for it."""
    host = make_host(
        [(0, 3 * GIB, 1), (4 * GIB, 12 * GIB, 1)], [(0, 0, 12 * GIB)],
        kernel_running="6.12.107", kernel_default=RELEASE, kernel_config={},
    )  # fmt: skip
    assert make_layout(plan_with({"release": RELEASE}), host).kernel == RELEASE
    lacking = dataclasses.replace(host, kernel_config={"CONFIG_DMEM": "y"})
    with pytest.raises(Exception, match="built without CONFIG_DMEM_FS"):
        make_layout(plan_with({"release": RELEASE}), lacking)


def test_installed_kernels_and_their_configuration(tmp_path: Path) -> None:
    system = RealSystem(str(tmp_path))
    assert not is_installed(system, RELEASE)
    assert installer(system) == ()
    (tmp_path / "boot").mkdir()
    (tmp_path / f"boot/vmlinuz-{RELEASE}").write_text("image")
    assert not is_installed(system, RELEASE)
    (tmp_path / f"lib/modules/{RELEASE}").mkdir(parents=True)
    assert is_installed(system, RELEASE)
    config = "CONFIG_DMEM=y\n# CONFIG_DMEM_FS is not set\nCONFIG_UIO_DMEM_GENIRQ=m\n"
    (tmp_path / f"boot/config-{RELEASE}").write_text(config)
    assert missing_config(read_config(Reader(system), RELEASE)) == ["CONFIG_DMEM_FS"]
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/apt-get").touch()
    assert installer(system)[0] == "apt-get"
    (tmp_path / "usr/bin/dnf").touch()
    assert installer(system) == ("dnf", "--assumeyes", "install")


PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    plan:
      version: 1
      kernel: {memory: 2GiB}
      pools: {files: {mechanism: dmemfs, nodes: {0: 1GiB}, kernel: {release: no.such, package: kernel}}}
  tasks:
    - name: Wrong
      carveout.memory.dmemfs_kernel: {plan: "{{ plan }}"}
      register: wrong
      ignore_errors: true
    - name: Look
      carveout.memory.dmemfs_kernel:
        plan: "{{ plan | combine({'pools': {'files': {'kernel': kernel}}}, recursive=true) }}"
      vars:
        kernel: {release: 5.4.119, package: kernel, repository: {url: "https://a.example/x", key: "https://a.example/k"}}
      register: look
    - name: Required
      carveout.memory.dmemfs_kernel:
        plan: "{{ plan | combine({'pools': {'files': {'kernel': {'release': '5.4.119'}}}}, recursive=true) }}"
        required: true
      register: required
      ignore_errors: true
    - name: None
      carveout.memory.dmemfs_kernel:
        plan: {version: 1, kernel: {memory: 2GiB}, pools: {a: {mechanism: reserved, nodes: {0: 1GiB}}}}
        required: true
      register: without
    - ansible.builtin.copy:
        content: "{{ {'wrong': wrong, 'look': look, 'required': required, 'none': without} | to_json }}"
        dest: out.json
"""


def test_in_a_play(tmp_path: Path, checkout: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the module looks at a host's kernels as root")
    (tmp_path / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={
            **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(checkout / "collections"), "ANSIBLE_HOME": str(tmp_path),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOLOR": "1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["wrong"]["problems"][0]["path"] == "pools.files.kernel.release"
    look = out["look"]
    assert (look["release"], look["package"], look["file"]) == ("5.4.119", "kernel", "")
    assert look["options"] == [
        "--repofrompath=carveout,https://a.example/x",
        "--setopt=carveout.gpgcheck=1",
        "--setopt=carveout.gpgkey=https://a.example/k",
    ]
    assert (look["installed"], look["lacks"], look["changed"]) == (False, [], False)
    assert out["required"]["problems"][0]["code"] == "kernel-missing"
    assert "/boot/vmlinuz-5.4.119 or its modules are missing" in out["required"]["msg"]
    assert (out["none"]["release"], out["none"]["installed"]) == ("", True)
