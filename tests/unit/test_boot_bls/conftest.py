# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts whose GRUB boots by entry files, as trees of files in the manner of RHEL 8 and of RHEL 9 and Fedora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot.change import Change
from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import apply, plan, read_loader
from ansible_collections.carveout.memory.plugins.module_utils._boot.state import LoaderState
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem

ID = "0123456789abcdef0123456789abcdef"
MENU = """\
set pager=1
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
fi
if [ "${next_entry}" ] ; then
  set default="${next_entry}"
  set next_entry=
  save_env next_entry
else
  set default="${saved_entry}"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
fi
insmod part_msdos
search --no-floppy --fs-uuid --set=root 1111-2222
insmod blscfg
blscfg
if [ "${boot_success}" = "1" -a "${menu_hide_ok}" = "1" ]; then
  set timeout=1
fi
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
  fwsetup
}
"""
DEFAULTS = """\
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR="$(sed 's, release .*$,,g' /etc/system-release)"
GRUB_DEFAULT=saved
# GRUB_CMDLINE_LINUX="commented out"
GRUB_CMDLINE_LINUX="crashkernel=1G-4G:192M rhgb  quiet"
GRUB_ENABLE_BLSCFG=true
"""


class Host(RealSystem):
    """A host below a directory. It runs no program: none is needed."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root

    def run(self, argv: Sequence[str]) -> Completed:
        raise AssertionError(f"{argv} was run")

    def put(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def environment(self, *lines: str, path: str = "/boot/grub2/grubenv") -> None:
        self.put(path, "\n".join(["# GRUB Environment Block", *lines, ""]).ljust(1024, "#"))

    def entry(self, release: str, options: str, name: str = "") -> None:
        self.put(
            f"/boot/loader/entries/{ID}-{name or release}.conf",
            f"title Linux ({release}) 9 (Plow)\nversion {release}\nlinux /vmlinuz-{release}\n"
            f"initrd /initramfs-{release}.img $tuned_initrd\noptions {options}\n"
            "grub_users $grub_users\ngrub_arg --unrestricted\ngrub_class rhel\n",
        )

    def options(self, release: str) -> str:
        text = self.read(f"/boot/loader/entries/{ID}-{release}.conf") or ""
        return next(line for line in text.split("\n") if line.startswith("options")).partition(" ")[2]

    def boot(self) -> None:
        """What a reboot does to /proc."""
        state = self.state()
        self.put("/proc/cmdline", state.command_line + "\n")
        self.put("/proc/sys/kernel/osrelease", state.kernel + "\n")

    def files(self) -> dict[str, bytes]:
        return {
            str(p): p.read_bytes()
            for p in sorted(self.root.rglob("*"))
            if p.is_file() and "proc" not in p.parts
        }

    def state(self) -> LoaderState:
        return read_loader(self, None)

    def plan(self, wanted: Sequence[str] | None, kernel: str = "") -> Change:
        return plan(self, None, self.state(), wanted, kernel)

    def change_to(self, wanted: Sequence[str] | None, kernel: str = "") -> Change:
        """Plan and apply."""
        change = self.plan(wanted, kernel)
        apply(self, None, change)
        return change


@pytest.fixture
def empty(tmp_path: Path) -> Host:
    return Host(tmp_path / "empty")


@pytest.fixture
def rhel9(tmp_path: Path) -> Host:
    """Arguments stand in each entry; /etc/kernel/cmdline is there for later kernels."""
    host = Host(tmp_path / "rhel9")
    options = "root=/dev/mapper/rhel-root ro crashkernel=1G-4G:192M rhgb  quiet $tuned_params"
    host.put("/boot/grub2/grub.cfg", MENU)
    host.environment(
        f"saved_entry={ID}-5.14.0-427.el9.x86_64", "boot_success=0", "tuned_params=skew_tick=1 nosmt"
    )
    host.entry("5.14.0-427.el9.x86_64", options)
    host.entry("5.14.0-362.el9.x86_64", options)
    host.entry(f"0-rescue-{ID}", "root=/dev/mapper/rhel-root ro", name="0-rescue")
    host.put("/etc/default/grub", DEFAULTS)
    host.put("/etc/kernel/cmdline", "root=/dev/mapper/rhel-root ro crashkernel=1G-4G:192M rhgb  quiet \n")
    host.boot()
    return host


@pytest.fixture
def rhel8(tmp_path: Path) -> Host:
    """Entries refer to the variable kernelopts in grubenv."""
    host = Host(tmp_path / "rhel8")
    host.put("/boot/grub2/grub.cfg", MENU)
    host.environment(
        f"saved_entry={ID}-4.18.0-553.el8_10.x86_64",
        "kernelopts=root=/dev/mapper/rl-root ro crashkernel=auto rd.lvm.lv=rl/root ",
        "boot_success=0",
    )
    for release in ("4.18.0-553.el8_10.x86_64", "4.18.0-80.el8.x86_64"):
        host.entry(release, "$kernelopts $tuned_params")
    host.entry(f"0-rescue-{ID}", "$kernelopts", name="0-rescue")
    host.put("/etc/default/grub", DEFAULTS)
    host.boot()
    return host
