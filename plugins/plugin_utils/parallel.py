# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One function over many items in several processes, answers in the items' order, memory flat.

A worker has one chunk at a time, and none runs far ahead of the slowest: what waits to be handed out
does not grow with the number of items. A worker ends when its pipe closes, so none outlives its parent,
however that ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

CHUNK = 16
#: How many chunks per worker may be begun before the first of them is handed out.
_AHEAD = 4
_JOIN_SECONDS = 5.0
_FORKED = sys.platform == "linux"
_CONTEXT: Any = multiprocessing.get_context("fork" if _FORKED else "spawn")


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    function: Callable[[_Item], _Answer],
    items: Sequence[_Item],
    jobs: int,
    lost: Callable[[_Item, str], _Answer],
) -> Iterator[_Answer]:
    """``function`` of each item, in order. With one job, or few items, in this process.

    ``function`` must not raise; where its process ends all the same (no memory left), ``lost`` says
    with the reason what stands for each item that it had.
    """
    if jobs == 1 or len(items) <= CHUNK:
        yield from map(function, items)
        return
    chunks = [items[at : at + CHUNK] for at in range(0, len(items), CHUNK)]
    pool: _Pool[_Item, _Answer] = _Pool(function, min(jobs, len(chunks)))
    try:
        yield from pool.run(chunks, lost)
    finally:
        pool.close()


class _Worker(Generic[_Item, _Answer]):
    def __init__(
        self, function: Callable[[_Item], _Answer], others: Sequence[_Worker[_Item, _Answer]]
    ) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        # A fork inherits our ends of all pipes; one that kept them open would keep the others alive.
        ours = [self.pipe, *(other.pipe for other in others)] if _FORKED else []
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, ours, function), daemon=True)
        self.process.start()
        theirs.close()
        self.number = -1

    def end(self) -> str:
        """Why it ended."""
        self.pipe.close()
        self.process.join(_JOIN_SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"


def _serve(pipe: Connection, ours: Sequence[Connection], function: Callable[[_Item], _Answer]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and closes the pipe
    for connection in ours:
        connection.close()
    gc.freeze()
    try:
        while True:
            pipe.send([function(item) for item in pipe.recv()])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class _Pool(Generic[_Item, _Answer]):
    def __init__(self, function: Callable[[_Item], _Answer], jobs: int) -> None:
        self._function = function
        self._idle: list[_Worker[_Item, _Answer]] = []
        self._busy: list[_Worker[_Item, _Answer]] = []
        for _ in range(jobs):
            self._add()

    def _add(self) -> None:
        self._idle.append(_Worker(self._function, [*self._idle, *self._busy]))

    def run(
        self, chunks: Sequence[Sequence[_Item]], lost: Callable[[_Item, str], _Answer]
    ) -> Iterator[_Answer]:
        waiting: dict[int, list[_Answer]] = {}
        begun = given = 0
        limit = _AHEAD * len(self._idle)
        while given < len(chunks):
            while self._idle and begun < min(len(chunks), given + limit):
                self._begin(begun, chunks[begun])
                begun += 1
            for worker in self._answering():
                try:
                    waiting[worker.number] = worker.pipe.recv()
                    self._idle.append(worker)
                except (EOFError, OSError):
                    reason = worker.end()
                    waiting[worker.number] = [lost(item, reason) for item in chunks[worker.number]]
                    self._add()
            while given in waiting:
                yield from waiting.pop(given)
                given += 1

    def _begin(self, number: int, chunk: Sequence[_Item]) -> None:
        worker = self._idle.pop()
        worker.number = number
        self._busy.append(worker)
        try:
            worker.pipe.send(chunk)
        except OSError:
            return  # it has ended; reading from it says so

    def _answering(self) -> list[_Worker[_Item, _Answer]]:
        ready = set(wait([worker.pipe for worker in self._busy]))
        answering = [worker for worker in self._busy if worker.pipe in ready]
        self._busy = [worker for worker in self._busy if worker.pipe not in ready]
        return answering

    def close(self) -> None:
        workers = [*self._idle, *self._busy]
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.end()
