# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work over many items in several processes, and how far it is."""

from __future__ import annotations

import io
import os
import signal

import pytest

from ansible_collections.carveout.memory.plugins.plugin_utils.parallel import CHUNK, in_order
from ansible_collections.carveout.memory.plugins.plugin_utils.progress import line, with_progress


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fatal(number: int) -> str:
    """Ends its process at one item, by a signal or by itself."""
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 70:
        os._exit(7)
    return str(number)


def lost(item: int, reason: str) -> str:
    return f"{item} lost {reason}"


def never(item: int, reason: str) -> tuple[int, int]:
    raise AssertionError(f"{item}: {reason}")


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 10 * CHUNK + 3])
def test_the_answers_come_in_order(jobs: int, count: int) -> None:
    answers = list(in_order(square, range(count), jobs, never))
    assert [answer for answer, _ in answers] == [n * n for n in range(count)]
    workers = {process for _, process in answers}
    assert len(workers) <= jobs
    assert (workers <= {os.getpid()}) == (jobs == 1 or count <= CHUNK)


def test_a_process_that_ends_costs_its_chunk_alone() -> None:
    answers = list(in_order(fatal, range(6 * CHUNK), 2, lost))
    killed, ended = range(CHUNK, 2 * CHUNK), range(4 * CHUNK, 5 * CHUNK)
    assert answers == [
        f"{n} lost by SIGKILL" if n in killed else f"{n} lost with status 7" if n in ended else str(n)
        for n in range(6 * CHUNK)
    ]


def test_what_is_not_asked_for_any_more_is_not_done() -> None:
    answers = in_order(square, range(1000 * CHUNK), 2, never)
    process = next(answers)[1]
    answers.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals() -> None:
    file = io.StringIO()
    assert list(with_progress(range(5), 5, "planning", file)) == [0, 1, 2, 3, 4]
    assert file.getvalue() == ""
    terminal = Terminal()
    assert list(with_progress(range(5), 5, "planning", terminal)) == [0, 1, 2, 3, 4]
    assert terminal.getvalue().endswith("\r")
    assert "\n" not in terminal.getvalue()


def test_the_line_goes_too_where_it_fails() -> None:
    terminal = Terminal()
    with pytest.raises(ZeroDivisionError):
        list(with_progress((1 // n for n in (1, 0)), 2, "planning", terminal))
    assert terminal.getvalue().endswith(" \r")


def test_how_far_it_is() -> None:
    assert line("planning", 512, 1024, 0.5) == (
        "planning [############............] 512/1024 hosts, 1024/s, 0:00 left"
    )
    assert line("planning", 1, 7201, 1.0).endswith("1/7201 hosts, 1/s, 120:00 left")
