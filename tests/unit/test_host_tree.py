# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host from its files: captured trees, and trees that somebody tampered with."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import (
    CarveoutError,
    InvalidInput,
    NotPossible,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json, host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host, MapEntry, NodeRange
from ansible_collections.carveout.memory.plugins.module_utils._host.tree import read_host
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

GIB = 1 << 30
ID = "0123456789abcdef"
RELEASE = "6.12.107+deb13-amd64"


def put(root: Path, path: str, content: str | bytes) -> Path:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return target


def put_map(root: Path, entries: list[tuple[int, int, str]]) -> None:
    for i, (start, last, kind) in enumerate(entries):
        put(root, f"/sys/firmware/memmap/{i}/start", f"{start:#x}\n")
        put(root, f"/sys/firmware/memmap/{i}/end", f"{last:#x}\n")
        put(root, f"/sys/firmware/memmap/{i}/type", f"{kind}\n")


def srat(*ranges: tuple[int, int, int]) -> bytes:
    body = b"".join(struct.pack("<BBIHQQIIQ", 1, 40, n, 0, a, b - a, 0, 1, 0) for n, a, b in ranges)
    head = struct.pack("<4sIBB6s8sI4sIIQ", b"SRAT", 48 + len(body), 3, 0, b"T", b"T", 1, b"T", 1, 1, 0)
    table = bytearray(head + body)
    table[9] = -sum(table) & 0xFF
    return bytes(table)


