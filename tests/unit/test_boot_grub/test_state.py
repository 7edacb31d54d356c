# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading what a host's boot loader is and will do, and what on its command line is whose."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.grub import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN
from ansible_collections.carveout.memory.plugins.module_utils._boot.state import LoaderState
from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.model import ForeignArgument
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

OURS = ("carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "dax_hmem.region_idle=1")
OTHER = ("carveout.layout=fedcba9876543210", "memmap=2G%5G-1+2")
DEFAULTS = """\
# how GRUB boots
GRUB_DEFAULT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=ttyS0"
"""


def test_the_state_of_an_untouched_host(tree: Any) -> None:
    state = tree.state()
    assert state == LoaderState(
        kind="grub",
        drop_in=DROP_IN,
        boot_arguments=("root=UUID=1", "ro", "console=ttyS0", "quiet", "splash"),
        entry="Linux",
        command_line="BOOT_IMAGE=/boot/vmlinuz-6.12.1-test root=UUID=1 ro console=ttyS0 quiet splash",
        kernel="6.12.1-test",
        kernels=(
            ("6.12.1-test", "advanced-1>linux-6.12.1-test-advanced-1"),
            ("6.1.0-old", "advanced-1>linux-6.1.0-old-advanced-1"),
            ("6.12.1-test", "simple"),
        ),
        running=(
            "BOOT_IMAGE=/boot/vmlinuz-6.12.1-test",
            "root=UUID=1",
            "ro",
            "console=ttyS0",
            "quiet",
            "splash",
        ),
        regenerate=("/usr/sbin/grub-mkconfig", "-o", "/run/carveout/grub.cfg"),
        menu="/boot/grub/grub.cfg",
    )
    assert state.to_json() == {
        "kind": "grub", "problem": "", "drop_in": DROP_IN, "drop_in_text": "", "owned": [], "trial": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (
            "/etc/default/grub",
            'A=1\n\nGRUB_CMDLINE_LINUX+=" x"\n',
            "/etc/default/grub, line 3: augeas .* Syntax error",
        ),
        (
            "/etc/default/grub.d/a.cfg",
            "A=1 B=2\n",
            r"/etc/default/grub\.d/a\.cfg, line 1: augeas .* Syntax error",
        ),
        ("/etc/default/grub.d/a.cfg", "A=1\0\n", r"a\.cfg: it holds a NUL"),
    ],
)
def test_what_augeas_cannot_read_stops_before_any_change(tree: Any, path: str, text: str, said: str) -> None:
    tree.put(path, text)
    before = tree.files()
    assert tree.state().to_json()["problem"]
    with pytest.raises(NotPossible, match=said):
        tree.change_to(OURS)
    assert tree.files() == before
    assert tree.ran == []


def test_a_file_that_is_not_utf8(tree: Any) -> None:
    (tree.root / "etc/default/grub.d/a.cfg").write_bytes(b"A=\xe4\n")
    with pytest.raises(NotPossible, match=r"a\.cfg: it is not UTF-8 text"):
        tree.change_to(OURS)


def test_removal_does_not_need_a_configuration_that_augeas_can_read(tree: Any) -> None:
    tree.change_to(OURS)
    tree.put("/etc/default/grub.d/a.cfg", "A=1; B=2; unset A B\n(true)\n")
    assert tree.change_to(None).changed
    assert tree.read(DROP_IN) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/default/grub", "not a GRUB as Debian configures it"),
        ("/usr/sbin/grub-mkconfig", "not a GRUB as Debian configures it"),
        ("/boot/grub/grub.cfg", "no /boot/grub/grub.cfg"),
    ],
)
def test_another_boot_loader_is_told_and_left_alone(tree: Any, path: str, said: str) -> None:
    tree.remove(path)
    before = tree.files()
    assert said in tree.state().problem
    with pytest.raises(NotPossible, match=said):
        tree.change_to(OURS)
    assert not tree.change_to(None).changed  # nothing of ours is there
    assert tree.files() == before


def test_a_mkconfig_that_reads_no_drop_ins(tree: Any) -> None:
    tree.put("/usr/sbin/grub-mkconfig", ". ${sysconfdir}/default/grub\n")
    assert "does not read /etc/default/grub.d" in tree.state().problem


