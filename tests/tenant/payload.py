# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The smallest guest: 150 bytes of machine code that QEMU loads by the Multiboot protocol, version 1.

It writes a word into every page of its memory, reads all of them back, says on the serial line where its memory ends
and how many words were wrong, and stops. No page tables, no interrupts: some 10 instructions a page, so
that it is quick even where the host of the guest is emulated itself.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

#: The first page that is written: below are the payload, its stack and what the firmware left.
FIRST = 2 << 20
#: The port that ends QEMU where it has a device for that (``-device isa-debug-exit,iobase=...``).
EXIT_PORT = 0xF4
#: What it says in the end.
REPORT = re.compile(r"([0-?]{8})([0-?]{8})\r?\n")

_LOAD = 1 << 20
_STACK = _LOAD + 0x8000
_MAGIC, _FLAGS = 0x1BADB002, 0x10002  # sizes of memory are wanted; the addresses are those of the header
_HEADER = struct.Struct("<8I")


class Report(NamedTuple):
    """``end``: of the guest's memory in bytes, as its firmware says; ``wrong``: words that were not as written."""

    end: int
    wrong: int


def image(seed: int, step: int) -> bytes:
    """The guest, as a file for ``-kernel``. It writes :func:`word` at every multiple of ``step``."""
    code = _code(seed, step)
    end = _LOAD + _HEADER.size + len(code)
    checksum = -(_MAGIC + _FLAGS) % 2**32
    header = _HEADER.pack(_MAGIC, _FLAGS, checksum, _LOAD, _LOAD, end, _STACK, _LOAD + _HEADER.size)
    return header + code


def word(address: int, seed: int) -> int:
    """What stands at an address, little end first."""
    return address ^ seed


def read_report(text: str) -> Report:
    """What the guest said; ValueError where that is nothing. Its digits above 9 are the characters behind the 9."""
    found = REPORT.search(text)
    if found is None:
        raise ValueError(f"the guest said nothing to be understood: {text[-500:]!r}")
    end, wrong = (sum((ord(c) - 48) << 4 * i for i, c in enumerate(reversed(g))) for g in found.groups())
    return Report(end, wrong)


def _code(seed: int, step: int) -> bytes:
    first, stack, by, pattern = (struct.pack("<I", number).hex() for number in (FIRST, _STACK, step, seed))
    lines = (
        "fa",                # cli
        "8b 73 08",          # mov esi, [ebx+8]        KiB above 1 MiB, of the loader's table
        "81 c6 00 04 00 00", # add esi, 1024
        "c1 e6 0a",          # shl esi, 10
        f"bc {stack}",       # mov esp, stack
        f"bf {first}",       # mov edi, first
        "39 f7",             # write: cmp edi, esi
        "73 11",             # jae written
        "89 f8",             # mov eax, edi
        f"35 {pattern}",     # xor eax, seed
        "89 07",             # mov [edi], eax
        f"81 c7 {by}",       # add edi, step
        "eb eb",             # jmp write
        "31 ed",             # written: xor ebp, ebp
        f"bf {first}",       # mov edi, first
        "39 f7",             # read: cmp edi, esi
        "73 14",             # jae say
        "89 f8",             # mov eax, edi
        f"35 {pattern}",     # xor eax, seed
        "39 07",             # cmp [edi], eax
        "74 01",             # je right
        "45",                # inc ebp
        f"81 c7 {by}",       # right: add edi, step
        "eb e8",             # jmp read
        "b9 08 00 00 00",    # say: mov ecx, 8
        "c1 c6 04",          # end: rol esi, 4
        "89 f0",             # mov eax, esi
        "e8 21 00 00 00",    # call digit
        "e2 f4",             # loop end
        "b9 08 00 00 00",    # mov ecx, 8
        "c1 c5 04",          # wrong: rol ebp, 4
        "89 e8",             # mov eax, ebp
        "e8 10 00 00 00",    # call digit
        "e2 f4",             # loop wrong
        "b0 0a",             # mov al, 10
        "e8 0b 00 00 00",    # call put
        "31 c0",             # xor eax, eax
        f"e6 {EXIT_PORT:02x}",  # out port, al
        "f4",                # stop: hlt
        "eb fd",             # jmp stop
        "24 0f",             # digit: and al, 15
        "04 30",             # add al, '0'
        "88 c4",             # put: mov ah, al
        "66 ba fd 03",       # mov dx, 0x3fd           line status of the first serial line
        "ec",                # wait: in al, dx
        "a8 20",             # test al, 32
        "74 fb",             # jz wait
        "88 e0",             # mov al, ah
        "66 ba f8 03",       # mov dx, 0x3f8
        "ee",                # out dx, al
        "c3",                # ret
    )  # fmt: skip
    return bytes.fromhex("".join(lines))
