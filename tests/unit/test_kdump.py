# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The crash kernel's command line: what a shell makes of our block, and that only the block comes and goes."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._expect.kdump import crash_kernel
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import (
    apply_absent,
    apply_present,
    plan_absent,
    plan_present,
    up_to_date,
)
from ansible_collections.carveout.memory.plugins.module_utils._host_files import (
    ENABLED,
    expected_files,
    known_files,
    program_path,
)
from ansible_collections.carveout.memory.plugins.module_utils._kdump import (
    ARGUMENTS,
    KDUMPS,
    Kdump,
    configured,
    with_block,
    without_block,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

DEBIAN, RHEL = KDUMPS
HOST = make_host([(0, 3 * GIB, 1), (4 * GIB, 20 * GIB, 1)], [(0, 0, 20 * GIB)])
POOLS = {
    "guests": {"mechanism": "dax", "nodes": {"0": "4GiB"}},
    "pages": {"mechanism": "hugetlb", "nodes": {"0": "512MiB"}, "optimize_vmemmap": True},
}
LAYOUT = make_layout(make_plan("2GiB", POOLS), HOST)
#: As the packages have them, comments shortened (kdump-tools 1.10.7; kexec-tools of RHEL 8).
DEBIAN_FILE = """\
# kdump-tools configuration
USE_KDUMP=1
KDUMP_KERNEL=/var/lib/kdump/vmlinuz
KDUMP_INITRD=/var/lib/kdump/initrd.img
KDUMP_COREDIR="/var/crash"
#KDUMP_CMDLINE=""
#KDUMP_CMDLINE_APPEND="reset_devices systemd.unit=kdump-tools-dump.service nr_cpus=1 irqpoll usbcore.nousb"
"""
RHEL_FILE = """\
# Kernel Version string for the -kdump kernel
KDUMP_KERNELVER=""
KDUMP_COMMANDLINE=""
KDUMP_COMMANDLINE_REMOVE="hugepages hugepagesz slub_debug quiet log_buf_len swiotlb"
KDUMP_COMMANDLINE_APPEND="irqpoll nr_cpus=1 reset_devices"
KEXEC_ARGS="-s"
"""
FOREIGN = "BOOT_IMAGE=/boot/vmlinuz root=UUID=1 ro console=ttyS0 quiet"
LINE = f"{FOREIGN} {' '.join(LAYOUT.kernel_arguments)} crashkernel=256M"


class Tree(RealSystem):
    """Files below a folder, and the programs that were run."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.ran: list[str] = []

    def run(self, argv: list[str]) -> Completed:  # type: ignore[override]
        self.ran.append(" ".join(argv))
        return Completed(0, "", "")

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def as_the_shell_has_it(text: str, variable: str, tmp_path: Path) -> str:
    """Source the file as kdump's scripts do, with /proc/cmdline from a file of ours."""
    (tmp_path / "cmdline").write_text(LINE + "\n")
    (tmp_path / "config").write_text(text.replace("/proc/cmdline", str(tmp_path / "cmdline")))
    script = f'. "$1"; printf %s "${variable}"'
    done = subprocess.run(
        ["sh", "-euc", script, "sh", str(tmp_path / "config")], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_debian(tmp_path: Path) -> None:
    """kdump-config takes KDUMP_CMDLINE as it is where it is set."""
    assert as_the_shell_has_it(DEBIAN.corrected(DEBIAN_FILE), "KDUMP_CMDLINE", tmp_path) == FOREIGN
    # by itself: sed -re 's/(^| )(crashkernel|hugepages|hugepagesz|abm)=[^ ]*//g'
    inherited = re.sub(r"(^| )(crashkernel|hugepages|hugepagesz|abm)=[^ ]*", "", LINE)
    named = {word.partition("=")[0] for word in inherited.split()}
    assert {name for name in ARGUMENTS if name in named} == {
        "memmap", "hugetlb_free_vmemmap", "dax_hmem.region_idle", "carveout.layout",
    }  # fmt: skip
    assert named & set(ARGUMENTS) <= set(DEBIAN.inherits(DEBIAN_FILE))


def test_rhel(tmp_path: Path) -> None:
    """kdumpctl takes out of /proc/cmdline what is named, by sed (remove_cmdline_param of kdump-lib.sh)."""
    removed = as_the_shell_has_it(RHEL.corrected(RHEL_FILE), "KDUMP_COMMANDLINE_REMOVE", tmp_path).split()
    assert removed[:2] == ["hugepages", "hugepagesz"]
    line = LINE
    for name in removed:
        for pattern in (rf"\b{name}=[^ ]*", rf"^{name}\b", rf"\s{name}\b"):
            line = re.sub(pattern, "", line)
    assert line.split() == [word for word in f"{FOREIGN} crashkernel=256M".split() if word != "quiet"]
    assert RHEL.inherits(RHEL_FILE) == [n for n in ARGUMENTS if n not in ("hugepages", "hugepagesz")]


@pytest.mark.parametrize(("kdump", "text"), [(DEBIAN, DEBIAN_FILE), (RHEL, RHEL_FILE)])
def test_the_block(kdump: Kdump, text: str) -> None:
    corrected = kdump.corrected(text)
    assert corrected.startswith(text)
    assert without_block(corrected) == text
    assert kdump.corrected(corrected) == corrected
    older = corrected.replace("memmap", "memmop")
    assert kdump.corrected(older) == corrected
    assert kdump.inherits(corrected) == []
    assert kdump.inherits(older) == kdump.inherits(text)
    assert kdump.inherits("") and kdump.corrected("") == kdump.block


@pytest.mark.parametrize(
    ("kdump", "line", "inherits"),
    [
        (DEBIAN, 'KDUMP_CMDLINE="root=/dev/sda1 ro"', []),
        (DEBIAN, 'KDUMP_CMDLINE="root=/dev/sda1 memmap=1G$4G hugepages=9"', ["hugepages", "memmap"]),
        (DEBIAN, "KDUMP_CMDLINE=$(sed 's/ memmap=[^ ]*//g;s/ dmem=[^ ]*//' /proc/cmdline)",
         [name for name in ARGUMENTS if name not in ("memmap", "dmem")]),
        (RHEL, 'KDUMP_COMMANDLINE="root=/dev/sda1 memmap=1G$4G hugepages=9"', ["memmap"]),
    ],
)  # fmt: skip
def test_a_line_of_the_operators_own(kdump: Kdump, line: str, inherits: list[str]) -> None:
    """On Debian it stands for all, so that ours would take it away; on RHEL names are left out of it too."""
    text = (DEBIAN_FILE if kdump is DEBIAN else RHEL_FILE) + line + "\n"
    assert sorted(kdump.inherits(text)) == sorted(inherits)
    assert kdump.corrected(text) == (text if kdump is DEBIAN else text + kdump.block)


def test_deployed_and_rolled_back(tree: Tree) -> None:
    tree.put(DEBIAN.config, DEBIAN_FILE, 0o640)
    tree.put(DEBIAN.program, "")
    tree.put(program_path(), "program")
    tree.put("/sys/kernel/kexec_crash_loaded", "1\n")
    digest = known_files(tree)[program_path()]

    def inherited() -> dict[str, list[str]]:
        return {kdump.config: kdump.inherits(text) for kdump, text in configured(tree)}

    assert inherited()[DEBIAN.config]
    plan = plan_present(tree, digest, str, LAYOUT, None, None)
    (change,) = [c for c in plan.changes if c.path == DEBIAN.config]
    assert (change.before, change.after) == (DEBIAN_FILE, DEBIAN_FILE + DEBIAN.block)
    before = inherited()
    apply_present(tree, plan)
    assert (tree.root / DEBIAN.config.lstrip("/")).stat().st_mode & 0o777 == 0o640
    assert "kdump-config condreload" in tree.ran
    assert inherited() == {DEBIAN.config: []}
    files = known_files(tree)
    assert DEBIAN.config in files
    # no systemd here that would have made the link
    installed = {**files, ENABLED: expected_files(digest, LAYOUT, None)[ENABLED]}
    assert up_to_date(installed, digest, LAYOUT, None, inherited())
    assert not up_to_date(installed, digest, LAYOUT, None, before)
    assert plan_present(tree, digest, str, LAYOUT, None, None).changes == []
    apply_absent(tree, plan_absent(tree))
    assert tree.read(DEBIAN.config) == DEBIAN_FILE
    assert known_files(tree) == {} and with_block(tree) == []


def test_a_layout_without_arguments_needs_none(tree: Tree) -> None:
    tree.put(RHEL.config, RHEL.corrected(RHEL_FILE))
    tree.put(RHEL.program, "")
    bare = dataclasses.replace(LAYOUT, arguments=())
    plan = plan_present(tree, "0" * 64, str, bare, None, None)
    assert [c.after for c in plan.changes if c.path == RHEL.config] == [RHEL_FILE]


def test_hosts_without_kdump(tree: Tree) -> None:
    """The file alone is what a removed package left, or SUSE's, which has another program and other words."""
    tree.put(DEBIAN.config, DEBIAN_FILE)
    tree.put(RHEL.config, 'KDUMP_COMMANDLINE=""\n')
    assert configured(tree) == []
    plan = plan_present(tree, "0" * 64, str, LAYOUT, None, None)
    assert not {DEBIAN.config, RHEL.config} & {c.path for c in plan.changes}


def test_verification() -> None:
    def found(state: dict[str, list[str]]) -> list[tuple[bool, str]]:
        host = dataclasses.replace(HOST, state=json.loads(json.dumps({"kdump": state})))
        return [(e.met, e.message) for e in crash_kernel(LAYOUT, host)]

    assert found({}) == []
    assert [met for met, _ in found({DEBIAN.config: []})] == [True]
    assert [met for met, _ in found({DEBIAN.config: ["dmem"]})] == [True], "the layout has no such argument"
    ((met, message),) = found({DEBIAN.config: ["memmap", "carveout.layout"]})
    assert not met
    assert message.startswith(f"pools: the crash kernel that {DEBIAN.config} describes inherits memmap=, ")
    bare = dataclasses.replace(LAYOUT, arguments=())
    assert crash_kernel(bare, HOST) == []
