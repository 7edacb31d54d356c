# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a virtual machine needs to use a device, as ``carveout plan --format tenants`` prints it."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

from ansible_collections.carveout.memory.plugins.module_utils._layout import Device, Layout, Memory
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.tenant_text import (
    libvirt_xml,
    qemu_options,
    tenants_text,
)

TWO_PARTS = (Range(4 * GIB, 4 * GIB + 256 * MIB), Range(5 * GIB, 5 * GIB + 256 * MIB))
DEVICES = (
    Device("vm-a", "guests", 0, GIB, (Range(8 * GIB, 10 * GIB),), "pools.guests.devices[0]"),
    Device("vm.b_1", "guests", 1, 2 * MIB, TWO_PARTS, "pools.guests.devices[1]"),
)


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
