# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What kexec's older call loads, against what is carved out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._kexec import check_segments, loaded_segments
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout, Memory, Reservation
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

# kexec-tools 2.0.29
SAID = """\
Try gzip decompression.
kernel: 0x7f5d5c1f5010 kernel_size: 0xb4f440
nr_segments = 3
segment[0].buf   = 0x55d0d7a0b4e0
segment[0].bufsz = 0x70
segment[0].mem   = 0x100000
segment[0].memsz = 0x1000
segment[1].buf   = 0x7f5d5c1f9210
segment[1].bufsz = 0xb4b240
segment[1].mem   = 0x13d000000
segment[1].memsz = 0x3000000
segment[2].buf   = (nil)
segment[2].bufsz = 0
segment[2].mem   = 0x140000
segment[2].memsz = 0
"""
LOADED = [Range(0x100000, 0x101000), Range(0x13D000000, 5 * GIB)]


def layout(*ranges: tuple[int, int]) -> Layout:
    reservations = tuple(Reservation("guests", "dax", 0, start, end, GIB) for start, end in ranges)
    return Layout({}, "6.12", ("a=1",), reservations, (), (), Memory(), {})


def test_the_segments_are_read_and_empty_ones_left_out() -> None:
    assert loaded_segments(SAID) == LOADED


@pytest.mark.parametrize(
    "said", ["", "kexec_load failed: Operation not permitted\n", "segment[0].mem = 0x1\n"]
)
def test_a_text_without_segments_is_no_proof(said: str) -> None:
    with pytest.raises(InvalidInput, match="2>&1"):
        loaded_segments(said)


def test_memory_beside_carved_memory_is_fine() -> None:
    check_segments(LOADED, layout((5 * GIB, 6 * GIB), (0x101000, 0x200000)))


def test_each_range_in_carved_memory_is_named() -> None:
    with pytest.raises(
        NotPossible, match=r"0x13d000000, 0x140000000.* into .*0x13ffff000.* of the pool guests"
    ) as found:
        check_segments(LOADED, layout((5 * GIB, 6 * GIB), (5 * GIB - 4096, 5 * GIB)))
    assert len(found.value.problems) == 1


def test_the_host_s_program_reads_it_and_says_why_it_cannot() -> None:
    program = (
        "import sys; from ansible_collections.carveout.memory.plugins.module_utils._host_side import main; "
    )
    words = [sys.executable, "-c", f"{program}sys.exit(main(['kexec']))"]
    done = subprocess.run(words, input="no such text", capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("carveout: this names no segments; ") and "Traceback" not in done.stderr
