# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Machines of the lab with other firmware and other boot loaders: their recipes, their disk, their flash memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.lab import efi_disk, firmware, image, keys, tools
from ansible_collections.carveout.memory.lab.errors import LabError
from ansible_collections.carveout.memory.lab.flavour import (
    DEFAULT,
    FLAVOURS,
    Flavour,
    FlavourRecipe,
    check,
)
from ansible_collections.carveout.memory.lab.machine import Machine, qemu_arguments
from ansible_collections.carveout.memory.lab.progress import Progress
from ansible_collections.carveout.memory.lab.recipe import Recipe
from ansible_collections.carveout.memory.lab.state import State, write
from ansible_collections.carveout.memory.lab.vm import Vm, Wishes

OTHERS = [flavour for flavour in FLAVOURS if flavour != DEFAULT]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> keys.Keys:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("user", "host"):
        (folder / name).write_text("PRIVATE", encoding="ascii")
        (folder / f"{name}.pub").write_text(f"ssh-ed25519 {name}", encoding="ascii")
    return keys.Keys(keys.KeyPair(folder / "user"), keys.KeyPair(folder / "host"))


def recipe(pairs: keys.Keys, flavour: Flavour) -> FlavourRecipe:
    found = image.recipe_for(pairs, flavour)
    assert isinstance(found, FlavourRecipe)
    return found


def test_the_default_is_the_recipe_as_it_was(pairs: keys.Keys) -> None:
    assert type(image.recipe_for(pairs)) is Recipe
    assert len({image.recipe_for(pairs, flavour).digest() for flavour in FLAVOURS}) == len(FLAVOURS)


@pytest.mark.parametrize("flavour", OTHERS, ids=str)
def test_only_the_part_for_the_boot_loader_is_another(
    pairs: keys.Keys, flavour: Flavour, checkout: Path
) -> None:
    usual = (checkout / "lab/setup.sh").read_text(encoding="utf-8").splitlines()
    setup = recipe(pairs, flavour).setup()
    subprocess.run(["sh", "-n", "-s"], input=setup, text=True, check=True)
    assert "i386-pc" not in setup
    lines = setup.splitlines()
    begin = next(i for i, line in enumerate(usual) if line.endswith("- boot loader"))
    assert lines[:begin] == usual[:begin]
    assert lines[-2:] == usual[-2:] and usual[-1].startswith("touch")


@pytest.mark.parametrize("flavour", OTHERS, ids=str)
def test_packages(pairs: keys.Keys, flavour: Flavour) -> None:
    arguments = recipe(pairs, flavour).mmdebstrap_arguments("/target", "/files.tar", "uuid")
    (include,) = [word for word in arguments if word.startswith("--include=")]
    packages = include.partition("=")[2].split(",")
    assert "grub-pc" not in packages and "linux-image-amd64" in packages
    assert ("systemd-boot" in packages) == (flavour.loader == "systemd-boot")
    assert recipe(pairs, flavour).files()["setup.sh"][0].decode() == recipe(pairs, flavour).setup()


@pytest.mark.parametrize(
    "flavour", [Flavour("bios", "systemd-boot"), Flavour("openfirmware", "grub")], ids=str
)
def test_what_there_is_not_is_refused(flavour: Flavour) -> None:
    with pytest.raises(LabError, match="there is grub on BIOS, grub on UEFI, systemd-boot on UEFI"):
        check(flavour)


def test_firmware_is_flash_memory_with_the_machines_own_variables() -> None:
    arguments = qemu_arguments(Machine("a", Path("/x"), 1, "tcg", firmware="uefi"))
    flash = [word for word in arguments if word.startswith("if=pflash")]
    assert flash == [
        f"if=pflash,unit=0,format=raw,readonly=on,file={firmware.CODE}",
        "if=pflash,unit=1,format=raw,file=/x/uefi-variables.fd",
    ]
    assert not [word for word in qemu_arguments(Machine("a", Path("/x"), 1, "tcg")) if "pflash" in word]


def test_missing_firmware_is_named_by_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "CODE", tmp_path / "CODE.fd")
    with pytest.raises(LabError, match="install the package ovmf"):
        firmware.make_variables(tmp_path)


def test_a_machine_keeps_its_flavour(tmp_path: Path) -> None:
    vm = Vm("a", tmp_path / "states", tmp_path / "cache", Progress())
    vm.directory.mkdir(parents=True)
    known = State("a", 1, "tcg", (2**30,), 1, "x", "/x", "6.12", "/k", "/h", "uefi", "grub")
    write(vm.directory, known)
    assert Wishes().flavour(known.flavour) == Flavour("uefi", "grub")
    with pytest.raises(LabError, match="a has grub on UEFI: `destroy` it to have systemd-boot on UEFI"):
        vm.up(Wishes(loader="systemd-boot"), 1)


def test_a_disk_with_an_efi_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        tools.require(["sfdisk", "mkfs.ext4", "mformat", "mcopy"])
    except LabError as error:
        pytest.skip(str(error))
    # who is not root needs no sudo for files of his own
    monkeypatch.setattr(tools, "as_root", list)
    tree = tmp_path / "tree"
    (tree / "boot/efi/EFI/BOOT").mkdir(parents=True)
    (tree / "boot/efi/EFI/BOOT/BOOTX64.EFI").write_bytes(b"program" * 1000)
    target = tmp_path / "disk.raw"
    efi_disk.make(target, tree, "14feb491-fafa-4ff4-888b-dfa9e896ded8")
    assert list((tree / "boot/efi").iterdir()) == []
    listed = tools.run([tools.find("sfdisk"), "--dump", str(target)])
    assert "label: gpt" in listed and "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in listed
    at = f"{target}@@{efi_disk.EFI_START}"
    program = subprocess.run(
        [tools.find("mcopy"), "-i", at, "::EFI/BOOT/BOOTX64.EFI", "-"], capture_output=True, check=True
    )
    assert program.stdout == b"program" * 1000
    with open(target, "rb") as file:
        # FAT32's serial number, then ext4's magic number, label and UUID
        file.seek(efi_disk.EFI_START + 0x43)
        assert file.read(4)[::-1].hex().upper() == efi_disk.serial("14feb491-fafa") == "14FEB491"
        file.seek(efi_disk.ROOT_START + 1024)
        superblock = file.read(1024)
    assert superblock[0x38:0x3A] == b"\x53\xef"
    assert superblock[0x68:0x78].hex() == "14feb491fafa4ff4888bdfa9e896ded8"
