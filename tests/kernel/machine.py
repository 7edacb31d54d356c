# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The machines kernels are booted on: sizes of nodes, the board, the tables; and QEMU's arguments for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
GIB = 2**30

# What an emulated CPU is quicker without; pdpe1gb is what 1 GiB pages take.
_CPU = "qemu64,+pdpe1gb"


@dataclass(frozen=True)
class Machine:
    """One virtual machine: ``nodes`` are bytes of RAM, node by node.

    On ``pc`` and ``q35`` the RAM below 4 GiB ends at ``below_4g`` (0: the board's own limit, 3 or 2 GiB where there
    is more RAM than that); the rest follows at 4 GiB. ``srat`` False with one node: no NUMA tables at all.
    ``hmat`` adds an HMAT with latency and bandwidth of each node. ``phys_bits`` 0 leaves QEMU's 40.
    """

    nodes: tuple[int, ...] = (4 * GIB, 4 * GIB)
    board: str = "pc"
    below_4g: int = 0
    srat: bool = True
    hmat: bool = False
    phys_bits: int = 0
    firmware: Path | None = None
    """another firmware than SeaBIOS, such as an OVMF image"""
    extra: tuple[str, ...] = ()
    """more arguments for QEMU"""

    def __str__(self) -> str:
        words = ["+".join(size_words(size) for size in self.nodes), self.board]
        words += [f"below-4g={size_words(self.below_4g)}"] if self.below_4g else []
        words += [] if self.srat else ["no-srat"]
        words += ["hmat"] if self.hmat else []
        words += [f"phys-bits={self.phys_bits}"] if self.phys_bits else []
        words += [self.firmware.name] if self.firmware else []
        return " ".join([*words, *self.extra])


def size_words(size: int) -> str:
    """``3GiB``, ``1023MiB``, ``17KiB``."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"


def qemu_arguments(machine: Machine, kernel: Path, initrd: Path, cmdline: str, console: Path) -> list[str]:
    """QEMU's command, the program included: one CPU in software, no devices but a serial line into a file."""
    board = [machine.board, "vmport=off", "usb=off", "graphics=off"]
    board += ["hpet=off"]
    board += [f"max-ram-below-4g={machine.below_4g}"] if machine.below_4g else []
    board += ["hmat=on"] if machine.hmat else []
    cpu = _CPU + (f",phys-bits={machine.phys_bits}" if machine.phys_bits else "")
    return [
        "qemu-system-x86_64",
        "-accel", "tcg,thread=single",
        "-cpu", cpu,
        "-smp", "1",
        "-m", f"{sum(machine.nodes) // 1024}K",
        *_memory_arguments(machine, board),
        "-machine", ",".join(board),
        *(["-bios", str(machine.firmware)] if machine.firmware else []),
        "-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot",
        "-serial", f"file:{console}",
        "-kernel", str(kernel), "-initrd", str(initrd), "-append", cmdline,
        *machine.extra,
    ]  # fmt: skip


def _memory_arguments(machine: Machine, board: list[str]) -> Sequence[str]:
    # reserve=off: memory that the guest does not touch is not there
    backends = [
        f"memory-backend-ram,id=m{node},size={size},reserve=off" for node, size in enumerate(machine.nodes)
    ]
    arguments = [word for backend in backends for word in ("-object", backend)]
    if not machine.srat:
        if len(machine.nodes) != 1:
            raise ValueError("several nodes take a SRAT")
        board.append("memory-backend=m0")
        return arguments
    for node in range(len(machine.nodes)):
        own = ",cpus=0" if node == 0 else ""
        initiator = ",initiator=0" if machine.hmat else ""
        arguments += ["-numa", f"node,nodeid={node}{own},memdev=m{node}{initiator}"]
    if machine.hmat:
        for node in range(len(machine.nodes)):
            common = f"hmat-lb,initiator=0,target={node},hierarchy=memory"
            arguments += ["-numa", f"{common},data-type=access-latency,latency={10 * (node + 1)}"]
            arguments += ["-numa", f"{common},data-type=access-bandwidth,bandwidth={200 - 50 * (node % 3)}M"]
    return arguments
