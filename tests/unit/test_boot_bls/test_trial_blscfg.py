# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trial boots through GRUB with entry files: what it boots next, and after that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._boot import bls
from ansible_collections.carveout.memory.plugins.module_utils._boot.bls_files import TRIAL_ID, Files
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import BootEntry
from ansible_collections.carveout.memory.plugins.module_utils._boot.grubenv import (
    variables_of,
    with_variable,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial import (
    begin,
    end,
    leftovers,
    plan_trial,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_blscfg import ENTRY
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_switch import UNIT
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed

from .conftest import ID, MENU, Host

OURS = ["carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff"]
OTHERS = ["carveout.layout=00000000000000ff", "memmap=2G%5G-1+0xefffffff"]
EXTRA = ["panic=30"]
GRUBENV = "/boot/grub2/grubenv"
#: What menus of Fedora have around their entries: counting boots, hiding the menu after a good one.
COUNTING = """\
insmod increment
if [ -n "${boot_counter}" -a "${boot_success}" = "0" ]; then
  if [ "${boot_counter}" = "0" -o "${boot_counter}" = "-1" ]; then
    set default=1
    set boot_counter=-1
  else
    decrement boot_counter
  fi
  save_env boot_counter
fi
"""
HIDING = """\
if [ "${boot_success}" = "1" -o "${boot_indeterminate}" = "1" ]; then
  set menu_hide_ok=1
else
  set menu_hide_ok=0
fi
set boot_success=0
save_env boot_success boot_indeterminate
if [ x$feature_timeout_style = xy ] ; then
  if [ "${menu_show_once}" ]; then
    unset menu_show_once
    save_env menu_show_once
    set timeout_style=menu
    set timeout=60
  elif [ "${menu_auto_hide}" -a "${menu_hide_ok}" = "1" ]; then
    set timeout_style=hidden
    set timeout=1
  fi
fi
"""
FEDORA = MENU.replace("insmod blscfg\n", COUNTING + "insmod blscfg\n") + HIDING


def answering(host: Host, monkeypatch: pytest.MonkeyPatch, **answers: Completed) -> list[list[str]]:
    """The host's programs: what GRUB says of its environment, and systemctl; the calls, as they come."""
    ran: list[list[str]] = []

    def run(argv: Sequence[str]) -> Completed:
        ran.append(list(argv))
        target = argv[1].partition("=")[2]
        return answers.get(target, Completed(0, "xfs\n" if target == "fs" else "", ""))

    monkeypatch.setattr(host, "run", run)
    return ran


@pytest.fixture(params=["rhel8", "rhel9", "fedora"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Host:
    found: Host = request.getfixturevalue("rhel9" if request.param == "fedora" else request.param)
    if request.param == "fedora":
        found.put("/boot/grub2/grub.cfg", FEDORA)
    answering(found, monkeypatch)
    return found


def boot(host: Host) -> BootEntry:
    """What GRUB boots; it takes the choice of one boot back."""
    entry = bls.next_boot(host, "/boot/grub2/grub.cfg", Files(host), trial=True)
    text = host.read(GRUBENV) or ""
    if variables_of(text).get("next_entry"):
        host.put(GRUBENV, with_variable(GRUBENV, text, "next_entry", None))
    host.put("/proc/cmdline", entry.command_line + "\n")
    return entry


def test_one_boot_has_the_arguments_and_the_next_has_not(host: Host) -> None:
    before, state = host.files(), host.state()
    trial = plan_trial(host, OURS, EXTRA, 900)
    assert host.files() == before
    assert trial.actions == [f"write {UNIT}", f"write {ENTRY}", f"write {GRUBENV}"]
    begin(host, trial)
    # nobody else takes notice: neither the default nor the places for later kernels
    assert host.state() == state
    assert not plan_trial(host, OURS, EXTRA, 900).changed
    entry = boot(host)
    assert entry.id == TRIAL_ID and entry.kernel == state.kernel
    assert (
        split(entry.arguments)
        == list(trial.arguments)
        == [*(state.boot_arguments or ()), *OURS, "carveout.trial", *EXTRA]
    )
    # whatever ends it
    assert boot(host).command_line == state.command_line
    end(host)
    assert host.files() == before and not leftovers(host)


def test_the_entry_is_a_copy_with_another_title(rhel9: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(rhel9, monkeypatch)
    begin(rhel9, plan_trial(rhel9, OURS, EXTRA, 900))
    release = "5.14.0-427.el9.x86_64"
    assert rhel9.read(ENTRY) == (
        "# Written by Carveout for one trial boot; gone when it is over.\n"
        "title Carveout: trial of layout 0123456789abcdef\n"
        f"version {release}\nlinux /vmlinuz-{release}\ninitrd /initramfs-{release}.img $tuned_initrd\n"
        "options root=/dev/mapper/rhel-root ro crashkernel=1G-4G:192M rhgb  quiet $tuned_params"
        f" {' '.join(OURS)} carveout.trial panic=30\n"
        "grub_users $grub_users\ngrub_arg --unrestricted\ngrub_class rhel\n"
    )


def test_from_one_layout_to_another_and_permanent_for_later_kernels_too(host: Host) -> None:
    host.change_to(OTHERS)
    trial = plan_trial(host, OURS, EXTRA, 900)
    assert not set(OTHERS) & set(trial.arguments)
    begin(host, trial)
    assert boot(host).id == TRIAL_ID
    # verified: the places of all kernels, and nothing of the trial
    host.change_to(OURS)
    end(host)
    assert leftovers(host) == []
    entry = boot(host)
    assert set(OURS) <= set(split(entry.arguments)) and "carveout.trial" not in entry.arguments
    texts = [text.decode() for path, text in host.files().items() if "grub.cfg" not in path]
    assert not [text for text in texts if "carveout.trial" in text or OTHERS[0] in text]
    line = host.read("/etc/kernel/cmdline")
    assert line is None or " ".join(OURS) in line


def test_another_kernel_on_trial(rhel9: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(rhel9, monkeypatch)
    default = rhel9.state().kernel
    begin(rhel9, plan_trial(rhel9, OURS, EXTRA, 900, kernel="5.14.0-362.el9.x86_64"))
    assert boot(rhel9).kernel == "5.14.0-362.el9.x86_64"
    assert boot(rhel9).kernel == default


@pytest.mark.parametrize("name", ["a0000000000000000000000000000000", ID, "fedora", "~older"])
def test_it_is_never_the_first_of_the_menu(rhel9: Host, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where no default is chosen, GRUB boots the first; machine IDs begin with letters, too."""
    answering(rhel9, monkeypatch)
    rhel9.environment("boot_success=0")
    for path in (rhel9.root / "boot/loader/entries").iterdir():
        path.rename(path.with_name(path.name.replace(ID, name)))
    default = rhel9.state().entry
    begin(rhel9, plan_trial(rhel9, OURS, EXTRA, 900))
    assert boot(rhel9).id == TRIAL_ID
    assert boot(rhel9).title == default


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"/boot/grub2/grub.cfg": MENU.replace("save_env next_entry", "true")}, "knows no choice for one boot only"),
        # greenboot has counted to its end: the second entry boots, whatever is chosen
        ({GRUBENV: "boot_counter=0\nboot_success=0\nsaved_entry=x"}, "does not heed the choice for one boot"),
        ({GRUBENV: f"next_entry={ID}-5.14.0-362.el9.x86_64"}, "has another entry chosen for the next boot"),
        ({"/boot/grub2/grub.cfg": "blscfg\nblscfg2"}, "knows no choice for one boot only"),
        ({"/etc/default/grub": "GRUB_CMDLINE_LINUX=$(cat /x)\n"}, "has to be assigned once and as one text"),
    ],
)  # fmt: skip
def test_what_makes_a_trial_impossible_is_said(
    rhel9: Host, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], said: str
) -> None:
    answering(rhel9, monkeypatch)
    rhel9.put("/boot/grub2/grub.cfg", FEDORA)
    for path, text in files.items():
        if path == GRUBENV:
            rhel9.environment(*text.split("\n"))
        else:
            rhel9.put(path, text)
    before = rhel9.files()
    with pytest.raises(NotPossible) as caught:
        plan_trial(rhel9, OURS, EXTRA, 900)
    assert said in str(caught.value) and caught.value.problems[0].path == "policy.trial_boot"
    assert rhel9.files() == before


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"abstraction": Completed(0, "lvm\n", "")}, "lies on lvm"),
        ({"fs": Completed(0, "btrfs\n", "")}, "is in a file system of type btrfs"),
        ({"fs": Completed(127, "", "no such file")}, "own grub2-probe cannot tell"),
    ],
)
def test_where_grub_cannot_write(
    rhel9: Host, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Completed], said: str
) -> None:
    answering(rhel9, monkeypatch, **answers)
    rhel9.put("/usr/sbin/grub2-probe", "")
    with pytest.raises(NotPossible, match=said):
        plan_trial(rhel9, OURS, EXTRA, 900)


def test_a_dollar_arrives_in_no_entry(rhel8: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(rhel8, monkeypatch)
    with pytest.raises(NotPossible, match=r"takes what follows the \$ for a variable's name"):
        plan_trial(rhel8, [OURS[0], "memmap=1G$5G"], EXTRA, 900)
    rhel8.environment("kernelopts=root=/dev/mapper/rl-root 'a=$b'")
    # nor can what others have there with one
    with pytest.raises(NotPossible, match=r"holds a `\$`"):
        plan_trial(rhel8, OURS, EXTRA, 900)


def test_arguments_behind_two_dashes_are_not_the_kernels(
    rhel9: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(rhel9, monkeypatch)
    release = "5.14.0-427.el9.x86_64"
    rhel9.entry(release, f"ro {' '.join(OTHERS)} -- init=x")
    trial = plan_trial(rhel9, OURS, EXTRA, 900)
    assert list(trial.arguments) == ["ro", *OURS, "carveout.trial", "panic=30", "--", "init=x"]


def test_a_write_that_fails_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = host.files(), host.write_boot

    def failing(path: str, text: str, mode: int = 0o644) -> None:
        if path == GRUBENV:
            raise OSError(28, "No space left on device", path)
        write(path, text, mode)

    trial = plan_trial(host, OURS, EXTRA, 900)
    monkeypatch.setattr(host, "write_boot", failing)
    with pytest.raises(CarveoutError, match="No space left on device; nothing of the trial was left"):
        begin(host, trial)
    assert host.files() == before


def test_the_choice_of_others_stays(rhel9: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(rhel9, monkeypatch)
    begin(rhel9, plan_trial(rhel9, OURS, EXTRA, 900))
    text: Any = rhel9.read(GRUBENV)
    rhel9.put(GRUBENV, with_variable(GRUBENV, text, "next_entry", "others"))
    end(rhel9)
    assert variables_of(rhel9.read(GRUBENV) or "")["next_entry"] == "others"
