# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trial boots through systemd-boot: what it boots next, and after that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.bls_files import Files
from ansible_collections.carveout.memory.plugins.module_utils._boot.sdboot import (
    ONE_SHOT,
    TRIAL_FILE,
    VARIABLE,
    entries_of,
    next_path,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial import (
    begin,
    end,
    leftovers,
    plan_trial,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_switch import UNIT
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed

from .test_sdboot import ENTRIES, entry, variable
from .test_sdboot import host as host_of_entries

OURS = ["carveout.layout=0123456789abcdef", "memmap=1G$5G", 'x="a b"']
OTHERS = ["carveout.layout=00000000000000ff", "memmap=2G%5G-1+0xefffffff"]
EXTRA = ["panic=30"]
ENTRY = f"{ENTRIES}/{TRIAL_FILE}"
ENTRY_ARGUMENTS = "root=UUID=1  ro quiet"
MOUNT = "efivarfs /sys/firmware/efi/efivars efivarfs {} 0 0\n"

__all__ = ["host_of_entries"]


@pytest.fixture
def host(host_of_entries: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that can choose an entry for one boot; its bootctl sets the variable as the real one does."""
    found = host_of_entries
    (found.root / VARIABLE.format("LoaderFeatures").lstrip("/")).write_bytes(
        b"\6\0\0\0" + bytes([0x7F]) + bytes(7)
    )
    found.put("/proc/mounts", "/dev/sda1 /efi vfat rw 0 0\n" + MOUNT.format("rw,nosuid"))
    found.put("/usr/bin/bootctl", "")
    found.ran = []

    def run(argv: Sequence[str]) -> Completed:
        found.ran.append(list(argv))
        if list(argv[:2]) == ["bootctl", "set-oneshot"]:
            set_variable(found, ONE_SHOT, argv[2])
        return Completed(0, "", "")

    monkeypatch.setattr(found, "run", run)
    return found


def set_variable(host: Any, name: str, value: str) -> None:
    if value:
        variable(host, name, value)
    else:
        (host.root / VARIABLE.format(name).lstrip("/")).unlink(missing_ok=True)


def boot(host: Any) -> str:
    """The path of the entry that systemd-boot boots; it takes the choice of one boot back first."""
    files = Files(host)
    entries = entries_of(host, files, trial=True)
    path = next_path(host, files, entries)
    set_variable(host, ONE_SHOT, "")
    options = " ".join(value for name, value in entries[path].file.fields if name == "options")
    host.put("/proc/cmdline", f"initrd=x {options}\n")
    return path


def test_one_boot_has_the_arguments_and_the_next_has_not(host: Any) -> None:
    before, state = host.files(), host.state()
    trial = plan_trial(host, OURS, EXTRA, 900)
    assert host.files() == before
    choice = VARIABLE.format(ONE_SHOT)
    assert trial.actions == [f"write {UNIT}", f"write {ENTRY}", f"write {choice}"]
    begin(host, trial)
    assert ["bootctl", "set-oneshot", TRIAL_FILE] in host.ran
    # nobody else takes notice: neither the default nor the places for later kernels
    assert host.state() == state
    assert not plan_trial(host, OURS, EXTRA, 900).changed
    assert boot(host) == ENTRY
    assert list(trial.arguments) == [*state.boot_arguments, *OURS, "carveout.trial", *EXTRA]
    # whatever ends it
    assert boot(host) == f"{ENTRIES}/m-6.12.107.conf"
    end(host)
    assert host.files() == before and not leftovers(host)


def test_the_entry_is_a_copy_without_a_sort_key(host: Any) -> None:
    begin(host, plan_trial(host, OURS, EXTRA, 900))
    assert host.read(ENTRY) == (
        "# Written by Carveout for one trial boot; gone when it is over.\n"
        "title Carveout: trial of layout 0123456789abcdef\n"
        f"version    6.12.107\nmachine-id m\noptions    {ENTRY_ARGUMENTS}  {' '.join(OURS)} carveout.trial panic=30\n"
        "linux      /m/6.12.107/linux\ninitrd     /m/6.12.107/initrd.img\n"
    )


def test_a_trial_that_did_not_boot_is_taken_back(host: Any) -> None:
    before = host.files()
    begin(host, plan_trial(host, OURS, EXTRA, 900))
    end(host)
    assert host.files() == before
    assert ["bootctl", "set-oneshot", ""] in host.ran


def test_verified_it_becomes_permanent_for_later_kernels_too(host: Any) -> None:
    host.change_to(OTHERS)
    begin(host, plan_trial(host, OURS, EXTRA, 900))
    boot(host)
    host.change_to(OURS)
    end(host)
    texts = [host.read("/etc/kernel/cmdline"), *(host.read(f"{ENTRIES}/m-6.12.{n}.conf") for n in (90, 107))]
    assert all(" ".join(OURS) in text and "carveout.trial" not in text for text in texts)
    assert leftovers(host) == []


@pytest.mark.parametrize("default", ["", "@saved", "m-6.12.9*", "*"])
@pytest.mark.parametrize("counted", ["", "+3", "+0-3"])
def test_the_default_stays_whatever_chooses_it(host: Any, default: str, counted: str) -> None:
    if default == "@saved":
        variable(host, "LoaderEntryLastBooted", "m-6.12.90.conf")
    if default:
        variable(host, "LoaderEntryDefault", default)
    if counted:
        path = host.root / ENTRIES.lstrip("/") / "m-6.12.107.conf"
        path.rename(path.with_name(f"m-6.12.107{counted}.conf"))
    entries = entries_of(host, Files(host))
    before = next_path(host, Files(host), entries)
    begin(host, plan_trial(host, OURS, EXTRA, 900))
    assert boot(host) == ENTRY
    assert boot(host) == before


def test_where_no_entry_has_a_sort_key_the_trial_may_not_be_the_first(host: Any) -> None:
    for release in ("6.12.90", "6.12.107"):
        entry(host, f"m-{release}.conf", release)
    begin(host, plan_trial(host, OURS, EXTRA, 900))
    assert [boot(host), boot(host)] == [ENTRY, f"{ENTRIES}/m-6.12.107.conf"]
    end(host)
    for release in ("6.12.90", "6.12.107"):
        (host.root / ENTRIES.lstrip("/") / f"m-{release}.conf").rename(
            host.root / ENTRIES.lstrip("/") / f"a-{release}.conf"
        )
    before = host.files()
    with pytest.raises(
        NotPossible, match=r"carveout-trial\.conf would be the default; choose the default by"
    ):
        plan_trial(host, OURS, EXTRA, 900)
    assert host.files() == before
    variable(host, "LoaderEntryDefault", "a-6.12.107.conf")
    begin(host, plan_trial(host, OURS, EXTRA, 900))


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("/proc/mounts", MOUNT.format("ro,nosuid"), "cannot be written, so systemd-boot cannot be told"),
        ("/proc/mounts", "", "cannot be written, so systemd-boot cannot be told"),
        ("/usr/bin/bootctl", None, "the program bootctl is missing"),
        (VARIABLE.format("LoaderFeatures"), None, "knows no choice for one boot only"),
        (
            VARIABLE.format("LoaderFeatures"),
            "\6\0\0\0\x77\0\0\0\0\0\0\0",
            "knows no choice for one boot only",
        ),
        (VARIABLE.format(ONE_SHOT), "\6\0\0\0o\0\0\0", "another entry is chosen for the next boot, o"),
        ("/efi/EFI/Linux/a.efi", "", "is a unified kernel image"),
    ],
)
def test_what_makes_a_trial_impossible_is_said(host: Any, path: str, text: str | None, said: str) -> None:
    if text is None:
        host.remove(path)
    else:
        host.put(path, text)
    before = host.files()
    with pytest.raises(NotPossible) as caught:
        plan_trial(host, OURS, EXTRA, 900)
    assert said in str(caught.value) and caught.value.problems[0].path == "policy.trial_boot"
    assert host.files() == before


def test_firmware_that_refuses_the_choice_leaves_nothing(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: Sequence[str]) -> Completed:
        if argv[0] == "bootctl":
            return Completed(1, "", "Failed to update EFI variable: No space left on device\n")
        return Completed(0, "", "")

    before = host.files()
    monkeypatch.setattr(host, "run", run)
    with pytest.raises(
        CarveoutError, match=r"`bootctl set-oneshot carveout-trial\.conf` failed: .*No space left"
    ):
        begin(host, plan_trial(host, OURS, EXTRA, 900))
    assert host.files() == before


def test_a_bootctl_that_does_nothing_is_noticed(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host.files()
    monkeypatch.setattr(host, "run", lambda argv: Completed(0, "", ""))
    with pytest.raises(CarveoutError, match=r"m-6\.12\.107\.conf would boot next with .*, not the trial"):
        begin(host, plan_trial(host, OURS, EXTRA, 900))
    assert host.files() == before


@pytest.mark.parametrize("wanted", [OURS, OTHERS, None])
def test_a_kernel_installed_during_a_trial_inherits_nothing_of_it(
    host: Any, wanted: list[str] | None
) -> None:
    """Without /etc/kernel/cmdline kernel-install takes the running command line, be it a verified trial's."""
    host.remove("/etc/kernel/cmdline")
    untouched = host.files()
    begin(host, plan_trial(host, OURS, EXTRA, 900))
    boot(host)
    host.change_to(OURS)
    end(host)
    running = " ".join(host.read("/proc/cmdline").split()[1:])
    entry(host, "m-6.12.200.conf", "6.12.200", running, "sort-key debian\n")
    entry(host, "m-6.12.150.conf", "6.12.150", f"{running} systemd.machine_id=m", "sort-key debian\n")
    assert "carveout.trial" in (host.state().boot_arguments or ())
    change = host.change_to(wanted)
    assert change.changed and not host.change_to(wanted).changed
    ours = f" {' '.join(wanted)}" if wanted else ""
    assert f"options    root=UUID=1 ro quiet{ours} \n" in host.read(f"{ENTRIES}/m-6.12.200.conf")
    assert f"root=UUID=1 ro quiet{ours} systemd.machine_id=m \n" in host.read(f"{ENTRIES}/m-6.12.150.conf")
    if wanted is None:
        for release in ("200", "150"):
            host.remove(f"{ENTRIES}/m-6.12.{release}.conf")
        assert host.files() == untouched
