# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The counts of a run, for people and as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence

from .check import Result, Verdict
from .packages import Kernel


class Tally:
    """Counts results as they come."""

    def __init__(self, seed: int, first: int, count: int, kernels: Sequence[Kernel]) -> None:
        self.seed, self.first, self.count = seed, first, count
        self.kernels = list(kernels)
        self.verdicts: Counter[tuple[str, Verdict]] = Counter()
        self.expected: Counter[str] = Counter()
        self.boot_seconds: dict[str, list[float]] = {kernel.series: [] for kernel in kernels}
        self.mismatched: list[dict[str, object]] = []
        self._started = time.monotonic()

    @property
    def mismatches(self) -> int:
        return len(self.mismatched)

    def add(self, result: Result) -> None:
        """Count one result."""
        self.verdicts[result.kernel.series, result.verdict] += 1
        self.expected[result.case.expect.value] += 1
        if result.seen.booted:
            self.boot_seconds[result.kernel.series].append(result.seen.seconds)
        if result.verdict is Verdict.MISMATCH:
            subjects = [difference.subject for difference in result.differences]
            self.mismatched.append(
                {"number": result.case.number, "kernel": result.kernel.series, "subjects": subjects}
            )

    def _row(self, kernel: Kernel) -> dict[str, object]:
        counts = {verdict.name.lower(): self.verdicts[kernel.series, verdict] for verdict in Verdict}
        seconds = sorted(self.boot_seconds[kernel.series])
        median = round(seconds[len(seconds) // 2], 1) if seconds else None
        return {"series": kernel.series, "release": kernel.release, **counts, "median_boot_seconds": median}

    def summary(self) -> str:
        """A line for each kernel and one for all."""
        lines = []
        for kernel in self.kernels:
            words = [f"{n} {v.value}" for v in Verdict if (n := self.verdicts[kernel.series, v])]
            lines.append(f"{kernel.release:22} {', '.join(words) or 'no case'}")
        total = sum(self.verdicts.values())
        minutes = (time.monotonic() - self._started) / 60
        lines.append(f"seed {self.seed}: {total} cases, {self.mismatches} mismatches, in {minutes:.1f} min")
        return "\n".join(lines)

    def to_json(self) -> str:
        """What docs/kernels.md tells of a run."""
        return (
            json.dumps(
                {
                    "seed": self.seed,
                    "first": self.first,
                    "cases": sum(self.verdicts.values()),
                    "made_for": dict(sorted(self.expected.items())),
                    "mismatches": self.mismatched,
                    "minutes": round((time.monotonic() - self._started) / 60, 1),
                    "kernels": [self._row(kernel) for kernel in self.kernels],
                },
                indent=2,
            )
            + "\n"
        )
