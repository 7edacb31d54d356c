# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial boot on a host that is a tree of files: what GRUB boots next, and after that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.grub import ENVIRONMENT, read_loader
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import BootEntry, next_entry
from ansible_collections.carveout.memory.plugins.module_utils._boot.grubenv import variables_of
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial import (
    begin,
    end,
    leftovers,
    plan_trial,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_grub import ENTRIES
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_log import last_words
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_switch import UNIT
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_text import (
    TRIAL_ID,
    entry_block,
    with_block,
    without_block,
)
from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem

OURS = ["carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "x=$a"]
OTHERS = ["carveout.layout=00000000000000ff", "memmap=2G%5G-1+0xefffffff"]
ENV = "# GRUB Environment Block\nsaved_entry=simple\n".ljust(1024, "#")
DATA = Path(__file__).parents[1] / "test_boot_data"
MENU = """\
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
export menuentry_id_option
function load_video {
	insmod all_video
}
menuentry 'Linux' --class debian --unrestricted $menuentry_id_option 'simple' {
	load_video
	savedefault
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	search --no-floppy --fs-uuid --set=root 9dea0115
	echo	'Loading Linux ...'
	linux	/boot/vmlinuz-6.12.1-test root=UUID=1 ro "f=a  b" it\\'s console=ttyS0 quiet
	initrd	/boot/initrd.img-6.12.1-test
}
submenu 'More' --id more {
	menuentry 'Linux 6.1.0-old' --id old {
		linux	/boot/vmlinuz-6.1.0-old root=UUID=1 ro quiet
		initrd	/boot/initrd.img-6.1.0-old
	}
}
"""
CUSTOM = """\
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
fi
"""


class Host(RealSystem):
    """A host below a directory; its grub-probe and systemctl answer what the test wants."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.answers: dict[str, Completed] = {"--target=fs": Completed(0, "ext2\n", "")}
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.ran.append(list(argv))
        return self.answers.get(argv[1], Completed(0, "", ""))

    def boot(self) -> BootEntry:
        """What GRUB boots; it takes the choice of one boot back."""
        entry = next_entry(self.text("/boot/grub/grub.cfg"), self.read)
        environment = variables_of(self.text(ENVIRONMENT))
        if environment.pop("next_entry", ""):
            lines = "".join(f"{name}={value}\n" for name, value in environment.items())
            self.write(ENVIRONMENT, f"# GRUB Environment Block\n{lines}".ljust(1024, "#"))
        self.write("/proc/cmdline", entry.command_line + "\n")
        return entry

    def text(self, path: str) -> str:
        text = self.read(path)
        assert text is not None, path
        return text

    def files(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in self.root.rglob("*") if p.is_file() and "proc" not in p.parts}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    system = Host(tmp_path)
    system.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    system.write("/usr/sbin/grub-mkconfig", "for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n")
    system.write("/boot/grub/grubenv", ENV, 0o640)
    system.write("/boot/grub/grub.cfg", MENU + CUSTOM)
    system.boot()
    return system


def try_out(host: Host, wanted: Sequence[str], *extra: str, kernel: str = "") -> None:
    begin(host, plan_trial(host, wanted, extra or ["panic=30"], 900, kernel))


def test_the_next_boot_is_the_trial_and_the_one_after_it_the_default(host: Host) -> None:
    before, default = host.files(), host.boot()
    planned = plan_trial(host, OURS, ["panic=30"], 900)
    assert planned.actions == [f"write {path}" for path in (UNIT, ENTRIES, ENVIRONMENT)]
    assert host.files() == before
    begin(host, planned)
    assert host.ran[-2:] == [
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "carveout-trial.service"],
    ]
    # what is told of the next boot is the default's: the trial is for one boot only
    assert read_loader(host, None).entry == "Linux"
    assert not plan_trial(host, OURS, ["panic=30"], 900).changed
    entry = host.boot()
    assert entry.id == TRIAL_ID
    assert entry.arguments == " ".join([default.arguments, *OURS, "carveout.trial", "panic=30"])
    assert entry.words[0] == default.words[0]
    assert host.boot() == default
    assert end(host) == [f"remove {ENTRIES}", f"remove {UNIT}"]
    assert host.files() == before
    assert leftovers(host) == [] and end(host) == []


def test_the_entry_is_the_default_one_but_for_the_kernels_arguments(host: Host) -> None:
    try_out(host, OURS)
    entry = host.text(ENTRIES).split("\n")
    original = MENU.split("menuentry 'Linux'")[1].split("\n}\n")[0].split("\n")[1:]
    assert entry[1] == (
        "menuentry 'Carveout: trial of layout 0123456789abcdef' --unrestricted --id carveout-trial {"
    )
    assert [line for line in original if line not in entry] == [
        "\tsavedefault",
        '\tlinux\t/boot/vmlinuz-6.12.1-test root=UUID=1 ro "f=a  b" it\\\'s console=ttyS0 quiet',
    ]
    assert len(entry) == len(original) - 1 + 5


def test_an_entry_of_debian_is_copied_whole() -> None:
    menu = (DATA / "debian13.cfg").read_text()
    default = next_entry(menu, lambda path: None)
    block = entry_block(menu, default, default.words[1:], "0123456789abcdef")
    copied = next_entry(
        menu.replace('set default="0"', f'set default="{TRIAL_ID}"') + block, lambda path: None
    )
    assert copied.id == TRIAL_ID and copied.words == default.words
    assert "initrd\t/boot/initrd.img-6.12.117+deb13-amd64" in block and "search --no-floppy" in block


def test_arguments_of_another_layout_give_way_and_a_panic_of_others_is_overruled(host: Host) -> None:
    text = MENU.replace("console=ttyS0 quiet", f"panic=0 {OTHERS[0]} 'memmap=2G%5G-1+0xefffffff' quiet")
    host.write("/boot/grub/grub.cfg", text + CUSTOM)
    try_out(host, OURS)
    words = host.boot().arguments.split()
    assert words[-7:] == ["panic=0", *OURS, "quiet", "carveout.trial", "panic=30"]


def test_another_kernel_can_be_tried(host: Host) -> None:
    try_out(host, OURS, kernel="6.1.0-old")
    assert host.boot().words[:2] == ("/boot/vmlinuz-6.1.0-old", "root=UUID=1")
    assert host.boot().kernel == "6.12.1-test"
    with pytest.raises(NotPossible, match="no boot entry starts the kernel"):
        plan_trial(host, OURS, [], 900, "5.4")


def test_entries_and_choices_of_others_stay(host: Host) -> None:
    others = "menuentry 'mine' {\n\ttrue\n}"  # no newline at its end
    host.write(ENTRIES, others, 0o600)
    host.write(ENVIRONMENT, ENV.replace("saved_entry=simple\n", "saved_entry=simple\nx=y\n")[:1024])
    before = host.files()
    try_out(host, OURS)
    assert host.text(ENTRIES).startswith(others + "\n")
    assert variables_of(host.text(ENVIRONMENT)) == {
        "saved_entry": "simple", "x": "y", "next_entry": TRIAL_ID
    }  # fmt: skip
    end(host)
    assert host.files() == before
    host.write(ENVIRONMENT, ENV.replace("simple", "x\nnext_entry=more>old")[:1024])
    assert leftovers(host) == []
    assert read_loader(host, None).kernel == "6.1.0-old"


@pytest.mark.parametrize("text", [None, "", "a", "a\n", "a\n\n", "\n"])
def test_a_block_leaves_no_trace(text: str | None) -> None:
    block = (
        "# BEGIN Carveout trial: written by Carveout, gone when the trial is over\n}\n# END Carveout trial\n"
    )
    once = with_block(text, block)
    assert with_block(once, block) == once
    assert without_block(once) == text


@pytest.mark.parametrize(
    ("target", "answer", "said"),
    [
        ("abstraction", Completed(0, "lvm\n", ""), "lies on lvm, where GRUB cannot write"),
        ("abstraction", Completed(0, "diskfilter mdraid1x\n", ""), "lies on diskfilter mdraid1x, where"),
        ("fs", Completed(0, "btrfs\n", ""), "is in a file system of type btrfs, where GRUB cannot write"),
        ("fs", Completed(0, "zfs\n", ""), "is in a file system of type zfs"),
        ("fs", Completed(1, "", "grub-probe: error: unknown filesystem.\n"), "unknown filesystem.) *; set"),
    ],
)
def test_where_grub_cannot_write_no_trial_is_begun(
    host: Host, target: str, answer: Completed, said: str
) -> None:
    host.answers[f"--target={target}"] = answer
    before = host.files()
    with pytest.raises(NotPossible) as caught:
        plan_trial(host, OURS, ["panic=30"], 900)
    (problem,) = caught.value.problems
    assert problem.path == "policy.trial_boot" and said.replace(" *", "") in problem.message
    assert "policy.trial_boot: false" in problem.message
    assert host.files() == before


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (ENVIRONMENT, None, "grub-editenv /boot/grub/grubenv create"),
        (ENVIRONMENT, "garbage", "no GRUB environment block"),
        (ENVIRONMENT, "# GRUB Environment Block\n#", "has room for 26 bytes"),
        ("/boot/grub/grub.cfg", MENU.replace("save_env next_entry", "true") + CUSTOM, "no choice for one boot"),
        ("/boot/grub/grub.cfg", MENU.replace("\tlinux", "\tif true; then linux", 1) + CUSTOM, "/boot/grub/grub.cfg"),
        ("/boot/grub/grub.cfg", MENU.replace(" quiet\n", "; true\n", 1).replace("{\n\tload", "{ load"), "one command"),
        ("/boot/grub/grub.cfg", MENU.replace(" quiet\n", " -- quiet\n", 1) + CUSTOM, "the kernel reads no argument"),
        ("/etc/default/grub", None, "not a GRUB as Debian configures it"),
        ("/boot/grub2/grub.cfg", "blscfg\n", "the menu is empty"),
    ],
)  # fmt: skip
def test_what_makes_a_trial_impossible_is_said(host: Host, path: str, text: str | None, said: str) -> None:
    if text is None:
        host.remove(path)
    else:
        host.write(path, text)
    before = host.files()
    with pytest.raises(NotPossible) as caught:
        plan_trial(host, OURS, ["panic=30"], 900)
    assert said in str(caught.value)
    assert host.files() == before


def test_a_link_is_no_environment_that_grub_can_write(host: Host) -> None:
    os.rename(f"{host.root}{ENVIRONMENT}", f"{host.root}/boot/grubenv")
    os.symlink("../grubenv", f"{host.root}{ENVIRONMENT}")
    with pytest.raises(NotPossible, match="missing or a link"):
        plan_trial(host, OURS, ["panic=30"], 900)


@pytest.mark.parametrize("extra", ["it's", "a b", "a\nb"])
def test_arguments_that_cannot_arrive_are_refused(host: Host, extra: str) -> None:
    with pytest.raises(CarveoutError):
        plan_trial(host, OURS, [extra], 900)
    with pytest.raises(InvalidInput):
        plan_trial(host, OURS[1:], [], 900)


def test_a_menu_that_does_not_read_our_entry_is_told_and_nothing_stays(host: Host) -> None:
    host.write("/boot/grub/grub.cfg", MENU)
    before = host.files()
    with pytest.raises(NotPossible, match="does not read"):
        try_out(host, OURS)
    assert host.files() == before


def test_where_the_switch_cannot_be_set_nothing_can_boot_on_trial(host: Host) -> None:
    host.answers["enable"] = Completed(1, "", "no space left")
    before = host.files()
    with pytest.raises(CarveoutError, match="failed: no space left"):
        try_out(host, OURS)
    assert host.files() == before


def test_the_last_words_of_a_trial(host: Host) -> None:
    nothing = last_words(host, 0)
    assert "was not kept" in nothing
    host.answers["--boot=-1"] = Completed(0, "Command line: ro quiet\nskipped, unmet carveout.trial\nBUG", "")
    assert last_words(host, 0) == nothing
    host.answers["--boot=-1"] = Completed(
        0, "Command line: ro carveout.trial\n" + "line\n" * 99 + "BUG\n", ""
    )
    kept = "\n".join(["The end of its journal:", *["line"] * 39, "BUG"])
    assert last_words(host, 0) == kept
    host.write("/var/lib/systemd/pstore/1764/001/dmesg.txt", "Panic#1\nKernel panic\n")
    assert last_words(host, 0) == "The end of its kernel's log:\nPanic#1\nKernel panic"
    assert last_words(host, 1 << 63) == kept
    # the boot before may have been a trial, but another one
    assert f"--since=@{(1 << 63) // 10**9}" in host.ran[-1]


def test_the_pieces_of_a_dump_are_put_together(host: Host) -> None:
    for number, text in ((2, "the beginning\n"), (1, "the end\n"), (3, "")):
        host.write(f"/sys/fs/pstore/dmesg-erst-76{number}", f"Panic#2 Part{number}\n{text}")
    host.write("/sys/fs/pstore/console-ramoops-0", "somebody else's\n")
    assert last_words(host, 0) == "The end of its kernel's log:\nthe beginning\nthe end"


WATCHDOG = "/sys/class/watchdog/watchdog0"


@pytest.mark.parametrize(
    ("state", "extra", "running", "added"),
    [
        ("inactive\n", ["panic=30"], "", ["systemd.watchdog_sec=60"]),
        ("active\n", ["panic=30"], "", []),
        ("inactive\n", ["panic=30", "systemd.watchdog_sec=0"], "", []),
        ("inactive\n", ["panic=30"], " systemd.watchdog_sec=off", []),
        (None, ["panic=30"], "", []),
        # the last trial was committed, and this is still its boot
        ("active\n", ["panic=30"], " carveout.trial systemd.watchdog_sec=60", ["systemd.watchdog_sec=60"]),
        ("active\n", ["panic=30"], " systemd.watchdog_sec=9 carveout.trial panic=30", []),
    ],
)
def test_a_watchdog_that_nobody_uses_is_started_with_the_trial(
    host: Host, state: str | None, extra: list[str], running: str, added: list[str]
) -> None:
    host.write("/proc/cmdline", f"BOOT_IMAGE=/boot/vmlinuz root=UUID=1 ro quiet{running}\n")
    if state is not None:
        host.write(f"{WATCHDOG}/state", state)
    planned = plan_trial(host, OURS, extra, 900)
    assert list(planned.arguments)[-len([*extra, *added]) :] == [*extra, *added]
    assert sum(argument.startswith("systemd.watchdog_sec") for argument in planned.arguments) <= 1


def test_a_watchdog_that_made_the_reset_is_named(host: Host) -> None:
    host.write(f"{WATCHDOG}/bootstatus", "0\n")
    host.write(f"{WATCHDOG}/identity", "i6300ESB timer\n")
    assert "watchdog" not in last_words(host, 0)
    host.write(f"{WATCHDOG}/bootstatus", "32\n")
    first, *rest = last_words(host, 0).split("\n")
    assert first == "The host's watchdog (i6300ESB timer) says that it reset the host."
    assert "was not kept" in rest[0]
