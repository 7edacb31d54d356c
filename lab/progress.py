# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell the operator what is going on: one line a step, with the time since the start."""

from __future__ import annotations

import sys
import time


class Progress:
    """Prints steps to standard error, so that standard output stays free for answers."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def elapsed(self) -> float:
        """Seconds since this command started."""
        return time.monotonic() - self._start

    def step(self, text: str) -> None:
        """Announce what starts now, or what has just been found."""
        print(f"[lab {self.elapsed():6.1f}s] {text}", file=sys.stderr, flush=True)
