# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others own on a host whose menu GRUB generates: every byte, owner and mode is there after Carveout came, changed
and went; and what Carveout brings cannot be written by others, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._boot import trial
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import (
    apply_absent,
    apply_present,
    plan_absent,
    plan_present,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import (
    Device,
    Layout,
    Memory,
    Reservation,
)
from ansible_collections.carveout.memory.plugins.module_utils._mounts import DMEMFS, HUGETLBFS, Mount
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.tests.others import files

MENU = "/boot/grub/grub.cfg"
ENVIRONMENT = "/boot/grub/grubenv"
BLOCK = "# GRUB Environment Block\nrecordfail=1\n"


def layout(size: int) -> Layout:
    """With everything that puts a file on a host."""
    reservation = Reservation("guests", "dax", 0, 5 * GIB, 5 * GIB + size, 2 * MIB)
    device = Device(
        "vm-a", "guests", 0, 2 * MIB, (Range(5 * GIB, 5 * GIB + size),), "pools.guests.devices[0]",
        units=("qemu-a.service",),
    )  # fmt: skip
    mounts = (
        Mount("pages", HUGETLBFS, "/mnt/pages", 2 * MIB, 64 * MIB),
        Mount("files", DMEMFS, "/mnt/files", 2 * MIB, 64 * MIB),
    )
    return Layout(
        plan={"version": 1}, kernel="6.12", arguments=(f"memmap={size >> 20}M%5G-1+0xefffffff",),
        reservations=(reservation,), devices=(device,), predicted_map=(), memory=Memory(), memory_nodes={},
        mounts=mounts,
    )  # fmt: skip


FIRST, SECOND = layout(512 * MIB), layout(256 * MIB)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


class Others:
    """A tree with files of others, through all that Carveout does to it."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.root: Path = tree.root
        self.real = tree.run
        for place in ("etc/systemd/system", "usr/lib", "etc/default/grub.d"):
            (tree.root / place).mkdir(parents=True, exist_ok=True)
        tree.run = self.run

    def run(self, argv: Sequence[str]) -> Completed:
        if argv[0].endswith("grub-mkconfig"):
            return self.generate(argv)
        if "--target=fs" in argv:
            return Completed(0, "ext2\n", "")
        if argv[:2] in (["systemctl", "enable"], ["systemctl", "disable"]):
            unit = argv[-1]
            wants = "sysinit" if "trial" in unit else "multi-user"
            link = self.root / f"etc/systemd/system/{wants}.target.wants/{unit}"
            with umask(0o022):
                link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            if argv[1] == "enable":
                link.symlink_to(f"/etc/systemd/system/{unit}")
            elif not list(link.parent.iterdir()):
                link.parent.rmdir()
        elif argv[0] == "rmdir":
            return RealSystem().run(["rmdir", *argv[1:-1], f"{self.root}{argv[-1]}"])
        # no unit is running
        return Completed(3 if "is-active" in argv else 0, "", "")

    def generate(self, argv: Sequence[str]) -> Completed:
        """As grub-mkconfig: what 00_tuned prints comes first; mode 0444 (Debian) stays what the file has."""
        done: Completed = self.real(argv)
        script = self.root / "etc/grub.d/00_tuned"
        if done.status == 0 and script.exists():
            text = script.read_text().replace("/etc/tuned", f"{self.root}/etc/tuned")
            header = RealSystem().run(["sh", "-c", text]).stdout
            menu = self.root / argv[-1].lstrip("/") if "-o" in argv else self.root / MENU.lstrip("/")
            save = 'if [ "${next_entry}" ]; then\n  set next_entry=\n  save_env next_entry\nfi\n'
            read = "if [ -f ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n"
            menu.write_text(header + menu.read_text() + save + read)
        return done

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        file.chmod(mode)

    def listing(self) -> dict[str, tuple[Any, ...]]:
        """Everything that outlives a boot, but times."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in sorted(self.root.rglob("*")):
            name, status = f"/{path.relative_to(self.root)}", path.lstat()
            if not name.startswith(("/proc", "/run")):
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                target = os.readlink(path) if path.is_symlink() else ""
                found[name] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content, target)
        return found

    def cycle(self) -> list[dict[str, tuple[Any, ...]]]:
        """Carved on trial, committed, another layout on trial that fails, then that one for good, then all removed."""
        seen = []
        for wanted, stays in ((FIRST, True), (SECOND, False), (SECOND, True)):
            arguments = list(wanted.kernel_arguments)
            trial.begin(self.tree, trial.plan_trial(self.tree, arguments, ["panic=30"], 900, ""))
            self.install(wanted, None)
            seen.append(self.listing())
            trial.end(self.tree)
            if stays:
                self.tree.change_to(arguments)
                self.install(wanted, wanted.id)
                self.tree.boot()
            seen.append(self.listing())
        self.tree.change_to(None)
        apply_absent(self.tree, plan_absent(self.tree))
        self.tree.boot()
        return seen

    def install(self, wanted: Layout, committed: str | None) -> None:
        apply_present(
            self.tree,
            plan_present(self.tree, "0" * 64, lambda: "#!/usr/bin/python3\n", wanted, committed, None),
        )


def is_ours(path: str) -> bool:
    """Also kdump's configuration, which has a block of ours while a layout is there."""
    return "carveout" in path or path.startswith("/etc/systemd/system/") or path in (MENU, ENVIRONMENT)


