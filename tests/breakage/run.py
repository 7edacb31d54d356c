#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Breaks a carved host in many ways, one after the other, and shows that the verification notices each.

    tests/breakage/run.py --inventory inventories/lab --host lab1 [--only NAME]...

The host is mended after every breakage, whatever happens, and has to verify again at the end. Exit status 0 where
every breakage was noticed with its message, 1 where one was not, 2 where the host cannot be used for this.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import testinfra

sys.path.insert(0, str(Path(__file__).parent))

from ways import Rig, Way, ways

from ansible_collections.carveout.memory.plugins.module_utils._arguments import layout_id, split
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host_files import program_path
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.run import (
    SuiteError,
    SuiteResult,
    run_suite,
)


class Unusable(Exception):
    """The host cannot be used for this."""


class Bench:
    """One host, its layout, and the suite."""

    def __init__(self, inventory: str, name: str) -> None:
        host = testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory)
        known = host.backend.ansible_runner.inventory["_meta"]["hostvars"]
        if name not in known:
            raise Unusable(f"{inventory} has no host {name}; it has: {', '.join(sorted(known)) or 'none'}")
        self._variables: dict[str, Any] = {name: known[name]}
        self.layout = _booted_layout(host)
        if not self.layout.devices:
            raise Unusable(f"the layout {self.layout.id} of {name} has no devices to break")
        self.rig = Rig(host, self.layout)

    def verify(self) -> SuiteResult:
        (name,) = self._variables
        return run_suite(self._variables, {name: self.layout.to_json()})


def _booted_layout(host: Any) -> Layout:
    done = host.run(shlex.join(["python3", "-B", program_path(), "host"]))
    if done.rc != 0:
        raise Unusable(f"the host gives no snapshot: {done.stderr.strip()}")
    snapshot = json.loads(done.stdout)
    booted = layout_id(split(snapshot["cmdline"]))
    if booted not in snapshot["layouts"]:
        raise Unusable(f"the host runs no layout that is stored on it ({booted})")
    return Layout.from_json(snapshot["layouts"][booted])


def try_way(bench: Bench, way: Way) -> list[str]:
    """Break, verify, mend. What is wrong with the outcome; nothing where the breakage was noticed."""
    try:
        way.damage()
        result = bench.verify()
    finally:
        bench.rig.run(way.mend)
    missing = [part for part in way.expected if not any(part in failure for failure in result.failures)]
    for failure in result.failures:
        print(f"        {failure}")
    if result.passed:
        return ["the verification passed"]
    return [f"no message has {part!r}" for part in missing]


def main() -> int:
    parser = argparse.ArgumentParser(description="Break a carved host and see that its verification notices.")
    parser.add_argument(
        "--inventory", required=True, help="Ansible inventory with literal connection variables"
    )
    parser.add_argument(
        "--host", required=True, help="the host to break; nothing else may be using its devices"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only this breakage; may be given again"
    )
    options = parser.parse_args()
    # testinfra starts ansible-inventory, which stands beside the Python that runs this
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        bench = Bench(options.inventory, options.host)
        first = bench.verify()
        if not first.passed:
            raise Unusable("the host has to verify before it is broken:\n" + "\n".join(first.failures))
    except (Unusable, SuiteError, CarveoutError, RuntimeError, AssertionError) as error:
        print(f"breakage: {error}", file=sys.stderr)
        return 2
    return _try_all(bench, options.only)


def _try_all(bench: Bench, only: list[str] | None) -> int:
    chosen = [way for way in ways(bench.rig) if not only or way.name in only]
    if not chosen:
        print(
            f"breakage: there is no such way; there are: {', '.join(w.name for w in ways(bench.rig))}",
            file=sys.stderr,
        )
        return 2
    bad = 0
    for way in chosen:
        started = time.monotonic()
        print(f"breaking: {way.name}", flush=True)
        try:
            wrong = try_way(bench, way)
        except (SuiteError, RuntimeError, AssertionError) as error:
            wrong = [str(error)]
        for text in wrong:
            print(f"        wrong: {text}")
        print(f"{'FAILED' if wrong else 'ok':<8}{way.name} ({time.monotonic() - started:.0f} s)", flush=True)
        bad += bool(wrong)
    last = bench.verify()
    for failure in last.failures:
        print(f"        not mended: {failure}")
    mended = "mended" if last.passed else "NOT mended"
    print(f"{len(chosen) - bad} of {len(chosen)} breakages were noticed; the host is {mended}")
    return 1 if bad or not last.passed else 0


if __name__ == "__main__":
    sys.exit(main())
