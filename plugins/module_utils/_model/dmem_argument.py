# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The argument ``dmem=`` as a dmemfs kernel reads it.

Follows parse_dmem and check_dmem_param (mm/dmem_reserve.c of the OpenCloudOS 5.4 kernels and of the
second posting of the dmemfs patches; the two are the same here).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .._arguments import iterate
from .._units import SECTION, U64, memparse

ARGUMENT = "dmem"
#: What parse_early_param adds to every refusal (init/main.c, do_early_param).
MALFORMED = "Malformed early option 'dmem'"


class DmemRequest(NamedTuple):
    """An accepted argument, in bytes: a range where ``base`` is not 0, else an amount per node.

    With ``keep`` (the ``!`` form) the size is what the kernel keeps on each node.
    """

    base: int
    size: int
    align: int
    keep: bool

    @property
    def message(self) -> str:
        """What the kernel prints for it."""
        return (
            f"dmem: parameter: base address {self.base:#x} size {self.size:#x} align {self.align:#x} "
            f"resv_kernel {int(self.keep)}"
        )


class DmemRefusal(NamedTuple):
    """A refused argument: why, and what the kernel prints before its general message ("": nothing)."""

    reason: str
    message: str


def parse_dmem(value: str | None) -> DmemRequest | DmemRefusal:
    """One occurrence of ``dmem=``; None where it stands without a value."""
    if value is None:
        return DmemRefusal("it has no value", "")
    keep = value.startswith("!")
    text = value[1:] if keep else value
    size, rest = memparse(text)
    if rest == text:
        return DmemRefusal("no size stands at its start", "")
    if size == 0:
        return _refused("'size' of 0 defined in dmem=, or {invalid} param")
    parts = {"@": 0, ":": 0}
    while rest:
        mark, text = rest[0], rest[1:]
        if mark not in parts:
            return _refused(f"unknown indicator: {mark} in dmem=")
        if parts[mark]:
            return DmemRefusal(f"{mark!r} stands twice", "")
        parts[mark], rest = memparse(text)
        if rest == text:
            return DmemRefusal(f"no number stands after {mark!r}", "")
        if parts[mark] == 0:
            return _refused("'addr' or 'align' should not be set to 0")
    return _check(DmemRequest(parts["@"], size, parts[":"] or SECTION, keep))


def _check(request: DmemRequest) -> DmemRequest | DmemRefusal:
    base, size, align, keep = request
    if align < SECTION:
        return _refused(f"'align' should be {SECTION:#x} at least to be aligned to memory section.")
    if align & (align - 1):
        return _refused("'align' should be power of 2.")
    if base % align:
        return _refused("'addr' is unaligned to 'align' in dmem=")
    if size % align:
        return _refused("'size' is unaligned to 'align' in dmem=")
    if base + size >= U64:
        return _refused("'addr + size' overflow in dmem=")
    if keep and base:
        return _refused("take a certain base address for kernel is illegal")
    return request


def _refused(words: str) -> DmemRefusal:
    return DmemRefusal(words.rstrip("."), f"dmem: {words}")


class DmemArguments(NamedTuple):
    """All occurrences together: the request that holds, what the kernel printed, what it refused."""

    request: DmemRequest | None
    messages: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def read_dmem(tokens: Iterable[str]) -> DmemArguments:
    """The last valid occurrence holds; one request is all the kernel has room for.

    ``refused`` are the pairs of argument and reason that come to nothing, earlier valid ones included.
    """
    held: tuple[str, DmemRequest] | None = None
    messages: list[str] = []
    refused: list[tuple[str, str]] = []
    for argument in iterate(tokens):
        if argument.name != ARGUMENT:
            continue
        parsed = parse_dmem(argument.value)
        if isinstance(parsed, DmemRefusal):
            messages += [parsed.message] if parsed.message else []
            messages.append(MALFORMED)
            refused.append((argument.text, parsed.reason))
            continue
        if held is not None:
            refused.append((held[0], "a later dmem= replaces it"))
        held = (argument.text, parsed)
        messages.append(parsed.message)
    return DmemArguments(held[1] if held else None, tuple(messages), tuple(refused))