def hmat(*domains: tuple[int, int]) -> bytes:
    body = b"".join(struct.pack("<HHIHHIIIQQ", 0, 0, 40, 1, 0, cpu, ram, 0, 0, 0) for ram, cpu in domains)
    return struct.pack("<4sIBB6s8sI4sII", b"HMAT", 40 + len(body), 2, 0, b"T", b"T", 1, b"T", 1, 0) + body


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small host with two nodes."""
    put_map(
        tmp_path,
        [
            (4 * GIB, 9 * GIB - 1, "System RAM"),
            (0, 0x9FBFF, "System RAM"),
            (0x9FC00, 0x9FFFF, "Reserved"),
            (0x100000, 3 * GIB - 1, "System RAM"),
        ],
    )
    put(tmp_path, "/sys/firmware/acpi/tables/SRAT", srat((0, 0, 5 * GIB), (1, 5 * GIB, 9 * GIB)))
    put(tmp_path, "/proc/sys/kernel/osrelease", RELEASE + "\n")
    put(tmp_path, "/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet\n")
    put(
        tmp_path, f"/boot/config-{RELEASE}", "#\nCONFIG_DEV_DAX=m\n# CONFIG_DMEM is not set\nCONFIG_OTHER=y\n"
    )
    return tmp_path


def read(root: Path, **options: Any) -> Host:
    """Read a tree; what is read can always be written, and read back to the same."""
    host = read_host(RealSystem(str(root)), **options)
    assert host_from_json(json.loads(json.dumps(host_to_json(host)))) == host
    return host


def test_a_small_host(tree: Path) -> None:
    host = read(tree)
    assert host.firmware_map == (
        MapEntry(0, 0x9FC00, 1),
        MapEntry(0x9FC00, 0xA0000, 2),
        MapEntry(0x100000, 3 * GIB, 1),
        MapEntry(4 * GIB, 9 * GIB, 1),
    )
    assert host.node_ranges == (NodeRange(0, 0, 5 * GIB), NodeRange(1, 5 * GIB, 9 * GIB))
    assert (host.architecture, host.firmware_boot, host.hmat) == ("x86_64", "bios", False)
    assert (host.kernel_running, host.kernel) == (RELEASE, RELEASE)
    assert host.kernel_config == {"CONFIG_DEV_DAX": "m", "CONFIG_DMEM": "n"}
    assert host.cmdline == "BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet"
    assert (host.committed, host.layouts) == (None, {})
    assert host.state["iomem"] == []
    assert host.state["problems"] == []


def test_more_facts(tree: Path) -> None:
    put(tree, "/sys/firmware/efi/fw_platform_size", "64\n")
    put(tree, "/proc/sys/kernel/arch", "x86_64\n")
    put(tree, "/sys/devices/system/memory/block_size_bytes", "80000000\n")
    put(tree, "/proc/vmstat", "nr_free_pages 5\nnr_memmap_pages 7\nnr_memmap_boot_pages 9\nnr_memmap_x 1\n")
    put(tree, "/proc/sys/kernel/random/boot_id", "57c4b957-fed4-4e61-ba23-f0810a4e3b37\n")
    put(
        tree,
        "/proc/iomem",
        "00000000-00000fff : Reserved\n140000000-17fffffff : Soft Reserved\n  140000000-17fffffff : dax0.0\n"
        "    140000000-17fffffff : System RAM (kmem)\nnonsense\n",
    )
    host = read(tree)
    assert host.firmware_boot == "efi"
    assert host.state["block_size"] == 2 * GIB
    assert host.state["vmstat"] == {"nr_memmap_pages": 7, "nr_memmap_boot_pages": 9}
    assert host.state["boot_id"] == "57c4b957-fed4-4e61-ba23-f0810a4e3b37"
    assert host.state["iomem"] == [
        [0, 4096, "Reserved", 0],
        [5 * GIB, 6 * GIB, "Soft Reserved", 0],
        [5 * GIB, 6 * GIB, "dax0.0", 1],
        [5 * GIB, 6 * GIB, "System RAM (kmem)", 2],
    ]


def test_an_hmat_and_the_memory_it_speaks_of(tree: Path) -> None:
    put(tree, "/sys/firmware/acpi/tables/HMAT", hmat((1, 0)))
    host = read(tree)
    assert host.hmat and host.hmat_targets == host.node_ranges


def test_an_hmat_that_kernels_ignore(tree: Path) -> None:
    put(tree, "/sys/firmware/acpi/tables/HMAT", hmat((7, 0)))
    host = read(tree)
    assert not host.hmat and host.hmat_targets == ()
    assert host.state["problems"] == [
        "/sys/firmware/acpi/tables/HMAT: kernels ignore this table: proximity domain 7 has no memory in the SRAT"
    ]


def test_hidden_addresses_are_no_iomem(tree: Path) -> None:
    put(tree, "/proc/iomem", "00000000-00000000 : Reserved\n  00000000-00000000 : System RAM\n")
    assert read(tree).state["iomem"] == []


def test_a_host_without_srat_is_one_node(tree: Path) -> None:
    (tree / "sys/firmware/acpi/tables/SRAT").unlink()
    assert read(tree).node_ranges == (NodeRange(0, 0, 9 * GIB),)


def test_words_of_the_firmware_map(tree: Path) -> None:
    words = {
        "System RAM": 1,
        "Reserved": 2,
        "ACPI Tables": 3,
        "ACPI Non-volatile Storage": 4,
        "Unusable memory": 5,
        "Persistent Memory": 7,
        "Persistent Memory (legacy)": 12,
        "Soft Reserved": 0xEFFFFFFF,
        "Unknown E820 type": 20,
        "a word of next year": 20,
    }
    put_map(tree, [(i * GIB, (i + 1) * GIB - 1, word) for i, word in enumerate(words)])
    assert [entry.type for entry in read(tree).firmware_map] == list(words.values())


def test_the_captured_hosts(shared_data: Path, tmp_path: Path) -> None:
    """The tree and the log of one boot say the same."""
    captured = json.loads((shared_data / "dmemfs_hosts.json").read_text())
    assert len(captured) == 4
    for i, one in enumerate(captured):
        root = tmp_path / str(i)
        for path, text in one["files"].items():
            if path != "dmesg":
                put(root, path, text)
        log = host_from_dmesg(one["files"]["dmesg"])
        table = srat(*((r.node, r.start, r.end) for r in log.node_ranges))
        put(root, "/sys/firmware/acpi/tables/SRAT", table)
        host = read(root)
        assert host.firmware_map == log.firmware_map
        assert host.node_ranges == log.node_ranges
        assert host.kernel == log.kernel == "5.4.119-19"
        assert host.cmdline.strip() == log.cmdline
        assert [a.argument for a in host.foreign] == [
            t for t in host.cmdline.split() if t.startswith("dmem=")
        ]
        total = int(one["files"]["/proc/meminfo"].split()[1]) * 1024
        assert host.state["meminfo"]["MemTotal"] == total
        assert sum(node["MemTotal"] for node in host.state["nodes"].values()) == total
        assert set(host.state["nodes"]) == {"0", "1"}
        assert host.state["block_size"] == 128 << 20
        lines = host.state["iomem"]
        assert len(lines) == len(one["files"]["/proc/iomem"].splitlines())
        kernel_code = next(line for line in lines if line[2] == "Kernel code")
        assert kernel_code[3] == 1
        assert any(line[2] == "System RAM" and line[0] <= kernel_code[0] < line[1] for line in lines)


def test_no_firmware_map(tree: Path) -> None:
    for file in (tree / "sys/firmware/memmap").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(NotPossible, match=r"firmware.map: /sys/firmware/memmap/0 has no start and end"):
        read(tree)
    for folder in (tree / "sys/firmware/memmap").iterdir():
        folder.rmdir()
    with pytest.raises(NotPossible, match=r"CONFIG_FIRMWARE_MEMMAP.*carveout host --dmesg"):
        read(tree)
    # the planner refuses another architecture, and says why
    assert read(tree, machine="aarch64").architecture == "aarch64"
    put(tree, "/proc/sys/kernel/arch", "aarch64\n")
    assert read(tree).firmware_map == ()


def test_a_damaged_srat_is_never_guessed_at(tree: Path) -> None:
    put(tree, "/sys/firmware/acpi/tables/SRAT", b"SRAT" + bytes(100))
    with pytest.raises(InvalidInput, match=r"firmware.srat: the SRAT states a length of 0"):
        read(tree)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody else")
def test_what_only_root_may_read(tree: Path) -> None:
    (tree / "sys/firmware/acpi/tables/SRAT").chmod(0o400)
    for folder in (tree, *tree.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o11)
    os.seteuid(65534)
    try:
        with pytest.raises(NotPossible, match=r"cannot read /sys/firmware/acpi/tables/SRAT.*as root"):
            read(tree)
    finally:
        os.seteuid(0)


def layout(layout_id: str = ID, **more: Any) -> str:
    return json.dumps({"id": layout_id, "kernel_arguments": [f"carveout.layout={layout_id}", "x=1"], **more})


def test_stored_layouts(tree: Path) -> None:
    other = "f" * 16
    put(tree, f"/etc/carveout/layouts/{ID}.json", layout())
    put(tree, f"/etc/carveout/layouts/{other}.json", layout(other))
    put(tree, "/etc/carveout/committed", ID + "\n")
    host = read(tree)
    assert set(host.layouts) == {ID, other}
    assert host.committed == ID
    assert host.layouts[ID]["kernel_arguments"] == [f"carveout.layout={ID}", "x=1"]
    assert host.state["problems"] == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (f"{ID}.json", "", "is not JSON"),
        (f"{ID}.json", "{" * 100_000, "is not JSON"),
        (f"{ID}.json", "[" * 100_000, "is not JSON"),
        (f"{ID}.json", b"\xff\xfe", "is not JSON"),
        (f"{ID}.json", "9" * 10_000, ""),
        (f"{ID}.json", "[]", "a layout is an object"),
        (f"{ID}.json", layout("f" * 16), "layout.id"),
        (f"{ID}.json", layout(kernel_arguments=[1]), "layout.kernel_arguments"),
        (f"{ID}.json", layout(x="\x1b"), "control"),
        (f"{ID}.json", layout(x=float("nan")), "JSON does not have"),
        (f"{ID}.json", layout(x="a" * (1 << 20)), "longer than"),
        ("notes.txt", "remember the milk", "not named as a layout is"),
        ("../committed", "everything", "does not hold a layout's ID"),
        ("../committed", "x" * 5000, "longer than"),
    ],
)
def test_garbage_in_our_folders_is_named(tree: Path, name: str, content: str | bytes, problem: str) -> None:
    (tree / "etc/carveout/layouts").mkdir(parents=True)
    put(tree, f"/etc/carveout/layouts/{name}", content)
    host = read(tree)
    assert (host.committed, host.layouts) == (None, {})
    (found,) = host.state["problems"]
    assert found.startswith("/etc/carveout/") and problem in found


def test_special_files_are_not_opened(tree: Path) -> None:
    """A pipe would block for ever, a device may never end."""
    (tree / "etc/carveout/layouts").mkdir(parents=True)
    os.mkfifo(tree / f"etc/carveout/layouts/{ID}.json")
    (tree / "etc/carveout/committed").symlink_to("/dev/zero")
    (tree / "proc/cmdline").unlink()
    (tree / "proc/cmdline").mkdir()
    host = read(tree)
    assert host.cmdline == ""
    assert sorted(p.split(": ")[1] for p in host.state["problems"]) == ["is not a regular file"] * 3


def test_real_sysctls_and_endless_files_are_read(tmp_path: Path) -> None:
    system = RealSystem()
    assert system.read("/proc/sys/kernel/osrelease") == os.uname().release + "\n"
    assert system.read("/nowhere/at/all") is None
    with pytest.raises(OSError, match="not a regular file"):
        system.read("/dev/zero")
    with (tmp_path / "long").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(OSError, match="longer than"):
        system.read(str(tmp_path / "long"))
    (tmp_path / "bytes").write_bytes(bytes(range(256)) + b"\r\n\r")
    text = system.read(str(tmp_path / "bytes")) or ""
    assert text.encode("utf-8", "surrogateescape") == bytes(range(256)) + b"\r\n\r"


def test_programs_of_root_are_found_with_the_path_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = RealSystem().run(["sh", "-c", "echo $PATH; printf '\\351'"])
    assert done.stdout == "/usr/bin:/bin:/usr/sbin:/sbin\n\\xe9"


def test_bytes_that_are_no_text(tree: Path) -> None:
    put(tree, "/proc/cmdline", b"a=\xff b=\x1b[31m c=\xc3\xa9\n")
    put(tree, "/proc/iomem", b"00000000-00000fff : \x9b\xff\n")
    put(tree, "/proc/sys/kernel/osrelease", b"\xff\xff")
    put(tree, "/proc/sys/kernel/arch", b"x86\x00")
    host = read(tree, machine="x86_64")
    assert host.cmdline == "a=\\xff b=\\x1b[31m c=é"
    assert host.kernel_running == ""


FILES = [
    "/proc/cmdline", "/proc/iomem", "/proc/meminfo", "/proc/vmstat", "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/arch", "/proc/sys/kernel/random/boot_id", "/proc/version", "/etc/carveout/committed",
    f"/etc/carveout/layouts/{ID}.json", "/etc/default/grub", "/etc/default/grub.d/zz-carveout.cfg",
    "/boot/grub/grub.cfg", f"/boot/config-{RELEASE}", "/sys/firmware/memmap/0/start",
    "/sys/firmware/memmap/0/end", "/sys/firmware/memmap/0/type", "/sys/firmware/acpi/tables/SRAT",
    "/sys/devices/system/node/node0/meminfo", "/sys/devices/system/memory/block_size_bytes",
]  # fmt: skip
CONTENT = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
    st.integers(-1, 1 << 70).map(lambda n: f"{n:#x}\n".encode()),
    st.sampled_from(
        [b"Node 0 MemTotal: 99 kB\n", b"0-ffff : x\n", b"00000000-0000ffff : \x1b\n", b"{}", b"\0"]
    ),
)


@given(st.dictionaries(st.sampled_from(FILES), CONTENT, min_size=1, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_files_hold(tree: Path, files: dict[str, bytes]) -> None:
    kept = {
        path: (tree / path.lstrip("/")).read_bytes() if (tree / path.lstrip("/")).exists() else None
        for path in files
    }
    try:
        for path, content in files.items():
            put(tree, path, content)
        try:
            read(tree)
        except CarveoutError as error:
            assert error.problems[0].path.startswith("firmware."), error
    finally:
        for path, before in kept.items():
            target = tree / path.lstrip("/")
            target.unlink() if before is None else target.write_bytes(before)
