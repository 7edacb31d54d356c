# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan`` over a directory of snapshots: a layout a host, and one list of results.

Memory stays flat: a host's snapshot and layout live in the worker that has it, its result goes to
``results.jsonl`` at once.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan

from .cli_files import committed_layout, read_host_file, read_layout_file
from .cli_fleet import HostResult, attempt, exit_code, over_hosts, snapshots

RESULTS = "results.jsonl"
#: Problems of so many hosts are shown; the results have them all.
_SHOWN = 20


@dataclass(frozen=True)
class PlanHost:
    """Plans one host of the directory and writes its layout to ``out``."""

    plan: Plan
    hosts: Path
    out: Path
    previous: Path | None
    kernel: str | None
    replan: bool

    def __call__(self, name: str) -> HostResult:
        result = attempt(name, lambda: self._planned(name))
        if result.status:
            # The layout of an earlier run is none of this plan.
            with contextlib.suppress(OSError):
                (self.out / name).unlink()
        return result

    def _planned(self, name: str) -> HostResult:
        host = read_host_file(str(self.hosts / name), self.kernel)
        earlier = self.previous / name if self.previous else None
        given = earlier is not None and earlier.exists()
        previous = read_layout_file(str(earlier)) if given else committed_layout(host)
        layout = make_layout(self.plan, host, previous, self.replan)
        try:
            done = write_if_changed(self.out / name, json_lines(layout.to_json()))
        except OSError as error:
            raise _unwritable(self.out / name, error) from None
        return HostResult(name, 0, layout.id, (), done)


def plan_directory(task: PlanHost, jobs: int, as_json: bool) -> int:
    """Plan every host of ``task.hosts``; returns the exit code."""
    names = snapshots(str(task.hosts))
    with _own(task.out):
        if task.out.samefile(task.hosts):
            raise InvalidInput.of("", "out-is-host", f"--out and --host are one directory, {task.out}")
        results = task.out / RESULTS
        # While we run, and where we are stopped, there are none.
        results.unlink(missing_ok=True)
        temporary = task.out / f".{RESULTS}.tmp"
        counts: collections.Counter[str | int] = collections.Counter()
        with temporary.open("w", encoding="utf-8") as file:
            for result in over_hosts(task, names, jobs, "planning"):
                json.dump(result.to_json(), file)
                file.write("\n")
                counts[result.file if result.status == 0 else result.status] += 1
                if result.status and not as_json:
                    _show(result, sum(counts[status] for status in (1, 3, 4)))
        temporary.replace(results)
        if as_json:
            _print_json(results, counts)
        else:
            print(_summary(len(names), counts, task.out))
    return exit_code(status for status in (1, 3, 4) if counts[status])


@contextlib.contextmanager
def _own(out: Path) -> Iterator[None]:
    """Make the directory and keep it to this run."""
    try:
        if out.exists() and not out.is_dir():
            raise InvalidInput.of("", "file-unwritable", f"{out}: not a directory")
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput.of("", "out-in-use", f"{out}: another carveout plans into it") from None
        try:
            yield
        except OSError as error:
            raise _unwritable(Path(error.filename or out), error) from None
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput.of("", "file-unwritable", f"{path}: {error.strerror}")


def write_if_changed(path: Path, text: str) -> str:
    """``new``, ``changed`` or ``same``; whoever reads the file sees all of the old or of the new."""
    data = text.encode()
    try:
        if path.read_bytes() == data:
            return "same"
        what = "changed"
    except FileNotFoundError:
        what = "new"
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return what


def json_lines(data: dict[str, Any]) -> str:
    """JSON with one key a line: quick to write, and a difference shows where it is."""
    inner = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    return f"{{\n{inner}\n}}\n"


def _show(result: HostResult, number: int) -> None:
    if number <= _SHOWN:
        for problem in result.errors:
            print(" ".join(printable(f"{result.host}: {problem}").split("\n")), file=sys.stderr)
    elif number == _SHOWN + 1:
        print(f"... the problems of more hosts are in {RESULTS}", file=sys.stderr)


def _summary(total: int, counts: collections.Counter[str | int], out: Path) -> str:
    planned = [f"{counts[word]} {word}" for word in ("new", "changed", "same") if counts[word]]
    failed = [
        f"{counts[status]} {words}"
        for status, words in ((3, "cannot do it"), (4, "invalid"), (1, "ended by a fault of our own"))
        if counts[status]
    ]
    many = sum(counts[word] for word in ("new", "changed", "same"))
    layouts = f" (layouts: {', '.join(planned)})" if planned else ""
    return printable(
        "; ".join([f"{many} of {total} hosts planned{layouts}", *failed, f"see {out / RESULTS}"])
    )


def _print_json(results: Path, counts: collections.Counter[str | int]) -> None:
    """``hosts``, ``errors`` (of them all) and ``counts``, written as they are read."""
    with results.open(encoding="utf-8") as file:
        sys.stdout.write('{"hosts": [')
        _print_items(file, lambda line: [line.rstrip("\n")])
        sys.stdout.write('],\n"errors": [')
        file.seek(0)
        _print_items(file, lambda line: [json.dumps(error) for error in json.loads(line)["errors"]])
    found = {word: counts[word] for word in ("new", "changed", "same")}
    found.update(
        {word: counts[status] for status, word in ((3, "not_possible"), (4, "invalid"), (1, "failed"))}
    )
    sys.stdout.write(f'],\n"counts": {json.dumps(found)}}}\n')


def _print_items(file: TextIO, items: Any) -> None:
    separator = "\n"
    for line in file:
        for item in items(line):
            sys.stdout.write(separator + item)
            separator = ",\n"
