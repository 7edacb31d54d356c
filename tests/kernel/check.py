# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One case from end to end: boot, predict, compare."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import Enum

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import Prediction, predict

from .boot import TIMEOUT, boot
from .cases import Case, Expect
from .compare import Difference, differences, host_of, kernel_place
from .machine import Machine
from .observation import Observation
from .packages import Kernel
from .planned import planned_tokens

#: A line that is predicted to be deadly gets this many seconds of CPU to be so.
_DEADLY_TIMEOUT = 20.0


class Verdict(Enum):
    """How prediction and boot relate."""

    SAME = "same"
    DIES = "dies as predicted"
    MAY = "dies, and was predicted that it may"
    COLLIDES = "KASLR landed in a range, as predicted that it can"
    PLACE = "the kernel's own place is not left to it, as warned"
    MISMATCH = "MISMATCH"


@dataclass(frozen=True)
class Result:
    """One case on one kernel, and all that was seen."""

    case: Case
    kernel: Kernel
    verdict: Verdict
    seen: Observation
    said: str
    differences: tuple[Difference, ...] = ()


class Baselines:
    """What each machine looks like on each kernel without memory arguments; booted once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Machine], Observation] = {}
        self._lock = threading.Lock()

    def get(self, kernel: Kernel, machine: Machine) -> Observation:
        """A boot of the machine with ``nokaslr`` alone; RuntimeError where that dies."""
        key = (kernel.series, machine)
        with self._lock:
            found = self._seen.get(key)
        if found is None:
            found = boot(kernel, "nokaslr", machine, modules=())
            if not found.booted:
                raise RuntimeError(
                    f"{machine} does not boot {kernel.release} at all: {found.reason}\n{found.tail}"
                )
            with self._lock:
                self._seen[key] = found
        return found


def check(case: Case, kernel: Kernel, baselines: Baselines) -> Result:
    """Boot the case and hold the prediction against it."""
    if case.expect is Expect.PLANNED:
        case = replace(case, tokens=planned_tokens(case, host_of(baselines.get(kernel, case.machine))))
    timeout = _DEADLY_TIMEOUT if case.expect is Expect.DIES else TIMEOUT
    seen = boot(kernel, case.cmdline, case.machine, modules=("dax_hmem",), timeout=timeout)
    model = host_of(seen if seen.booted else baselines.get(kernel, case.machine))
    try:
        predicted = predict(model, split(seen.cmdline), kernel.release)
    except CarveoutError as error:
        deadly = [problem for problem in error.problems if problem.code == "does-not-boot"]
        right = bool(deadly) and not seen.booted
        return Result(case, kernel, Verdict.DIES if right else Verdict.MISMATCH, seen, f"predicted: {error}")
    if not seen.booted:
        may = [warning.message for warning in predicted.warnings if warning.code == "may-not-boot"]
        verdict = Verdict.MAY if may else Verdict.MISMATCH
        return Result(case, kernel, verdict, seen, may[0] if may else "predicted: boots")
    if _collides(predicted, seen):
        return Result(case, kernel, Verdict.COLLIDES, seen, "")
    found = differences(predicted, seen)
    if found and any(warning.code == "kernel-place" for warning in predicted.warnings):
        # How much the kernel takes back is as much as its image is long.
        return Result(case, kernel, Verdict.PLACE, seen, "")
    return Result(case, kernel, Verdict.MISMATCH if found else Verdict.SAME, seen, "", tuple(found))


def _collides(predicted: Prediction, seen: Observation) -> bool:
    """Whether the kernel sits where there should be no RAM, with KASLR on: the map is another one then."""
    place = kernel_place(seen)
    if place is None or "nokaslr" in split(seen.cmdline):
        return False
    return not any(
        line.name == "System RAM" and line.start <= place[0] and place[1] <= line.end
        for line in predicted.iomem
    )
