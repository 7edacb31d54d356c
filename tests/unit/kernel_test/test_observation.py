# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A console's text read back."""

from __future__ import annotations

from ansible_collections.carveout.memory.plugins.module_utils._host.model import MapEntry
from ansible_collections.carveout.memory.tests.kernel.machine import Machine
from ansible_collections.carveout.memory.tests.kernel.observation import (
    DaxDevice,
    DaxRegion,
    Observation,
    Resource,
    parse_iomem,
    read_report,
)

CONSOLE = """SeaBIOS\x1bc\x1b[?7l\x1b[2J
@@@ section iomem
00000000-00000fff : Reserved
100000000-17fffffff : hmem.0
  100000000-17fffffff : Soft Reserved

@@@ section dmesg
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000017fffffff]  System RAM
[    0.000000] user: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] user: [mem 0x0000000100000000-0x000000017fffffff] soft reserved

@@@ section files
/proc/zoneinfo:Node 0, zone      DMA
/proc/zoneinfo:        present  3998
/proc/zoneinfo:        managed  3840
/proc/zoneinfo:Node 0, zone    DMA32
/proc/zoneinfo:        present  2
/proc/zoneinfo:Node 1, zone   Normal
/proc/zoneinfo:        present  0
/sys/bus/dax/devices/dax0.0/align:2097152
/sys/bus/dax/devices/dax0.0/resource:0x100000000
/sys/bus/dax/devices/dax0.0/size:2147483648
/sys/bus/dax/devices/dax0.0/target_node:1
/sys/devices/platform/hmem.0/dax_region/available_size:0
/sys/devices/platform/hmem.0/dax_region/size:2147483648
/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages:0
/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages:7

@@@ section drivers
dax0.0 ../../../../../../bus/dax/drivers/device_dax

@@@ table SRAT
53524154
0102

@@@ section end
2.7 0.0
@@@ done
"""


def observation(console: str) -> Observation:
    sections, files, tables = read_report(console.replace("\n", "\r\n"))
    return Observation("6.12", Machine(), "quiet", True, "", 1.0, console, sections, files, tables)


def test_everything_is_read() -> None:
    seen = observation(CONSOLE)
    low, high = (0, 0x9FC00), (1 << 32, (1 << 32) + (2 << 30))
    assert seen.firmware_map == (MapEntry(*low, 1), MapEntry(*high, 1))
    assert seen.kernel_map == (MapEntry(*low, 1), MapEntry(*high, 0xEFFFFFFF))
    assert seen.iomem[1:] == [Resource(*high, "hmem.0", 0), Resource(*high, "Soft Reserved", 1)]
    assert seen.present == {0: 4000 * 4096}
    assert seen.managed == {0: 3840 * 4096}
    assert seen.hugepages == {1: {2 << 20: 7}}
    assert seen.dax_regions == [DaxRegion("/sys/devices/platform/hmem.0", 2 << 30, 0)]
    assert seen.dax_devices == [DaxDevice("dax0.0", *high, 1, 2 << 20, "device_dax")]
    assert seen.tables == {"SRAT": b"SRAT\x01\x02"}


def test_without_user_lines_the_kernel_has_the_firmware_map() -> None:
    seen = observation("\n".join(line for line in CONSOLE.splitlines() if "user:" not in line))
    assert seen.kernel_map == seen.firmware_map != ()


def test_a_console_cut_off_gives_what_it_has() -> None:
    seen = observation(CONSOLE[: CONSOLE.index("@@@ section dmesg")])
    assert seen.iomem
    assert seen.firmware_map == ()
    assert seen.present == {}


def test_iomem_ignores_what_is_no_line_of_it() -> None:
    assert parse_iomem("cat: no such file\n0-f : A\n") == [Resource(0, 16, "A", 0)]
