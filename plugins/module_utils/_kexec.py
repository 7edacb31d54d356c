# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where kexec's older call (``kexec -c -l``) puts a kernel: the program chooses, and tells with ``-d``. Pure.

The kernel does not compare these places with the memory that it has (kernel/kexec_core.c,
sanity_check_segment_list), and has no file that tells what was chosen. So what the program prints is read.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re

from ._errors import InvalidInput, NotPossible, Problem
from ._layout import Layout
from ._ranges import Range

#: As print_segments of kexec-tools writes them (kexec/kexec.c).
_SEGMENT = re.compile(
    r"segment\[(\d{1,3})\]\.mem\s*=\s*0x([0-9a-f]{1,16})\s+segment\[\1\]\.memsz\s*=\s*0x([0-9a-f]{1,16})\s"
)


def loaded_segments(said: str) -> list[Range]:
    """The places of what ``kexec -d`` loads; InvalidInput where the text names none."""
    found = [
        Range(int(at, 16), int(at, 16) + int(size, 16))
        for _number, at, size in _SEGMENT.findall(said + "\n")
        if int(size, 16)
    ]
    if not found:
        message = (
            "this names no segments; give it what 'kexec -d -c -l KERNEL ...' prints, errors included (2>&1)"
        )
        raise InvalidInput.of("", "kexec-text", message)
    return found


def check_segments(segments: list[Range], layout: Layout) -> None:
    """Raise :class:`NotPossible` where one lies in memory that the layout carves out."""
    problems = [
        Problem(
            "",
            "kexec-overlap",
            f"kexec would write its segment {segment} into {reservation.range} of the pool {reservation.pool}; "
            "unload it ('kexec -u') and let the kernel choose ('kexec -s -l ...')",
        )
        for segment in segments
        for reservation in layout.reservations
        if segment.start < reservation.end and reservation.start < segment.end
    ]
    if problems:
        raise NotPossible(problems)
