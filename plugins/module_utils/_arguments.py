# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel command line as an ordered list of tokens with duplicates.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

#: Names of arguments that change which memory the kernel uses. Where they are not ours they are
#: foreign memory arguments.
MEMORY_ARGUMENTS = frozenset(
    {
        "memmap", "mem", "dmem", "hugepages", "hugepagesz", "default_hugepagesz", "hugetlb_cma",
        "hugetlb_free_vmemmap", "crashkernel", "efi_fake_mem", "reserve_mem", "memhp_default_state",
        "numa", "dax_hmem.region_idle", "device_hmem.disable", "movablecore", "kernelcore", "cma",
    }
)  # fmt: skip
LAYOUT_ARGUMENT = "carveout.layout"
#: On the command line of a trial boot, and of nothing else.
TRIAL_ARGUMENT = "carveout.trial"

#: COMMAND_LINE_SIZE on x86 (arch/x86/include/asm/setup.h), the trailing NUL included.
COMMAND_LINE_SIZE = 2048

#: isspace() of lib/ctype.c for what can stand in a command line: 0xa0 is white space there.
_SPACE = " \t\n\v\f\r\xa0"


class Argument(NamedTuple):
    """One token: the text as written, the parameter's name, and its value (None without ``=``)."""

    text: str
    name: str
    value: str | None


def split(cmdline: str) -> list[str]:
    """Tokens as the kernel's ``next_arg`` cuts them (lib/cmdline.c): blanks outside of ``"``.

    The text of a token keeps its quotes; there is no escape character.
    """
    tokens: list[str] = []
    current: list[str] = []
    quoted = False
    for char in cmdline.rstrip("\0"):
        if char in _SPACE and not quoted:
            if current:
                tokens.append("".join(current))
                current = []
            continue
        if char == '"':
            quoted = not quoted
        current.append(char)
    if current:
        tokens.append("".join(current))
    return tokens


def parse(token: str) -> Argument:
    """Name and value of a token with the quotes taken off as ``next_arg`` does."""
    body = token
    quoted = body.startswith('"')
    if quoted:
        body = body[1:]
    equals = body.find("=", 1)
    if equals < 0:
        if quoted and body.endswith('"'):
            body = body[:-1]
        return Argument(token, body, None)
    name, value = body[:equals], body[equals + 1 :]
    if value.startswith('"'):
        value = value[1:]
        if value.endswith('"'):
            value = value[:-1]
    elif quoted and value.endswith('"'):
        value = value[:-1]
    return Argument(token, name, value)


def same_name(left: str, right: str) -> bool:
    """Parameter names compare with ``-`` and ``_`` equal (kernel/params.c, parameq)."""
    return left.replace("-", "_") == right.replace("-", "_")


def iterate(tokens: Iterable[str]) -> Iterator[Argument]:
    """The arguments the kernel reads: those before a bare ``--`` (kernel/params.c, parse_args)."""
    for token in tokens:
        argument = parse(token)
        if argument.name == "--" and argument.value is None:
            return
        yield argument


def is_memory_argument(token: str) -> bool:
    return parse(token).name.replace("-", "_") in {n.replace("-", "_") for n in MEMORY_ARGUMENTS}


def layout_id(tokens: Iterable[str]) -> str | None:
    """The layout that a command line names (``carveout.layout=ID``); the last one wins."""
    found = None
    for argument in iterate(tokens):
        if argument.name == LAYOUT_ARGUMENT:
            found = argument.value
    return found


def carries(tokens: Sequence[str], wanted: Sequence[str], stored: Iterable[Sequence[str]]) -> bool:
    """Whether a command line has the arguments of a layout, be it under the ID of another one.

    ``wanted`` are the layout's ``kernel_arguments``, the ID first; ``stored`` those of the layouts whose arguments are
    known. Without these the end of a run cannot be told: memory arguments of others may follow it.
    """
    booted = layout_id(tokens)
    if booted is None or not wanted:
        return booted is None and not wanted
    for run in (wanted, *stored):
        if run and run[0] == f"{LAYOUT_ARGUMENT}={booted}" and list(run[1:]) == list(wanted[1:]):
            return find_sequence(tokens, run) >= 0
    return False


def find_sequence(tokens: Sequence[str], wanted: Sequence[str], start: int = 0) -> int:
    """Index from ``start`` on where ``wanted`` stands in ``tokens`` as one unbroken run, or -1."""
    if not wanted:
        return -1
    for index in range(start, len(tokens) - len(wanted) + 1):
        if list(tokens[index : index + len(wanted)]) == list(wanted):
            return index
    return -1


def without_sequence(tokens: Sequence[str], owned: Sequence[str]) -> list[str]:
    """``tokens`` with every unbroken run of ``owned`` taken out; the rest stays in order.

    What becomes such a run only by the removal of another is not ours and stays.
    """
    rest = list(tokens)
    index = find_sequence(rest, owned)
    while index >= 0:
        del rest[index : index + len(owned)]
        index = find_sequence(rest, owned, index)
    return rest
