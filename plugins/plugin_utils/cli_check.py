# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout check``: nothing, or every problem of a plan, also against many hosts."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan

from .cli_files import committed_layout, read_host_file, read_plan_file
from .cli_fleet import HostResult, add_jobs, attempt, exit_code, over_hosts, snapshots


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("check", help="find every problem of a plan")
    parser.add_argument("plan", metavar="PLAN.yml")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="HOST.json",
        help="or a directory of them; may be given again",
    )
    add_jobs(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


@dataclass(frozen=True)
class CheckHost:
    """Plans one host and forgets the layout."""

    plan: Plan

    def __call__(self, name: str) -> HostResult:
        return attempt(name, lambda: self._checked(name))

    def _checked(self, name: str) -> HostResult:
        host = read_host_file(name)
        return HostResult(name, 0, make_layout(self.plan, host, committed_layout(host)).id)


def run(args: argparse.Namespace) -> int:
    plan = read_plan_file(args.plan)
    names = [name for given in args.host for name in _files(given)]
    results = list(over_hosts(CheckHost(plan), names, args.jobs, "checking"))
    if args.format == "json":
        hosts = [result.to_json() for result in results]
        errors = [error for host in hosts for error in host["errors"]]
        json.dump({"errors": errors, "hosts": hosts}, sys.stdout, indent=1)
        print()
    else:
        for result in results:
            for problem in result.errors:
                print(printable(f"{result.host}: {problem}"), file=sys.stderr)
    return exit_code(result.status for result in results)


def _files(name: str) -> list[str]:
    if not os.path.isdir(name):
        return [name]
    return [os.path.join(name, file) for file in snapshots(name)]
