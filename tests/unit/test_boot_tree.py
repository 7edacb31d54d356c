# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB's configuration in a tree of files, edited through a real augeas and sourced by a real sh."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.change import Change
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub import read_loader
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_apply import apply, plan
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN
from ansible_collections.carveout.memory.plugins.module_utils._boot.state import LoaderState
from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.model import ForeignArgument
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem

UPDATE_GRUB = Path(__file__).parent / "test_boot_data" / "update-grub"
OURS = ("carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "dax_hmem.region_idle=1")
OTHER = ("carveout.layout=fedcba9876543210", "memmap=2G%5G-1+2")
DEFAULTS = """\
# how GRUB boots
GRUB_DEFAULT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=ttyS0"
"""


class Tree(RealSystem):
    """A host below a directory, whose update-grub is a script."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.ran.append(list(argv))
        return super().run(["sh", f"{self.root}{argv[0]}", str(self.root)])

    def put(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def boot(self) -> None:
        """What a reboot does to /proc/cmdline."""
        self.put("/proc/cmdline", read_loader(self, None).command_line + "\n")

    def files(self) -> dict[str, bytes]:
        return {
            str(p): p.read_bytes()
            for p in sorted(self.root.rglob("*"))
            if p.is_file() and "proc" not in p.parts
        }


@pytest.fixture(scope="session")
def augeas() -> Any:
    try:
        from augeas import Augeas
    except (ImportError, OSError) as error:
        pytest.skip(f"augeas is not installed: {error}")
    return Augeas(flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    system = Tree(tmp_path)
    system.put("/etc/default/grub", DEFAULTS)
    system.put("/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n')
    system.put("/usr/sbin/grub-mkconfig", "for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n")
    system.put("/boot/grub/grubenv", "# GRUB Environment Block\n####")
    (tmp_path / "usr/sbin/update-grub").write_text(UPDATE_GRUB.read_text())
    system.run(["/usr/sbin/update-grub"])
    system.ran.clear()
    system.boot()
    return system


def change_to(tree: Tree, augeas: Any, wanted: Sequence[str] | None) -> Change:
    """Plan and apply."""
    change = plan(read_loader(tree, augeas), augeas, wanted)
    apply(tree, augeas, change)
    return change


def test_the_state_of_an_untouched_host(tree: Tree, augeas: Any) -> None:
    state = read_loader(tree, augeas)
    assert state == LoaderState(
        kind="grub",
        drop_in=DROP_IN,
        boot_arguments=("root=UUID=1", "ro", "console=ttyS0", "quiet", "splash"),
        entry="Linux",
        command_line="BOOT_IMAGE=/boot/vmlinuz-6.12.1-test root=UUID=1 ro console=ttyS0 quiet splash",
        kernel="6.12.1-test",
        running=(
            "BOOT_IMAGE=/boot/vmlinuz-6.12.1-test",
            "root=UUID=1",
            "ro",
            "console=ttyS0",
            "quiet",
            "splash",
        ),
        regenerate=("/usr/sbin/update-grub",),
    )
    assert state.to_json() == {
        "kind": "grub", "problem": "", "drop_in": DROP_IN, "drop_in_text": "", "owned": [],
    }  # fmt: skip


def test_present_again_and_absent_leaves_every_byte_as_it_was(tree: Tree, augeas: Any) -> None:
    untouched = tree.files()
    change = change_to(tree, augeas, OURS)
    assert change.actions == [f"write {DROP_IN}", "run /usr/sbin/update-grub"]
    assert tree.ran == [["/usr/sbin/update-grub"]]
    state = read_loader(tree, augeas)
    assert state.boot_arguments == change.arguments == (
        "root=UUID=1", "ro", "console=ttyS0", "quiet", "splash", *OURS,
    )  # fmt: skip
    assert state.owned == OURS
    assert (tree.root / DROP_IN.lstrip("/")).stat().st_mode & 0o777 == 0o644

    again = change_to(tree, augeas, OURS)
    assert (again.changed, again.actions) == (False, [])
    assert tree.ran == [["/usr/sbin/update-grub"]]
    assert [part["before"] == part["after"] for part in again.diff] == [True, True]

    assert change_to(tree, augeas, None).actions == [f"remove {DROP_IN}", "run /usr/sbin/update-grub"]
    assert tree.files() == untouched
    assert change_to(tree, augeas, None).actions == []


def test_the_text_of_the_drop_in(tree: Tree, augeas: Any) -> None:
    change_to(tree, augeas, (OURS[0], "memmap=1G$5G", '"a b"'))
    assert tree.read(DROP_IN) == (
        "# Written by Carveout: the kernel arguments of this host's memory layout.\n"
        "# Do not edit: changes are lost, and what the layout reserves may be lost with them.\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT carveout.layout=0123456789abcdef'
        " 'memmap=1G\\$5G' 'a b'\"\n"
    )
    state = read_loader(tree, augeas)
    assert state.owned == (state.boot_arguments or ())[-3:] == (OURS[0], "memmap=1G$5G", '"a b"')


def test_another_layout_takes_the_place_of_the_one_before(tree: Tree, augeas: Any) -> None:
    tree.put("/etc/default/grub.d/zzz.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT last"\n')
    tree.run(["/usr/sbin/update-grub"])
    change_to(tree, augeas, OURS)
    assert (read_loader(tree, augeas).boot_arguments or ())[-4:] == (*OURS, "last")
    change = change_to(tree, augeas, OTHER)
    assert change.state.owned == OURS
    assert (read_loader(tree, augeas).boot_arguments or ())[-4:] == ("splash", *OTHER, "last")


def test_reboots_are_asked_for_until_the_running_kernel_has_what_is_wanted(tree: Tree, augeas: Any) -> None:
    assert not plan(read_loader(tree, augeas), augeas, None).reboot_required
    assert change_to(tree, augeas, OURS).reboot_required
    assert plan(read_loader(tree, augeas), augeas, OURS).reboot_required
    tree.boot()
    assert not plan(read_loader(tree, augeas), augeas, OURS).reboot_required
    assert plan(read_loader(tree, augeas), augeas, OTHER).reboot_required
    assert change_to(tree, augeas, None).reboot_required
    tree.boot()
    assert not plan(read_loader(tree, augeas), augeas, None).reboot_required


@pytest.mark.parametrize(
    "running",
    [
        [OURS[0], OURS[2], OURS[1]],  # another order
        [*OURS[:2], "x", OURS[2]],  # broken up
        [*OURS, *OURS],  # twice
        [*OURS, OTHER[0]],  # another layout named behind it
        OURS[1:],
    ],
)
def test_a_run_that_is_not_the_wanted_one_asks_for_a_reboot(
    tree: Tree, augeas: Any, running: Sequence[str]
) -> None:
    change_to(tree, augeas, OURS)
    tree.put("/proc/cmdline", " ".join(["ro", *running, "quiet"]))
    change = plan(read_loader(tree, augeas), augeas, OURS)
    assert not change.changed
    assert change.reboot_required


def test_a_menu_that_was_not_generated_from_the_drop_in_is(tree: Tree, augeas: Any) -> None:
    change_to(tree, augeas, OURS)
    text = tree.read(DROP_IN) or ""
    change_to(tree, augeas, None)
    tree.write(DROP_IN, text)
    assert change_to(tree, augeas, OURS).actions == ["run /usr/sbin/update-grub"]

    tree.remove(DROP_IN)
    assert change_to(tree, augeas, None).actions == ["run /usr/sbin/update-grub"]
    assert "carveout" not in (tree.read("/boot/grub/grub.cfg") or "")


def test_an_edited_drop_in_is_written_anew_but_nothing_of_others_in_it_is_dropped(
    tree: Tree, augeas: Any
) -> None:
    change_to(tree, augeas, OURS)
    text = tree.read(DROP_IN) or ""
    tree.write(DROP_IN, text.replace("0xefffffff", "0xefffffff$(true)"))
    assert change_to(tree, augeas, OURS).changed
    assert tree.read(DROP_IN) == text

    tree.write(DROP_IN, text + 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nosmt"\n')
    tree.run(["/usr/sbin/update-grub"])
    with pytest.raises(CarveoutError, match="its other arguments changed: nosmt gone"):
        change_to(tree, augeas, OTHER)
    assert tree.read(DROP_IN) == text + 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nosmt"\n'


def test_a_later_drop_in_that_assigns_is_named_and_everything_put_back(tree: Tree, augeas: Any) -> None:
    change_to(tree, augeas, OTHER)
    tree.put("/etc/default/grub.d/zzz.cfg", '\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n')
    before = tree.read(DROP_IN)
    with pytest.raises(CarveoutError, match=r"zzz\.cfg, line 2 is read after .* put back as it was") as error:
        change_to(tree, augeas, OURS)
    assert error.value.problems[0].code == "boot-change-failed"
    assert tree.read(DROP_IN) == before


def test_others_edits_that_were_never_generated_are_not_brought_in_by_us(tree: Tree, augeas: Any) -> None:
    tree.put("/etc/default/grub", DEFAULTS.replace("console=ttyS0", "console=ttyS1 nosmt"))
    with pytest.raises(CarveoutError, match="changed: console=ttyS0 gone, console=ttyS1 nosmt new"):
        change_to(tree, augeas, OURS)
    assert tree.read(DROP_IN) is None


def test_a_failing_update_grub_is_told_and_the_drop_in_taken_back(tree: Tree, augeas: Any) -> None:
    tree.put("/broken", "")
    with pytest.raises(
        CarveoutError, match=r"update-grub failed with status 1 \(Syntax error at line 3\)"
    ) as error:
        change_to(tree, augeas, OURS)
    assert "from that the menu cannot be generated either" in str(error.value)
    assert tree.read(DROP_IN) is None


def test_a_saved_entry_that_does_not_get_the_arguments_is_noticed(tree: Tree, augeas: Any) -> None:
    tree.put("/boot/grub/grubenv", "# GRUB Environment Block\nnext_entry=1>0\n####")
    assert read_loader(tree, augeas).entry == "More>Recovery"
    with pytest.raises(
        CarveoutError, match="'More>Recovery' that boots next is not as meant: it does not hold"
    ):
        change_to(tree, augeas, OURS)
    assert tree.read(DROP_IN) is None


def test_an_interrupted_change_is_taken_back(tree: Tree, augeas: Any) -> None:
    change = plan(read_loader(tree, augeas), augeas, OURS)
    real, calls = tree.run, []

    def interrupted(argv: Sequence[str]) -> Completed:
        calls.append(argv)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(argv)

    tree.run = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        apply(tree, augeas, change)
    assert tree.read(DROP_IN) is None
    assert len(calls) == 2


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
def test_what_augeas_cannot_read_stops_before_any_change(
    tree: Tree, augeas: Any, path: str, text: str, said: str
) -> None:
    tree.put(path, text)
    before = tree.files()
    assert read_loader(tree, augeas).to_json()["problem"]
    with pytest.raises(NotPossible, match=said):
        change_to(tree, augeas, OURS)
    assert tree.files() == before
    assert tree.ran == []


def test_a_file_that_is_not_utf8(tree: Tree, augeas: Any) -> None:
    (tree.root / "etc/default/grub.d/a.cfg").write_bytes(b"A=\xe4\n")
    with pytest.raises(NotPossible, match=r"a\.cfg: it is not UTF-8 text"):
        change_to(tree, augeas, OURS)


def test_removal_does_not_need_a_configuration_that_augeas_can_read(tree: Tree, augeas: Any) -> None:
    change_to(tree, augeas, OURS)
    tree.put("/etc/default/grub.d/a.cfg", "A=1; B=2; unset A B\n(true)\n")
    assert change_to(tree, augeas, None).changed
    assert tree.read(DROP_IN) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/default/grub", "not a GRUB as Debian configures it"),
        ("/usr/sbin/grub-mkconfig", "not a GRUB as Debian configures it"),
        ("/boot/grub/grub.cfg", "no /boot/grub/grub.cfg"),
    ],
)
def test_another_boot_loader_is_told_and_left_alone(tree: Tree, augeas: Any, path: str, said: str) -> None:
    tree.remove(path)
    before = tree.files()
    assert said in read_loader(tree, augeas).problem
    with pytest.raises(NotPossible, match=said):
        change_to(tree, augeas, OURS)
    assert not change_to(tree, augeas, None).changed  # nothing of ours is there
    assert tree.files() == before


def test_a_mkconfig_that_reads_no_drop_ins_and_one_without_update_grub(tree: Tree, augeas: Any) -> None:
    tree.remove("/usr/sbin/update-grub")
    assert read_loader(tree, augeas).regenerate == ("/usr/sbin/grub-mkconfig", "-o", "/boot/grub/grub.cfg")
    tree.put("/usr/sbin/grub-mkconfig", ". ${sysconfdir}/default/grub\n")
    assert "does not read /etc/default/grub.d" in read_loader(tree, augeas).problem


def test_a_menu_that_cannot_be_followed_is_a_problem_not_a_crash(tree: Tree, augeas: Any) -> None:
    tree.put("/boot/grub/grub.cfg", "blscfg\n")
    state = read_loader(tree, augeas)
    assert state.boot_arguments is None
    assert state.kind == ""
    with pytest.raises(NotPossible, match="made by `blscfg`"):
        change_to(tree, augeas, OURS)


def test_a_host_with_nothing_on_it(tmp_path: Path) -> None:
    state = read_loader(RealSystem(str(tmp_path)), None)
    assert state.kind == ""
    assert state.foreign == ()
    assert state.boot_arguments is None


def test_a_command_line_that_is_too_long(tree: Tree, augeas: Any) -> None:
    state = read_loader(tree, augeas)
    room = 2047 - len(state.command_line) - len(f" {OURS[0]} ")
    assert len(change_to(tree, augeas, (OURS[0], "x" * room)).arguments) == 7
    assert len(read_loader(tree, augeas).command_line) == 2047
    with pytest.raises(NotPossible, match="would be 2048 bytes long, the kernel reads 2047"):
        change_to(tree, augeas, (OURS[0], "x" * (room + 1)))


def test_arguments_behind_two_dashes_would_not_be_read(tree: Tree, augeas: Any) -> None:
    tree.put("/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet -- rescue"\n')
    tree.run(["/usr/sbin/update-grub"])
    with pytest.raises(NotPossible, match="the kernel reads no argument behind it"):
        change_to(tree, augeas, OURS)


@pytest.mark.parametrize(
    "wanted",
    [(), ("memmap=1G%5G-1+2",), ("carveout.layout=x",), (*OURS, OTHER[0]), (*OURS, "--"), (*OURS, "")],
)
def test_lists_that_no_layout_has(tree: Tree, augeas: Any, wanted: Sequence[str]) -> None:
    with pytest.raises(InvalidInput):
        change_to(tree, augeas, wanted)
    assert tree.read(DROP_IN) is None


def test_foreign_memory_arguments_are_found_where_they_stand(tree: Tree, augeas: Any) -> None:
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
    tree.run(["/usr/sbin/update-grub"])
    change_to(tree, augeas, OURS)
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
    assert list(read_loader(tree, augeas).foreign) == expected
    without = [ForeignArgument(argument.argument, "", 0) for argument in expected]
    assert list(read_loader(tree, None).foreign) == without


def test_what_layouts_stored_on_the_host_brought_is_ours(tree: Tree, augeas: Any) -> None:
    tree.put("/etc/default/grub.d/x.cfg", f'GRUB_CMDLINE_LINUX_DEFAULT="{" ".join(OURS)} mem=8G"\n')
    tree.run(["/usr/sbin/update-grub"])
    assert read_loader(tree, augeas).foreign == ()  # nobody knows where ours ends
    tree.put("/etc/carveout/layouts/a.json", json.dumps({"kernel_arguments": OURS}))
    tree.put("/etc/carveout/layouts/b.json", "[")
    tree.put("/etc/carveout/layouts/c.json", '{"kernel_arguments": [1]}')
    state = read_loader(tree, augeas)
    assert state.stored == (OURS,)
    assert state.foreign == (ForeignArgument("mem=8G", "/etc/default/grub.d/x.cfg", 1),)


@pytest.mark.parametrize("foreign", [[], ["mem=8G"], ["mem=8G", "nosmt"]])
def test_a_stale_run_of_unknown_length_goes_and_what_follows_it_stays(
    tree: Tree, augeas: Any, foreign: list[str]
) -> None:
    # generated for a layout whose drop-in and file are gone
    rest = " ".join(foreign)
    tree.put(
        "/etc/default/grub.d/zzz.cfg", f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {rest}"\n'
    )
    tree.run(["/usr/sbin/update-grub"])
    change_to(tree, augeas, OTHER)
    tree.remove(DROP_IN)
    change_to(tree, augeas, OURS)
    assert (read_loader(tree, augeas).boot_arguments or ())[4:] == ("splash", *OURS, *foreign)


def test_unreadable_files_are_a_problem_not_a_crash(tree: Tree, augeas: Any) -> None:
    shutil.rmtree(tree.root / "etc/default/grub.d")
    (tree.root / "boot/grub/grub.cfg").unlink()
    (tree.root / "boot/grub/grub.cfg").mkdir()
    state = read_loader(tree, augeas)
    assert state.problem.startswith("/boot/grub/grub.cfg: ")
    with pytest.raises(NotPossible):
        change_to(tree, augeas, OURS)


def test_the_other_python_binding_works_too(tree: Tree) -> None:
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
    checkout = str(Path(__file__).resolve().parents[2])
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
