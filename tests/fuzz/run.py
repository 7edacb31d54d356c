# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run cases through the command's entry point and judge what comes out."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.text import is_printable
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main

from . import outputs
from .cases import Case, base_files, make

#: No input of a few KiB may take so much CPU time (a starved machine counts too much of it); a loop
SECONDS = 20.0
#: Where a plan is wrong as a whole, not in one place.
_WHOLE = {
    "yaml-invalid", "yaml-too-large", "yaml-too-deep", "plan-empty", "file-unreadable", "plan-too-deep", "type",
    "key-invalid", "yaml-tag", "yaml-type", "number-octal", "number-sexagesimal",
}  # fmt: skip


class Hang(BaseException):
    """Not to be caught by what is tested."""


def _alarm(*_: Any) -> None:
    raise Hang


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """A working directory of its own with the files that every case finds."""
    before = os.getcwd()
    folder = tempfile.mkdtemp(prefix="carveout-fuzz-")
    try:
        os.chdir(folder)
        Path("hosts").mkdir()
        for name, data in base_files().items():
            Path(name).write_bytes(data)
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def call(argv: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(argv)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
    return status, out.getvalue(), err.getvalue()


def findings(case: Case) -> tuple[int, list[str]]:
    """The exit code, and what is wrong with how the command answered; in :func:`workplace`."""
    for name, data in case.files.items():
        Path(name).write_bytes(data)
    signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        status, out, err = call(case.argv)
    except Hang:
        return -1, [f"no answer within {SECONDS} s of CPU time"]
    except BaseException:
        return -1, ["it raised\n" + traceback.format_exc()]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if "hosts/x.json" in case.files:
            Path("hosts/x.json").unlink()
    return status, list(_judged(case, status, out, err))


def _judged(case: Case, status: int, out: str, err: str) -> Iterator[str]:
    allowed = {"arguments": (0, 2, 3, 4, 5)}.get(case.kind, (0, 2, 3, 4))
    if case.argv[:1] == ["verify"]:
        allowed = (*allowed, 5)
    if status not in allowed:
        yield f"status {status}: {out[-500:]}{err[-500:]}"
    if "Traceback" in out + err:
        yield "a traceback"
    if not is_printable(out + err):
        yield f"control characters: {err[:500]!r} {out[:200]!r}"
    if status == 2:
        if "usage: carveout" not in err:
            yield f"wrong usage without saying how it is right: {err!r}"
    elif "--format" in case.argv and "json" in case.argv and case.kind != "arguments":
        yield from _judged_json(case, status, out, err)
    elif status and not (out + err).strip():
        yield "it failed in silence"


def _judged_json(case: Case, status: int, out: str, err: str) -> Iterator[str]:
    try:
        answer = json.loads(out)
    except ValueError as error:
        yield f"not JSON: {error}: {out[:500]!r}"
        return
    if err:
        yield f"words on standard error: {err[:500]!r}"
    if status in (1, 3, 4):
        if not answer.get("errors"):
            yield "a failure without an error"
        for told in answer.get("errors", []):
            if not told["message"].strip() or not told["code"]:
                yield f"an error that says nothing: {told}"
            if case.plan_at_fault and status == 4 and not told["path"] and told["code"] not in _WHOLE:
                yield f"an error without a place in the plan: {told}"
    elif status == 0 and case.argv[0] == "plan" and "id" in answer:
        Layout.from_json(answer)
        if case.judged:
            yield from outputs.wrong(*case.judged, answer)


def run(seed: int, numbers: range) -> tuple[collections.Counter[tuple[str, int]], list[str]]:
    """How often each kind of case ended with which status, and the findings."""
    counts: collections.Counter[tuple[str, int]] = collections.Counter()
    found = []
    with workplace():
        for number in numbers:
            case = make(seed, number)
            status, wrong = findings(case)
            counts[case.kind, status] += 1
            found += [f"--seed {seed} --case {number} ({case.kind}): {words}" for words in wrong]
    return counts, found
