# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's disk image: its digest, its first sectors, its keys, and finding it again."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.lab import accel, disk, image, keys, recipe, tools
from ansible_collections.carveout.memory.lab.errors import LabError
from ansible_collections.carveout.memory.lab.progress import Progress

RECIPE = recipe.Recipe(
    user_key="ssh-ed25519 USER", host_key="HOST PRIVATE\n", host_key_public="ssh-ed25519 HOST"
)


def test_same_inputs_same_digest() -> None:
    assert RECIPE.digest() == replace(RECIPE).digest()
    assert len(RECIPE.digest()) == 16


@pytest.mark.parametrize(
    "change",
    [{"user_key": "x"}, {"host_key": "x"}, {"host_key_public": "x"}, {"mirror": "http://localhost/debian"}],
)
def test_other_inputs_other_digest(change: dict[str, str]) -> None:
    assert replace(RECIPE, **change).digest() != RECIPE.digest()


@pytest.mark.parametrize("path", ["setup.sh", "disk.py", "rootfs/etc/modprobe.d/lab.conf"])
def test_a_changed_source_makes_another_image(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(recipe.__file__).parent
    shutil.copytree(here, tmp_path / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(recipe, "_HERE", tmp_path / "lab")
    assert RECIPE.digest() == replace(RECIPE).digest()
    before = RECIPE.digest()
    with open(tmp_path / "lab" / path, "a", encoding="utf-8") as file:
        file.write("#\n")
    assert RECIPE.digest() != before


def test_the_private_key_is_in_no_message() -> None:
    assert "PRIVATE" not in repr(RECIPE)


def test_files_belong_to_root_and_scripts_can_run() -> None:
    with tarfile.open(fileobj=io.BytesIO(RECIPE.tar())) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert all((member.uid, member.gid) == (0, 0) for member in members.values())
    assert members["root/.ssh/authorized_keys"].mode == 0o600
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert members["etc/initramfs-tools/hooks/lab"].mode == 0o755
    assert members["etc/modprobe.d/lab.conf"].mode == 0o644


def test_nothing_of_memory_is_kept_from_loading() -> None:
    text = RECIPE.files()["etc/modprobe.d/lab.conf"][0].decode()
    kept = {line.split()[1] for line in text.splitlines() if line.startswith("blacklist")}
    assert len(kept) > 10
    assert not kept & {"dax_hmem", "device_dax", "kmem", "dax_pmem", "nd_pmem", "nd_e820", "libnvdimm"}


@pytest.mark.parametrize(
    "path", ["setup.sh", *(f"rootfs/{name}" for name in ("etc/initramfs-tools/hooks/lab",))]
)
def test_scripts_are_shell(path: str) -> None:
    subprocess.run(["sh", "-n", str(Path(recipe.__file__).parent / path)], check=True)


def test_boot_sectors_keep_the_partition_table() -> None:
    boot, table, core = b"B" * 512, b"T" * 512, b"C" * 1000
    sectors = disk.boot_sectors(boot, core, table)
    assert sectors[:440] == b"B" * 440
    # disk signature, partition table, 0x55aa
    assert sectors[440:512] == b"T" * 72
    assert sectors[512:] == core


def test_a_core_too_large_is_refused() -> None:
    disk.boot_sectors(b"B" * 512, b"C" * (2**20 - 512), b"T" * 512)
    with pytest.raises(LabError, match="only 1048064 lie below"):
        disk.boot_sectors(b"B" * 512, b"C" * (2**20 - 511), b"T" * 512)


def test_a_disk_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        tools.require(["sfdisk", "mkfs.ext4"])
    except LabError as error:
        pytest.skip(str(error))
    tree = tmp_path / "tree"
    grub = tree / "boot/grub/i386-pc"
    grub.mkdir(parents=True)
    (grub / "boot.img").write_bytes(b"B" * 512)
    (grub / "core.img").write_bytes(b"C" * 40000)
    # a small one: who is not root needs no sudo for a file of his own, either
    monkeypatch.setattr(disk, "DISK_SIZE", 320 * 2**20)
    monkeypatch.setattr(tools, "as_root", list)
    target = tmp_path / "disk.raw"
    disk.make(target, tree, "14feb491-fafa-4ff4-888b-dfa9e896ded8", 0xC0FFEE)
    with open(target, "rb") as file:
        first = file.read(2**20)
    assert first[:440] == b"B" * 440 and first[512:40512] == b"C" * 40000
    listed = tools.run([tools.find("sfdisk"), "--dump", str(target)])
    assert "label-id: 0x00c0ffee" in listed
    assert "start=        2048, size=      653312, type=83, bootable" in listed
    # ext4's superblock, 1 KiB into the partition: magic number, label, UUID
    with open(target, "rb") as file:
        file.seek(2**20 + 1024)
        superblock = file.read(1024)
    assert superblock[0x38:0x3A] == b"\x53\xef"
    assert superblock[0x78:0x88].rstrip(b"\0") == b"root"
    assert superblock[0x68:0x78].hex() == "14feb491fafa4ff4888bdfa9e896ded8"


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    made = keys.ensure(tmp_path)
    for pair in (made.user, made.host):
        assert stat.S_IMODE(pair.private_file.stat().st_mode) == 0o600
        assert pair.public.startswith("ssh-ed25519 ") and len(pair.public.split()) == 2
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert made.user.public != made.host.public
    assert keys.ensure(tmp_path).user.private == made.user.private
    # half a pair is none
    made.user.private_file.with_suffix(".pub").unlink()
    assert keys.ensure(tmp_path).host.private == made.host.private
    assert keys.ensure(tmp_path).user.public.startswith("ssh-ed25519 ")


def test_a_finished_image_is_found_and_a_broken_one_named(tmp_path: Path) -> None:
    assert image.load(tmp_path, "abc") is None
    directory = tmp_path / "images" / "abc"
    directory.mkdir(parents=True)
    (directory / "image.json").write_text('{"kernel_release": "6.12", "root_uuid": "u"}', encoding="utf-8")
    found = image.load(tmp_path, "abc")
    assert found == image.Image(directory, "abc", "6.12", "u")
    (directory / "image.json").write_text("{", encoding="utf-8")
    with pytest.raises(LabError, match="abc: not a finished image"):
        image.load(tmp_path, "abc")


def test_missing_programs_are_named_by_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_SBIN", str(tmp_path))
    with pytest.raises(LabError, match=r"missing packages: .*\bmmdebstrap\b.*\bqemu-system-x86\b"):
        tools.require(["mmdebstrap", "qemu-system-x86_64"])
    # before anything is begun
    with pytest.raises(LabError, match="missing packages"):
        image.ensure(tmp_path, RECIPE, Progress())
    assert list(tmp_path.iterdir()) == []


def test_the_set_up_installs_what_the_lab_calls(checkout: Path) -> None:
    lines = (checkout / "tools/system-packages.txt").read_text(encoding="utf-8").splitlines()
    installed = {line.split("#")[0].strip() for line in lines}
    # who is not root has sudo, or makes do with the list of what is missing
    assert set(tools.PACKAGES.values()) - {"sudo"} <= installed


def test_a_failing_program_is_quoted() -> None:
    with pytest.raises(LabError, match="sh failed with status 3: the reason"):
        tools.run(["sh", "-c", "echo first >&2; echo the reason >&2; exit 3"])


def test_the_verdict_on_kvm_is_for_one_boot_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = image.Image(tmp_path, "abc", "6.12", "u")
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("one\n", encoding="ascii")
    monkeypatch.setattr(accel, "_BOOT_ID", boot_id)
    monkeypatch.setattr(accel.os, "access", lambda *_: True)
    tried: list[bool] = []

    def boots(_: image.Image) -> bool:
        tried.append(True)
        return False

    monkeypatch.setattr(accel, "_boots", boots)
    assert accel.choose("auto", here, tmp_path, Progress()) == "tcg"
    assert accel.choose("auto", here, tmp_path, Progress()) == "tcg"
    assert len(tried) == 1
    boot_id.write_text("two\n", encoding="ascii")
    assert accel.choose("auto", here, tmp_path, Progress()) == "tcg"
    assert len(tried) == 2
    assert accel.choose("kvm", here, tmp_path, Progress()) == "kvm"
    assert accel.choose("tcg", here, tmp_path, Progress()) == "tcg"


def test_kvm_asked_for_and_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel.os, "access", lambda *_: False)
    here = image.Image(tmp_path, "abc", "6.12", "u")
    assert accel.choose("auto", here, tmp_path, Progress()) == "tcg"
    with pytest.raises(LabError, match="/dev/kvm"):
        accel.choose("kvm", here, tmp_path, Progress())