def test_a_menu_that_cannot_be_followed_is_a_problem_not_a_crash(tree: Any) -> None:
    tree.put("/boot/grub/grub.cfg", "blscfg\n")
    state = tree.state()
    assert state.boot_arguments is None
    assert state.kind == ""
    with pytest.raises(NotPossible, match="made by `blscfg`"):
        tree.change_to(OURS)


def test_a_host_with_nothing_on_it(tmp_path: Path) -> None:
    state = read_loader(RealSystem(str(tmp_path)), None)
    assert state.kind == ""
    assert state.foreign == ()
    assert state.boot_arguments is None


def test_foreign_memory_arguments_are_found_where_they_stand(tree: Any) -> None:
    tree.put(
        "/etc/default/grub",
        DEFAULTS.replace(
            '"console=ttyS0"', '"console=ttyS0 \\\n  memmap=1G\\\\\\$4G mem=8G \\\n memmap=2G%9G-1+2 mem=8G"'
        )
        + 'THEIRS="hugepages=3"\n#GRUB_CMDLINE_LINUX="mem=8G"\n',
    )
    tree.put(
        "/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$(true)quiet $THEIRS numa=off"\n'
    )
    tree.run(["/usr/sbin/grub-mkconfig"])
    tree.change_to(OURS)
    tree.put("/proc/cmdline", "BOOT_IMAGE=/x ro mem=8G mem=8G cma=1G " + " ".join(OTHER))
    expected = [
        ForeignArgument("memmap=1G$4G", "/etc/default/grub", 5),
        ForeignArgument("mem=8G", "/etc/default/grub", 5),
        ForeignArgument("memmap=2G%9G-1+2", "/etc/default/grub", 6),
        ForeignArgument("mem=8G", "/etc/default/grub", 6),
        ForeignArgument("hugepages=3", "/etc/default/grub", 7),
        ForeignArgument("numa=off", "/etc/default/grub.d/50-cloud.cfg", 1),
        ForeignArgument("cma=1G", "", 0),
    ]
    assert list(tree.state().foreign) == expected
    without = [ForeignArgument(argument.argument, "", 0) for argument in expected]
    assert list(tree.state(None).foreign) == without


def test_what_layouts_stored_on_the_host_brought_is_ours(tree: Any) -> None:
    tree.put("/etc/default/grub.d/x.cfg", f'GRUB_CMDLINE_LINUX_DEFAULT="{" ".join(OURS)} mem=8G"\n')
    tree.run(["/usr/sbin/grub-mkconfig"])
    assert tree.state().foreign == ()  # nobody knows where ours ends
    tree.put("/etc/carveout/layouts/a.json", json.dumps({"kernel_arguments": OURS}))
    tree.put("/etc/carveout/layouts/b.json", "[")
    tree.put("/etc/carveout/layouts/c.json", '{"kernel_arguments": [1]}')
    state = tree.state()
    assert state.stored == (OURS,)
    assert state.foreign == (ForeignArgument("mem=8G", "/etc/default/grub.d/x.cfg", 1),)


def test_unreadable_files_are_a_problem_not_a_crash(tree: Any) -> None:
    shutil.rmtree(tree.root / "etc/default/grub.d")
    (tree.root / "boot/grub/grub.cfg").unlink()
    (tree.root / "boot/grub/grub.cfg").mkdir()
    state = tree.state()
    assert state.problem.startswith("/boot/grub/grub.cfg: ")
    with pytest.raises(NotPossible):
        tree.change_to(OURS)


def test_the_other_python_binding_works_too(tree: Any) -> None:
    """What the distribution installs for /usr/bin/python3, where it is another than the test's own."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "from augeas import Augeas\n"
        "from plugins.module_utils._boot import grub_files as f\n"
        "a = Augeas(flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD)\n"
        "t = f.render(a, ['carveout.layout=0123456789abcdef', 'a$b'])\n"
        "print(json.dumps([t, [x.line for x in f.read_assignments(a, '/x', '\\nA=1\\nB=2\\n')]]))\n"
        "try: f.read_assignments(a, '/x', 'A+=1')\n"
        "except f.Unparsable as e: print(e)\n"
    )
    checkout = str(Path(__file__).resolve().parents[3])
    argv = ["/usr/bin/python3", "-I", "-c", code, checkout]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "No module named 'augeas'" in done.stderr:
        pytest.skip("/usr/bin/python3 has no augeas: install python3-augeas")
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    text, lines = json.loads(first)
    assert "'a\\$b'" in text
    assert lines == [2, 3]
    assert second == "/x, line 1: augeas cannot read it: Syntax error"
