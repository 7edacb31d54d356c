# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.fuzz``: many cases in several processes, or one again with all it was given."""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import os
import random
import sys

from ansible_collections.carveout.memory.tests.fuzz import cases, run

_CHUNK = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--case", type=int, help="this one alone, with what it was given and what it said")
    args = parser.parse_args()
    if args.case is not None:
        return _one(args.seed, args.case)
    print(f"seed {args.seed}, {args.count} cases", flush=True)
    # Nothing of the machine is to be read but what the cases bring.
    os.environ.pop("CARVEOUT_TRACEBACK", None)
    counts: collections.Counter[tuple[str, int]] = collections.Counter()
    findings = 0
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        chunks = [range(at, min(at + _CHUNK, args.count)) for at in range(0, args.count, _CHUNK)]
        for done, (more, found) in enumerate(pool.map(run.run, [args.seed] * len(chunks), chunks), 1):
            counts += more
            findings += len(found)
            for words in found:
                print(words, flush=True)
            if done % 20 == 0:
                print(f"... {sum(counts.values())} cases, {findings} findings", file=sys.stderr, flush=True)
    for kind in sorted({kind for kind, _ in counts}):
        statuses = {status: n for (k, status), n in sorted(counts.items()) if k == kind}
        print(f"{kind:<14}{sum(statuses.values()):>8}  by status: {statuses}")
    print(f"{sum(counts.values())} cases, {findings} findings")
    return 1 if findings else 0


def _one(seed: int, number: int) -> int:
    case = cases.make(seed, number)
    print(case)
    with run.workplace():
        status, found = run.findings(case)
        print(f"--- status {status}")
        for words in found or ["nothing wrong"]:
            print(words)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
