# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing the boot entry: what is written, read back, put back and refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN
from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed

OURS = ("carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "dax_hmem.region_idle=1")
#: How a menu is generated, and the steps that are told of it.
MKCONFIG = ["/usr/sbin/grub-mkconfig", "-o", "/run/carveout/grub.cfg"]
GENERATE = [f"run {' '.join(MKCONFIG)}", "write /boot/grub/grub.cfg"]
OTHER = ("carveout.layout=fedcba9876543210", "memmap=2G%5G-1+2")
DEFAULTS = """\
# how GRUB boots
GRUB_DEFAULT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=ttyS0"
"""


def test_present_again_and_absent_leaves_every_byte_as_it_was(tree: Any) -> None:
    untouched = tree.files()
    change = tree.change_to(OURS)
    assert change.actions == [f"write {DROP_IN}", *GENERATE]
    assert tree.ran == [MKCONFIG]
    state = tree.state()
    assert state.boot_arguments == change.arguments == (
        "root=UUID=1", "ro", "console=ttyS0", "quiet", "splash", *OURS,
    )  # fmt: skip
    assert state.owned == OURS
    assert (tree.root / DROP_IN.lstrip("/")).stat().st_mode & 0o777 == 0o644

    again = tree.change_to(OURS)
    assert (again.changed, again.actions) == (False, [])
    assert tree.ran == [MKCONFIG]
    assert [part["before"] == part["after"] for part in again.diff] == [True, True]

    assert tree.change_to(None).actions == [f"remove {DROP_IN}", *GENERATE]
    assert tree.files() == untouched
    assert tree.change_to(None).actions == []


def test_the_text_of_the_drop_in(tree: Any) -> None:
    tree.change_to((OURS[0], "memmap=1G$5G", '"a b"'))
    assert tree.read(DROP_IN) == (
        "# Written by Carveout: the kernel arguments of this host's memory layout.\n"
        "# Do not edit: changes are lost, and what the layout reserves may be lost with them.\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT carveout.layout=0123456789abcdef'
        " 'memmap=1G\\$5G' 'a b'\"\n"
    )
    state = tree.state()
    assert state.owned == (state.boot_arguments or ())[-3:] == (OURS[0], "memmap=1G$5G", '"a b"')


def test_another_layout_takes_the_place_of_the_one_before(tree: Any) -> None:
    tree.put("/etc/default/grub.d/zzz.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT last"\n')
    tree.run(["/usr/sbin/grub-mkconfig"])
    tree.change_to(OURS)
    assert (tree.state().boot_arguments or ())[-4:] == (*OURS, "last")
    change = tree.change_to(OTHER)
    assert change.state.owned == OURS
    assert (tree.state().boot_arguments or ())[-4:] == ("splash", *OTHER, "last")


def test_reboots_are_asked_for_until_the_running_kernel_has_what_is_wanted(tree: Any) -> None:
    assert not tree.plan(None).reboot_required
    assert tree.change_to(OURS).reboot_required
    assert tree.plan(OURS).reboot_required
    tree.boot()
    assert not tree.plan(OURS).reboot_required
    assert tree.plan(OTHER).reboot_required
    assert tree.change_to(None).reboot_required
    tree.boot()
    assert not tree.plan(None).reboot_required


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
def test_a_run_that_is_not_the_wanted_one_asks_for_a_reboot(tree: Any, running: Sequence[str]) -> None:
    tree.change_to(OURS)
    tree.put("/proc/cmdline", " ".join(["ro", *running, "quiet"]))
    change = tree.plan(OURS)
    assert not change.changed
    assert change.reboot_required


def test_a_menu_that_was_not_generated_from_the_drop_in_is(tree: Any) -> None:
    tree.change_to(OURS)
    text = tree.read(DROP_IN) or ""
    tree.change_to(None)
    tree.write(DROP_IN, text)
    assert tree.change_to(OURS).actions == GENERATE

    tree.remove(DROP_IN)
    assert tree.change_to(None).actions == GENERATE
    assert "carveout" not in (tree.read("/boot/grub/grub.cfg") or "")


def test_an_edited_drop_in_is_written_anew_but_nothing_of_others_in_it_is_dropped(
    tree: Any, augeas: Any
) -> None:
    tree.change_to(OURS)
    text = tree.read(DROP_IN) or ""
    tree.write(DROP_IN, text.replace("0xefffffff", "0xefffffff$(true)"))
    assert tree.change_to(OURS).changed
    assert tree.read(DROP_IN) == text

    tree.write(DROP_IN, text + 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nosmt"\n')
    tree.run(["/usr/sbin/grub-mkconfig"])
    with pytest.raises(CarveoutError, match="its other arguments changed: nosmt gone"):
        tree.change_to(OTHER)
    assert tree.read(DROP_IN) == text + 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nosmt"\n'


def test_a_later_drop_in_that_assigns_is_named_and_everything_put_back(tree: Any) -> None:
    tree.change_to(OTHER)
    tree.put("/etc/default/grub.d/zzz.cfg", '\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n')
    before = tree.read(DROP_IN)
    with pytest.raises(
        CarveoutError,
        match=r"zzz\.cfg, line 2 is read after .* put back as it was, /boot/grub/grub.cfg was not touched",
    ) as error:
        tree.change_to(OURS)
    assert error.value.problems[0].code == "boot-change-failed"
    assert tree.read(DROP_IN) == before


def test_others_edits_that_were_never_generated_are_not_brought_in_by_us(tree: Any) -> None:
    tree.put("/etc/default/grub", DEFAULTS.replace("console=ttyS0", "console=ttyS1 nosmt"))
    menu = tree.read("/boot/grub/grub.cfg")
    with pytest.raises(CarveoutError, match="changed: console=ttyS0 gone, console=ttyS1 nosmt new"):
        tree.change_to(OURS)
    assert tree.read(DROP_IN) is None
    assert "console=ttyS0" in menu
    assert tree.read("/boot/grub/grub.cfg") == menu


def test_a_failing_grub_mkconfig_is_told_and_the_drop_in_taken_back(tree: Any) -> None:
    tree.put("/broken", "")
    with pytest.raises(
        CarveoutError,
        match=r"grub-mkconfig -o /run/carveout/grub.cfg failed with status 1 \(Syntax error at line 3\)",
    ) as error:
        tree.change_to(OURS)
    assert "zz-carveout.cfg was put back as it was, /boot/grub/grub.cfg was not touched" in str(error.value)
    assert tree.read(DROP_IN) is None


def test_output_that_is_not_utf_8_is_no_trouble(tree: Any) -> None:
    script = tree.root / "usr/sbin/grub-mkconfig"
    script.write_text("printf 'Found Windows \\351 on /dev/sda1\\n' >&2\n" + script.read_text())
    tree.change_to(OURS)
    assert (tree.state().boot_arguments or ())[-3:] == OURS
    tree.put("/broken", "")
    with pytest.raises(CarveoutError, match=r"Found Windows \\xe9 on /dev/sda1"):
        tree.change_to(OTHER)


def test_a_saved_entry_that_does_not_get_the_arguments_is_noticed(tree: Any) -> None:
    tree.put("/boot/grub/grubenv", "# GRUB Environment Block\nnext_entry=1>0\n####")
    assert tree.state().entry == "More>Recovery"
    with pytest.raises(
        CarveoutError, match="'More>Recovery' that boots next is not as meant: it does not hold"
    ):
        tree.change_to(OURS)
    assert tree.read(DROP_IN) is None


def test_an_interrupted_change_is_taken_back(tree: Any) -> None:
    change = tree.plan(OURS)
    menu = tree.read("/boot/grub/grub.cfg")
    real, calls = tree.run, []

    def interrupted(argv: Sequence[str]) -> Completed:
        calls.append(argv)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(argv)

    tree.run = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        tree.apply(change)
    assert tree.read(DROP_IN) is None
    assert tree.read("/boot/grub/grub.cfg") == menu


def test_a_command_line_that_is_too_long(tree: Any) -> None:
    state = tree.state()
    room = 2047 - len(state.command_line) - len(f" {OURS[0]} ")
    assert len(tree.change_to((OURS[0], "x" * room)).arguments) == 7
    assert len(tree.state().command_line) == 2047
    with pytest.raises(NotPossible, match="would be 2048 bytes long, the kernel reads 2047"):
        tree.change_to((OURS[0], "x" * (room + 1)))


def test_arguments_behind_two_dashes_would_not_be_read(tree: Any) -> None:
    tree.put("/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet -- rescue"\n')
    tree.run(["/usr/sbin/grub-mkconfig"])
    with pytest.raises(NotPossible, match="the kernel reads no argument behind it"):
        tree.change_to(OURS)


@pytest.mark.parametrize(
    "wanted",
    [(), ("memmap=1G%5G-1+2",), ("carveout.layout=x",), (*OURS, OTHER[0]), (*OURS, "--"), (*OURS, "")],
)
def test_lists_that_no_layout_has(tree: Any, wanted: Sequence[str]) -> None:
    with pytest.raises(InvalidInput):
        tree.change_to(wanted)
    assert tree.read(DROP_IN) is None


@pytest.mark.parametrize("foreign", [[], ["mem=8G"], ["mem=8G", "nosmt"]])
def test_a_stale_run_of_unknown_length_goes_and_what_follows_it_stays(tree: Any, foreign: list[str]) -> None:
    # generated for a layout whose drop-in and file are gone
    rest = " ".join(foreign)
    tree.put(
        "/etc/default/grub.d/zzz.cfg", f'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {rest}"\n'
    )
    tree.run(["/usr/sbin/grub-mkconfig"])
    tree.change_to(OTHER)
    tree.remove(DROP_IN)
    tree.change_to(OURS)
    assert (tree.state().boot_arguments or ())[4:] == ("splash", *OURS, *foreign)


def test_the_default_kernel_is_chosen_in_the_drop_in_and_given_back(tree: Any) -> None:
    tree.put("/proc/sys/kernel/osrelease", "6.12.1-test\n")
    untouched = tree.files()
    tree.change_to(OURS)
    drop_in = tree.read(DROP_IN)
    change = tree.change_to(OURS, "6.1.0-old")
    assert tree.read(DROP_IN) == f"{drop_in}GRUB_DEFAULT='advanced-1>linux-6.1.0-old-advanced-1'\n"
    assert (tree.state().kernel, tree.state().entry) == ("6.1.0-old", "More>Linux 6.1.0-old")
    assert (tree.state().boot_arguments or ())[-3:] == OURS
    tree.boot()
    assert change.reboot_required
    assert tree.plan(OURS, "6.1.0-old").reboot_required
    tree.put("/proc/sys/kernel/osrelease", "6.1.0-old\n")
    again = tree.change_to(OURS, "6.1.0-old")
    assert (again.changed, again.reboot_required) == (False, False)
    tree.change_to(OURS)
    assert tree.read(DROP_IN) == drop_in
    assert tree.state().kernel == "6.12.1-test"
    tree.change_to(None)
    assert tree.files() == untouched


def test_a_default_kernel_that_does_not_boot_next_is_noticed(tree: Any) -> None:
    with pytest.raises(NotPossible, match=r"starts the kernel 5\.4: .*6\.1\.0-old, 6\.12\.1-test\)"):
        tree.plan(OURS, "5.4")
    tree.put("/boot/grub/grubenv", "# GRUB Environment Block\nnext_entry=simple\n####")
    with pytest.raises(CarveoutError, match=r"it starts the kernel 6\.12\.1-test and not 6\.1\.0-old"):
        tree.change_to(OURS, "6.1.0-old")
    assert tree.read(DROP_IN) is None
