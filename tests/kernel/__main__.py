# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.kernel``: the kernel model against real kernels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from . import dax_cases, kaslr_proof, packages
from .cases import make_case
from .check import Baselines, Result, Verdict, check
from .packages import Kernel
from .record import Tally
from .seed import seed_of


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as predicted, 1 where something is not, 2 where it could not be tried."""
    options = _parser().parse_args(arguments)
    if options.command == "kaslr":
        return kaslr_proof.run(options)
    if options.command == "dax":
        return dax_cases.run(options)
    try:
        chosen = options.kernel or packages.pins()["default"]
        kernels = [packages.kernel(series) for series in chosen]
    except (OSError, packages.PackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for kernel in kernels:
        if kernel.note:
            print(
                f"NOT THE PINNED KERNEL for {kernel.series}, but {kernel.release}: {kernel.note}", flush=True
            )
    seed = seed_of(Path(__file__).parent) if options.seed is None else options.seed
    if options.command == "case":
        return _one(seed, options.number, kernels)
    return _run(seed, options, kernels)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.kernel", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="boot many cases, spread over the kernels")
    run.add_argument("--seed", type=int, help="default: made from the commit's content")
    run.add_argument("--count", type=int, default=24)
    run.add_argument("--first", type=int, default=0, help="number of the first case")
    run.add_argument("--jobs", type=int, default=2)
    run.add_argument("--record", type=Path, help="write a summary as JSON")
    case = commands.add_parser("case", help="boot one case of a run again")
    case.add_argument("--seed", type=int, required=True)
    case.add_argument("--number", type=int, required=True)
    for command in (run, case):
        series = list(packages.pins()["kernels"])
        command.add_argument(
            "--kernel", action="append", metavar="SERIES", choices=series, help=", ".join(series)
        )
    proof = commands.add_parser(
        "kaslr", help="many boots with KASLR on: the guard holds, its absence does harm"
    )
    kaslr_proof.add_arguments(proof)
    dax_cases.add_arguments(
        commands.add_parser("dax", help="DAX regions of soft-reserved ranges, with and without an HMAT")
    )
    return parser


def _one(seed: int, number: int, kernels: Sequence[Kernel]) -> int:
    worst = 0
    for kernel in kernels:
        result = check(make_case(seed, number), kernel, Baselines())
        print(describe(result, True))
        worst |= result.verdict is Verdict.MISMATCH
    return worst


def _run(seed: int, options: argparse.Namespace, kernels: Sequence[Kernel]) -> int:
    print(f"seed {seed}: {options.count} cases on {', '.join(k.release for k in kernels)}", flush=True)
    tally = Tally(seed, options.first, options.count, kernels)
    for result in _results(seed, options, kernels):
        tally.add(result)
        print(describe(result, False), flush=True)
    print(tally.summary())
    if options.record:
        options.record.write_text(tally.to_json(), encoding="utf-8")
    return 1 if tally.mismatches else 0


def _results(seed: int, options: argparse.Namespace, kernels: Sequence[Kernel]) -> Iterator[Result]:
    baselines = Baselines()
    with ThreadPoolExecutor(options.jobs) as pool:
        running: set[Future[Result]] = set()
        for number in range(options.first, options.first + options.count):
            kernel = kernels[number % len(kernels)]
            running.add(pool.submit(check, make_case(seed, number), kernel, baselines))
            while len(running) >= 2 * options.jobs:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        for future in running:
            yield future.result()


def describe(result: Result, everything: bool) -> str:
    """A line for what is as predicted; the whole story of a mismatch."""
    case, seen = result.case, result.seen
    head = f"{case.number:4} {result.kernel.series:5} {seen.seconds:5.1f} s  {result.verdict.value}"
    if result.verdict is not Verdict.MISMATCH and not everything:
        return head
    lines = [
        head,
        f"  machine: {case.machine}",
        f"  command line: {seen.cmdline}",
        *([f"  {result.said}"] if result.said else []),
        f"  {'booted' if seen.booted else seen.reason}",
        *(str(difference) for difference in result.differences),
        *(
            []
            if seen.booted
            else ["  the console's last lines:", *(f"    {line}" for line in seen.tail.splitlines())]
        ),
        f"  again: python -m tests.kernel case --seed {case.seed} --number {case.number}"
        f" --kernel {result.kernel.series}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