def others_of(
    listing: dict[str, tuple[Any, ...]], bare: dict[str, tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    return {path: what for path, what in listing.items() if path in bare and not is_ours(path)}


@pytest.fixture
def others(tree: Any) -> Others:
    found = Others(tree)
    (found.root / "etc/default/grub.d/50-cloud.cfg").unlink()
    for path, (text, mode) in files.FILES.items():
        found.put(path, text, mode)
    found.put(
        "/etc/default/grub", '# by hand, keep!\nGRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', 0o640
    )
    found.put(ENVIRONMENT, BLOCK.ljust(1024, "#"), 0o600)
    (found.root / MENU.lstrip("/")).chmod(0o600)
    found.generate(["/usr/sbin/grub-mkconfig"])
    tree.boot()
    return found


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_real_files_of_others_stay_as_they_are(others: Others, mask: int) -> None:
    bare = others.listing()
    booted = (*files.ARGUMENTS[:3], "console=ttyS0", *files.ARGUMENTS[3:])
    assert (others.tree.state().boot_arguments or ())[2:] == booted
    with umask(mask):
        seen = others.cycle()
    custom, kept = "/boot/grub/custom.cfg", others_of(bare, bare)
    for listing in seen:
        mine = {path: what for path, what in others_of(listing, bare).items() if path != custom}
        assert mine == {path: what for path, what in kept.items() if path != custom}
        # a trial's entry stands behind what others wrote there
        assert listing[custom][:3] == bare[custom][:3] and bare[custom][3] in listing[custom][3]
        assert (listing[MENU][0], listing[ENVIRONMENT][0]) == ("-rw-------", "-rw-------")
        # nobody but root writes what is ours; nothing in it is a secret, and the folders can be looked into
        for path in listing.keys() - bare.keys():
            mode = listing[path][0]
            is_program = path.endswith(".pyz") or path == "/usr/sbin/carveout"
            assert mode in ("drwxr-xr-x", "lrwxrwxrwx", "-rwxr-xr-x" if is_program else "-rw-r--r--"), (
                path,
                mode,
            )
            assert listing[path][1:3] == (os.geteuid(), os.getegid())
    assert len({path for listing in seen for path in listing.keys() - bare.keys()}) > 15
    assert others.listing() == bare


def test_a_trial_that_failed_leaves_everything_as_it_was(others: Others) -> None:
    bare = others.listing()
    begun = trial.plan_trial(others.tree, list(FIRST.kernel_arguments), ["panic=30"], 900, "")
    trial.begin(others.tree, begun)
    assert others.listing() != bare
    trial.end(others.tree)
    assert others.listing() == bare


def test_a_conflict_is_named_with_its_file_and_line_and_nothing_is_changed(others: Others) -> None:
    others.put(files.CONFLICTING, files.CONFLICT)
    others.generate(["/usr/sbin/grub-mkconfig"])
    found = [(f.argument, f.file, f.line) for f in others.tree.state().foreign if f.file]
    assert (files.CONFLICT_ARGUMENT, files.CONFLICTING, files.CONFLICT_LINE) in found
    assert ("memmap=1M%0x4000000-1+2", f"{files.DROP_INS}/10-memory.cfg", 3) in found
    assert ("crashkernel=512M-:128M", f"{files.DROP_INS}/kdump-tools.cfg", 1) in found


WORDS = st.text(st.sampled_from("abzAZ09=.,_-+:%@/ "), min_size=1, max_size=12)
LINES = st.one_of(
    st.builds("# {}".format, st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)),
    st.builds('GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {}"'.format, WORDS),
    st.builds('GRUB_CMDLINE_LINUX="${{GRUB_CMDLINE_LINUX}} {}"'.format, WORDS),
    st.builds("GRUB_CMDLINE_LINUX='{}'".format, WORDS),
    st.builds('GRUB_CMDLINE_LINUX_DEFAULT="{}" # tail'.format, WORDS),
    st.builds("GRUB_{}={}".format, st.sampled_from(["TIMEOUT", "TERMINAL"]), st.sampled_from(["0", "'a b'", '"x"'])),
    st.sampled_from(["", "   ", "\t", "export GRUB_COLOR=1", "if true; then :; fi", 'GRUB_DISTRIBUTOR="`echo x`"']),
)  # fmt: skip
DROP_INS = st.dictionaries(
    st.from_regex(
        r"[0-9a-z]{1,3}[a-z-]{0,8}\.cfg(\.bak)?", fullmatch=True, alphabet=st.characters(codec="ascii")
    ),
    st.tuples(
        st.lists(LINES, max_size=5), st.sampled_from(["\n", ""]), st.sampled_from([0o644, 0o600, 0o440])
    ),
    max_size=4,
)


@given(DROP_INS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_others_have_there_stays_byte_for_byte(
    tree: Any, augeas: Any, tmp_path_factory: Any, given: Any
) -> None:
    root = tmp_path_factory.mktemp("host")
    others = Others(type(tree)(root, augeas))
    for path in ("etc/default/grub", "usr/sbin/grub-mkconfig"):
        others.put(f"/{path}", (tree.root / path).read_text())
    for name, (lines, end, mode) in given.items():
        others.put(f"{files.DROP_INS}/{name}", "\n".join(lines) + end, mode)
    for path, text in (
        (ENVIRONMENT, BLOCK.ljust(1024, "#")),
        ("/etc/grub.d/00_tuned", files.TUNED_SCRIPT),
        (MENU, ""),
    ):
        others.put(path, text)
    others.put("/etc/tuned/bootcmdline", files.BOOTCMDLINE)
    done = others.generate(["/usr/sbin/grub-mkconfig"])
    assert done.status == 0, done
    others.tree.boot()
    bare = others.listing()
    try:
        seen = others.cycle()
    except CarveoutError:
        # a conflict or what cannot be read: refused, and nothing is left of the attempt
        trial.end(others.tree)
        apply_absent(others.tree, plan_absent(others.tree))
        assert others.listing() == bare
        return
    for listing in seen:
        assert others_of(listing, bare) == others_of(bare, bare)
    assert others.listing() == bare
    assert DROP_IN not in others.listing()
