# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changing hosts that boot by entry files: what is written, read back, put back and refused."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.grubenv import variables_of
from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)

OURS = ("carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "dax_hmem.region_idle=1")
OTHER = ("carveout.layout=fedcba9876543210", "memmap=2G%5G-1+2")
TEXT = " ".join(OURS)
NEW, OLD = "5.14.0-427.el9.x86_64", "5.14.0-362.el9.x86_64"
ENTRIES = "/boot/loader/entries"
ID = "0123456789abcdef0123456789abcdef"
ENVIRONMENT = "/boot/grub2/grubenv"


def test_every_entry_but_the_rescue_entry_and_what_later_kernels_inherit(rhel9: Any) -> None:
    untouched = rhel9.files()
    change = rhel9.change_to(OURS)
    assert change.actions == [
        "write /etc/default/grub",
        "write /etc/kernel/cmdline",
        f"write {ENTRIES}/{ID}-{NEW}.conf",
        f"write {ENTRIES}/{ID}-{OLD}.conf",
    ]
    for release in (NEW, OLD):
        assert rhel9.options(release) == (
            f"root=/dev/mapper/rhel-root ro crashkernel=1G-4G:192M rhgb  quiet $tuned_params {TEXT}"
        )
    assert rhel9.options("0-rescue") == "root=/dev/mapper/rhel-root ro"
    assert rhel9.read("/etc/kernel/cmdline") == (
        f"root=/dev/mapper/rhel-root ro crashkernel=1G-4G:192M rhgb  quiet  {TEXT}\n"
    )
    assert f'\nGRUB_CMDLINE_LINUX="crashkernel=1G-4G:192M rhgb  quiet {TEXT}"\n' in rhel9.read(
        "/etc/default/grub"
    )

    state = rhel9.state()
    assert (state.kind, state.problem, state.kernel, state.owned) == ("grub-bls", "", NEW, OURS)
    assert state.boot_arguments == change.arguments == (
        "root=/dev/mapper/rhel-root", "ro", "crashkernel=1G-4G:192M", "rhgb", "quiet", "skew_tick=1", "nosmt", *OURS,
    )  # fmt: skip
    assert [part["before_header"] for part in change.diff][-1].startswith("boot entry Linux (5.14")

    again = rhel9.change_to(OURS)
    assert (again.changed, again.actions) == (False, [])
    rhel9.change_to(None)
    assert rhel9.files() == untouched
    assert not rhel9.change_to(None).changed


def test_a_variable_for_all_entries(rhel8: Any) -> None:
    untouched = rhel8.files()
    change = rhel8.change_to(OURS)
    assert change.actions == ["write /etc/default/grub", f"write {ENVIRONMENT}"]
    block = rhel8.read(ENVIRONMENT)
    assert len(block) == 1024
    assert variables_of(block)["kernelopts"] == (
        f"root=/dev/mapper/rl-root ro crashkernel=auto rd.lvm.lv=rl/root  {TEXT}"
    )
    assert rhel8.state().boot_arguments == (
        "root=/dev/mapper/rl-root", "ro", "crashkernel=auto", "rd.lvm.lv=rl/root", *OURS,
    )  # fmt: skip
    assert not rhel8.change_to(OURS).changed
    rhel8.change_to(None)
    assert rhel8.files() == untouched


def test_another_layout_takes_the_place_of_the_one_before(rhel9: Any) -> None:
    rhel9.change_to(OURS)
    for number, run in enumerate((OURS, OTHER)):
        rhel9.put(f"/etc/carveout/layouts/{number}.json", json.dumps({"kernel_arguments": list(run)}))
    # another tool adds its own behind ours, a memory argument among them, as it may
    path = rhel9.root / f"boot/loader/entries/{ID}-{NEW}.conf"
    path.write_text(path.read_text().replace(TEXT, f"{TEXT} memmap=1M!9G audit=1"))
    rhel9.change_to(OTHER)
    assert rhel9.options(NEW).endswith(f"$tuned_params {' '.join(OTHER)} memmap=1M!9G audit=1")
    assert rhel9.state().boot_arguments[-4:] == (*OTHER, "memmap=1M!9G", "audit=1")
    rhel9.change_to(None)
    assert rhel9.options(NEW).endswith("$tuned_params memmap=1M!9G audit=1")


def test_foreign_arguments_are_told_with_file_and_line(rhel9: Any, rhel8: Any) -> None:
    rhel9.entry(NEW, "root=/dev/vda1 ro $kernelopts hugepages=7 memmap=1G!4G")
    rhel9.environment("boot_success=0", "kernelopts=mem=8G")
    rhel9.change_to(OURS)
    entry = f"{ENTRIES}/{ID}-{NEW}.conf"
    assert [(f.argument, f.file, f.line) for f in rhel9.state().foreign] == [
        ("mem=8G", ENVIRONMENT, 3),
        ("hugepages=7", entry, 5),
        ("memmap=1G!4G", entry, 5),
        ("crashkernel=1G-4G:192M", "", 0),
    ]


def test_reboots_are_asked_for_until_kernel_and_arguments_are_running(rhel9: Any) -> None:
    assert not rhel9.plan(None).reboot_required
    assert rhel9.change_to(OURS).reboot_required
    rhel9.boot()
    assert not rhel9.plan(OURS).reboot_required
    assert rhel9.change_to(OURS, OLD).reboot_required
    rhel9.boot()
    assert not rhel9.plan(OURS, OLD).reboot_required


def test_the_default_kernel_is_chosen_kept_and_given_back(rhel9: Any) -> None:
    untouched = rhel9.files()
    change = rhel9.change_to(OURS, OLD)
    assert change.actions[-1] == f"write {ENVIRONMENT}"
    assert rhel9.state().kernel == OLD
    assert variables_of(rhel9.read(ENVIRONMENT))["saved_entry"] == f"{ID}-{OLD}"
    assert not rhel9.change_to(OURS, OLD).changed
    rhel9.change_to(OURS, NEW)
    assert rhel9.state().kernel == NEW
    rhel9.change_to(None)
    assert rhel9.files() == untouched

    # what somebody else chose since is not taken back
    rhel9.change_to(OURS, OLD)
    newer = "5.14.0-503.el9.x86_64"
    rhel9.entry(newer, "root=/dev/vda1 ro")
    block = rhel9.read(ENVIRONMENT)
    rhel9.put(ENVIRONMENT, block.replace(f"saved_entry={ID}-{OLD}\n", f"saved_entry={ID}-{newer}\n", 1))
    rhel9.change_to(OURS)
    assert rhel9.state().kernel == newer
    assert "carveout" not in rhel9.read(ENVIRONMENT)


def test_a_kernel_without_entry_is_refused_with_those_that_have_one(rhel9: Any) -> None:
    with pytest.raises(NotPossible, match=rf"starts the kernel 6\.1: .*{OLD}, {NEW}\)") as error:
        rhel9.plan(OURS, "6.1")
    assert error.value.problems[0].code == "kernel-without-entry"


def test_a_menu_with_a_fixed_default_is_not_promised_another(rhel9: Any) -> None:
    menu = rhel9.read("/boot/grub2/grub.cfg")
    rhel9.put("/boot/grub2/grub.cfg", menu.replace("${saved_entry}", "0"))
    with pytest.raises(NotPossible, match=f"it starts the kernel {NEW} and not {OLD}"):
        rhel9.change_to(OURS, OLD)


def test_modes_stay(rhel9: Any) -> None:
    path = rhel9.root / f"boot/loader/entries/{ID}-{NEW}.conf"
    path.chmod(0o600)
    rhel9.change_to(OURS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_selinux_labels_stay(rhel9: Any) -> None:
    path, label = rhel9.root / "etc/default/grub", b"system_u:object_r:bootloader_etc_t:s0\0"
    try:
        os.setxattr(path, "security.selinux", label)
    except OSError as error:
        pytest.skip(f"no label can be set here: {error}")
    rhel9.change_to(OURS)
    assert os.getxattr(path, "security.selinux") == label


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device", "x"), KeyboardInterrupt()]
)
def test_whatever_fails_every_file_is_put_back(rhel9: Any, failing: int, fault: BaseException) -> None:
    untouched = rhel9.files()
    change = rhel9.plan(OURS)
    real, calls = rhel9.write_boot, []

    def write(path: str, text: str, mode: int = 0o644) -> None:
        calls.append(path)
        if len(calls) == failing:
            raise fault
        real(path, text, mode)

    rhel9.write_boot = write
    with pytest.raises((CarveoutError, KeyboardInterrupt)) as error:
        rhel9.change_to(OURS)
    assert isinstance(error.value, KeyboardInterrupt) or "Every file was put back" in str(error.value)
    assert rhel9.files() == untouched
    assert change.changed


@pytest.mark.parametrize("written", [1, 2, 3])
@pytest.mark.parametrize("wanted", [OURS, None])
def test_a_run_that_was_killed_is_finished_by_the_next(rhel9: Any, written: int, wanted: Any) -> None:
    if wanted is None:
        rhel9.change_to(OURS)
    before = rhel9.files()
    change = rhel9.plan(wanted)
    rhel9.change_to(wanted)
    finished = rhel9.files()
    for path, data in before.items():
        Path(path).write_bytes(data)
    for edit in change.files[:written]:
        rhel9.write(edit.path, edit.after, edit.mode)
    assert rhel9.change_to(wanted).changed
    assert rhel9.files() == finished


def test_a_change_that_others_undo_meanwhile_is_noticed(rhel9: Any) -> None:
    real = rhel9.write_boot

    def write(path: str, text: str, mode: int = 0o644) -> None:
        real(path, text.replace(" rhgb", "") if NEW in path else text, mode)

    rhel9.write_boot = write
    with pytest.raises(CarveoutError, match="its other arguments changed: rhgb gone"):
        rhel9.change_to(OURS)


REFUSED = {
    "rescue": ("saved", "0-rescue", r"the rescue entry: it stays without reservations"),
    "ostree": ("options", "ostree=/ostree/boot.1/x root=UUID=1", "rpm-ostree kargs"),
    "two lines": ("options", "ro\noptions quiet", "has 2 lines `options`"),
    "no line": ("options", "\n", "has no lines `options`"),
    "kernelopts": ("options", "$kernelopts", "which /boot/grub2/grubenv does not hold"),
    "append": (
        "defaults",
        'GRUB_CMDLINE_LINUX+=" x"\n',
        "line 7: GRUB_CMDLINE_LINUX has to be assigned once",
    ),
    "ended": ("options", "ro -- single", "holds `--`"),
    "no menu entry": ("saved", "uefi-firmware", "starts no Linux kernel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_before_anything_is_written(rhel9: Any, name: str) -> None:
    kind, value, message = REFUSED[name]
    if kind == "saved":
        rhel9.environment(f"saved_entry={ID}-{value}" if value == "0-rescue" else f"saved_entry={value}")
    elif kind == "options":
        rhel9.entry(NEW, value)
    else:
        rhel9.put("/etc/default/grub", rhel9.read("/etc/default/grub") + value)
    before = rhel9.files()
    with pytest.raises(NotPossible, match=message):
        rhel9.change_to(OURS)
    assert rhel9.files() == before
    assert not rhel9.change_to(None).changed


def test_folders_that_may_not_be_read_are_a_problem_and_no_exception(rhel9: Any) -> None:
    def listdir(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    rhel9.listdir = listdir
    assert rhel9.state().boot_arguments is None
    with pytest.raises(NotPossible, match=r"the menu is empty|starts no Linux kernel"):
        rhel9.change_to(OURS)


def test_a_full_environment_block_is_refused(rhel8: Any) -> None:
    many = [f"memmap=1G%{number}G-1+0xefffffff" for number in range(5, 40)]
    with pytest.raises(NotPossible, match="has room for 1024 bytes, with kernelopts as it has to be"):
        rhel8.change_to([OURS[0], *many])


def test_a_dollar_is_refused_in_entries_and_passes_in_a_variable(rhel9: Any, rhel8: Any) -> None:
    for host in (rhel9, rhel8):
        with pytest.raises(NotPossible, match="takes what follows the \\$ for a variable's name"):
            host.change_to([OURS[0], "memmap=1G$5G"])
    (rhel8.root / "etc/default/grub").unlink()
    rhel8.change_to([OURS[0], "memmap=1G$5G"])
    assert rhel8.state().boot_arguments[-2:] == (OURS[0], "memmap=1G$5G")
    assert f" {OURS[0]} 'memmap=1G$5G'\n" in rhel8.read(ENVIRONMENT)
    assert not rhel8.change_to([OURS[0], "memmap=1G$5G"]).changed


def test_what_is_no_layout_is_no_argument_list(rhel9: Any) -> None:
    with pytest.raises(InvalidInput):
        rhel9.plan(["memmap=1G!4G"])


def test_uefi_with_the_menu_on_the_efi_partition(rhel8: Any) -> None:
    efi = "/boot/efi/EFI/redhat"
    for name in ("grub.cfg", "grubenv"):
        rhel8.put(f"{efi}/{name}", rhel8.read(f"/boot/grub2/{name}"))
        (rhel8.root / "boot/grub2" / name).unlink()
    (rhel8.root / "boot/grub2/grubenv").symlink_to("../efi/EFI/redhat/grubenv")
    (rhel8.root / "etc/grub2-efi.cfg").symlink_to("../boot/efi/EFI/redhat/grub.cfg")
    (rhel8.root / "sys/firmware/efi/efivars").mkdir(parents=True)
    untouched = rhel8.files()
    assert rhel8.change_to(OURS).actions[-1] == f"write {efi}/grubenv"
    assert rhel8.state().boot_arguments[-3:] == OURS
    assert (rhel8.root / "boot/grub2/grubenv").is_symlink()
    rhel8.change_to(None)
    assert rhel8.files() == untouched


# What the shell script of grubby (EL 8 and 9, its functions update_args and set_bls_value, run in bash) made of options
# with our run in them: arguments of the call, our run before, the text behind `ro` afterwards, and whose is what then.
GRUBBY = [
    ("--args=quiet audit=1", f"{OURS[0]} {OURS[1]} quiet audit=1", "quiet audit=1"),
    ("--args=memmap=1G!4G", f"{OURS[0]} memmap=1G!4G", "memmap=1G!4G"),
    ("--remove-args=memmap", OURS[0], ""),
    # a regular expression to grubby, in which `+` does not mean itself
    (f"--remove-args={OURS[1]}", f"{OURS[0]} {OURS[1]}", ""),
]


@pytest.mark.parametrize(("call", "left", "others"), GRUBBY)
def test_what_grubby_leaves_of_ours_is_found_and_mended(
    rhel9: Any, call: str, left: str, others: str
) -> None:
    ours = OURS[:2]
    rhel9.put("/etc/carveout/layouts/a.json", json.dumps({"kernel_arguments": list(ours)}))
    rhel9.entry(NEW, "root=/dev/vda1 ro")
    rhel9.change_to(ours)
    path = f"{ENTRIES}/{ID}-{NEW}.conf"
    rhel9.put(path, rhel9.read(path).replace(" ".join(ours), left))
    again = rhel9.change_to(ours)
    assert again.changed == (left[: len(" ".join(ours))] != " ".join(ours)), call
    assert rhel9.options(NEW) == " ".join(["root=/dev/vda1 ro", *ours, others]).rstrip()
    assert not rhel9.change_to(ours).changed
    rhel9.change_to(None)
    assert rhel9.options(NEW) == f"root=/dev/vda1 ro {others}".rstrip()
