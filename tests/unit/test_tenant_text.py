# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a virtual machine needs to use a device or a mount, as ``carveout plan --format tenants`` prints it."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout, Memory
from ansible_collections.carveout.memory.plugins.module_utils._mounts import HUGETLBFS, Mount
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.tenant_text import (
    libvirt_xml,
    mount_libvirt_xml,
    mount_qemu_options,
    qemu_options,
    tenants_text,
)

TWO_PARTS = (Range(4 * GIB, 4 * GIB + 256 * MIB), Range(5 * GIB, 5 * GIB + 256 * MIB))
DEVICES = (
    Device("vm-a", "guests", 0, GIB, (Range(8 * GIB, 10 * GIB),), "pools.guests.devices[0]"),
    Device("vm.b_1", "guests", 1, 2 * MIB, TWO_PARTS, "pools.guests.devices[1]"),
)
MOUNT = Mount("pages", HUGETLBFS, "/mnt/pages", 2 * MIB, 64 * MIB, "nobody", "daemon", "0770")


def layout(*devices: Device) -> Layout:
    return Layout({}, "6.12", ("a=1",), (), devices, (), Memory(), {})


def test_qemu_gets_all_of_the_device_at_its_own_align_and_shared() -> None:
    assert qemu_options(DEVICES[0]) == [
        "-m", "2048M",
        "-object",
        "memory-backend-file,id=vm-a,mem-path=/dev/carveout/vm-a,size=2147483648,align=1073741824,share=on",
        "-machine", "memory-backend=vm-a",
    ]  # fmt: skip
    assert qemu_options(DEVICES[1])[1] == "512M"
    assert "align=2097152," in qemu_options(DEVICES[1])[3]


def test_the_xml_is_well_formed_and_says_the_same() -> None:
    memory = ElementTree.fromstring("\n".join(libvirt_xml(DEVICES[1])))
    assert memory.attrib == {"model": "nvdimm", "access": "shared"}
    assert memory.findtext("source/path") == "/dev/carveout/vm.b_1"
    assert memory.findtext("source/alignsize") == "2048"
    assert memory.findtext("target/size") == str(512 * 1024)


def test_every_device_is_shown() -> None:
    text = tenants_text(layout(*DEVICES))
    assert text.startswith("vm-a: 2GiB on node 0, align 1GiB\n") and "\nvm.b_1: 512MiB on node 1" in text
    # the options can be pasted into a shell: all lines but the last are continued
    options = [line for line in text.splitlines() if line.startswith("      -")]
    assert [line.endswith(" \\") for line in options] == [True, True, False] * 2
    kernels = layout(dataclasses.replace(DEVICES[0], use="system-ram", online="movable"))
    for none in (layout(), kernels):
        assert tenants_text(none) == f"layout {none.id} has no devices for tenants\n"


def test_a_mount_gives_a_guest_a_file_of_its_own() -> None:
    assert mount_qemu_options(MOUNT) == [
        "-m", "64M",
        "-object", "memory-backend-file,id=pages,mem-path=/mnt/pages,size=67108864,share=on,prealloc=on",
        "-machine", "memory-backend=pages",
    ]  # fmt: skip
    text = tenants_text(dataclasses.replace(layout(DEVICES[0]), mounts=(MOUNT,)))
    assert "\n/mnt/pages: 64MiB in pages of 2MiB, hugetlbfs\n" in text
    assert "-machine memory-backend=vm-a\n" in text and "-machine memory-backend=pages\n" in text


def test_libvirt_takes_huge_pages_by_their_size_and_other_files_by_their_folder() -> None:
    pages = ElementTree.fromstring("\n".join(mount_libvirt_xml(MOUNT)))
    page = pages.find("hugepages/page")
    assert page is not None and page.attrib == {"size": "2048", "unit": "KiB"}
    other = dataclasses.replace(MOUNT, kind="dmemfs", path="/mnt/dmem")
    files = ElementTree.fromstring("\n".join(mount_libvirt_xml(other)))
    source = files.find("source")
    assert source is not None and source.attrib == {"type": "file"}
    assert (
        "hugetlbfs_mount" in mount_libvirt_xml(MOUNT)[0]
        and "memory_backing_dir" in mount_libvirt_xml(other)[0]
    )
