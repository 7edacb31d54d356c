# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a virtual machine is made of, and QEMU's command line for it: pure, nothing is started here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import firmware
from .errors import LabError

GIB = 2**30
DEFAULT_NAME = "lab1"
DEFAULT_NODE_MEMORY = (5 * GIB, 4 * GIB)
DEFAULT_CPUS = 2
DEFAULT_PORT = 22022
MAX_NODES = 8
#: KiB; the kernel's log of a panic takes a part of it
_STORE = 256

_UNITS = {"MiB": 2**20, "GiB": GIB, "TiB": 2**40}
# What an emulated CPU is slower with than without: the C library would take AVX's string functions, which QEMU's code
# generator does one helper call at a time (a fifth of a boot); la57 is one more level of page tables to walk.
_SLOW_IN_TCG = ("la57", "svm", "avx", "avx2", "fma", "f16c", "vaes")
# a host name, and it becomes the name of a directory
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAMESPACE = uuid.UUID("0a4b6dd5-3f6f-4a3c-9c64-6b3d8f2c1e57")


def check_name(name: str) -> str:
    """``name`` if it can be a host's name and a directory's; else LabError."""
    if not _NAME.fullmatch(name):
        raise LabError(f"--name {name!r}: a name has 1 to 63 small letters, digits and inner hyphens")
    return name


def parse_node_memory(text: str) -> tuple[int, ...]:
    """Bytes of each NUMA node from a list such as ``5GiB,4GiB``.

    Whole multiples of 128 MiB (a memory section of x86), as QEMU's boards and the kernel want them.
    """
    sizes = []
    for item in text.split(","):
        match = re.fullmatch(r"([1-9][0-9]*)(MiB|GiB|TiB)", item.strip())
        if match is None:
            raise LabError(f"--node-memory {text}: {item.strip()!r} is no size such as 4GiB or 4096MiB")
        size = int(match[1]) * _UNITS[match[2]]
        if size % (128 * 2**20):
            raise LabError(f"--node-memory {text}: {item.strip()} is not a multiple of 128MiB")
        sizes.append(size)
    if not sizes or len(sizes) > MAX_NODES:
        raise LabError(f"--node-memory {text}: 1 to {MAX_NODES} nodes are possible")
    if sizes[0] < GIB:
        raise LabError(f"--node-memory {text}: the first node needs at least 1GiB to boot")
    return tuple(sizes)


@dataclass(frozen=True)
class Machine:
    """One virtual machine, as it is started."""

    name: str
    directory: Path
    """where its disk, its log and its sockets lie"""
    port: int
    """TCP port on 127.0.0.1 that leads to its ssh"""
    accel: str
    """``kvm`` or ``tcg``"""
    node_memory: tuple[int, ...] = DEFAULT_NODE_MEMORY
    cpus: int = DEFAULT_CPUS
    firmware: str = "bios"
    record: bool = False
    """whether every write to its disk is kept in :attr:`writes`"""

    @property
    def writes(self) -> Path:
        """The writes in their order, in the format of dm-log-writes; it has to be there."""
        return self.directory / "writes.log"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / "qemu.pid"

    @property
    def uuid(self) -> str:
        """The machine's UUID; the guest makes its machine-id of it: same name, same host."""
        return str(uuid.uuid5(_NAMESPACE, self.name))


def accel_arguments(accel: str) -> list[str]:
    """``-accel`` and ``-cpu`` of QEMU for ``kvm`` or ``tcg``."""
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return [
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        ",".join(["max", *(f"{flag}=off" for flag in _SLOW_IN_TCG)]),
    ]


def _numa_arguments(node_memory: Sequence[int], cpus: int) -> list[str]:
    arguments: list[str] = []
    for node, size in enumerate(node_memory):
        # reserve=off: the guest may have more memory than this machine, as long as it does not touch it
        arguments += ["-object", f"memory-backend-ram,id=m{node},size={size},reserve=off"]
        own = "".join(f",cpus={cpu}" for cpu in range(cpus) if cpu % len(node_memory) == node)
        arguments += ["-numa", f"node,nodeid={node}{own},memdev=m{node}"]
    return arguments


def _board_management(machine: Machine) -> list[str]:
    """What a server has for the time when its kernel is dead: a watchdog that resets it, and a store for last words.

    The store (ACPI ERST, which the kernel shows as pstore) is a file, so it outlives a reset and a power cut.
    """
    store = escape(machine.directory / "erst.bin")
    return [
        "-device", "i6300esb",
        "-action", "watchdog=reset",
        "-object", f"memory-backend-file,id=erst,size={_STORE}k,mem-path={store},share=on",
        "-device", "acpi-erst,memdev=erst",
    ]  # fmt: skip


def _disk(machine: Machine) -> str:
    # writeback: a cut of the guest's power keeps what the guest has written, and no more is promised
    common, disk = "if=none,id=disk0,cache=writeback", escape(machine.disk)
    if not machine.record:
        return f"{common},format=qcow2,file={disk}"
    return (
        f"{common},driver=blklogwrites,file.driver=qcow2,file.file.driver=file,file.file.filename={disk}"
        f",log.driver=file,log.filename={escape(machine.writes)},log-super-update-interval=1"
    )


def _firmware_arguments(machine: Machine) -> list[str]:
    """Nothing for QEMU's own BIOS; for UEFI the program, and the file of this machine's variables.

    The variables are flash memory, so they outlive a reset and a power cut, as a board's do.
    """
    if machine.firmware == "bios":
        return []
    return [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={escape(firmware.CODE)}",
        "-drive", f"if=pflash,unit=1,format=raw,file={escape(machine.directory / firmware.VARIABLES)}",
    ]  # fmt: skip


def escape(value: object) -> str:
    """``value`` inside an option list of QEMU, where a comma ends the value and two are one."""
    return str(value).replace(",", ",,")


def qemu_arguments(machine: Machine) -> list[str]:
    """QEMU's arguments for ``machine``, without the program. It runs with ``machine.directory`` as its directory.

    The board is i440fx ("pc"): RAM lies at 0-3 GiB and from 4 GiB on, there is little on it to be probed. Sockets have
    relative paths because a socket's path may not be longer than 107 bytes.
    """
    return [
        "-name", escape(machine.name),
        "-uuid", machine.uuid,
        *accel_arguments(machine.accel),
        "-machine", "pc,usb=off,vmport=off,hpet=off,graphics=off",
        # a socket for each CPU: the kernel warns of one socket that lies on two nodes
        "-smp", f"{machine.cpus},sockets={machine.cpus},cores=1,threads=1",
        "-m", f"{sum(machine.node_memory) // 2**20}M",
        *_numa_arguments(machine.node_memory, machine.cpus),
        "-nodefaults", "-vga", "none", "-display", "none",
        "-smbios", f"type=11,value=io.systemd.credential:system.hostname={machine.name}",
        "-device", "virtio-rng-pci",
        "-drive", _disk(machine),
        "-device", "virtio-blk-pci,drive=disk0,bootindex=0",
        "-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{machine.port}-:22",
        "-device", "virtio-net-pci,netdev=net0,romfile=",
        *_firmware_arguments(machine),
        *_board_management(machine),
        "-chardev", "file,id=serial0,path=console.log,append=on",
        "-serial", "chardev:serial0",
        "-qmp", "unix:qmp.sock,server=on,wait=off",
        "-monitor", "unix:monitor.sock,server=on,wait=off",
        "-pidfile", str(machine.pid_file),
        "-daemonize",
    ]  # fmt: skip
