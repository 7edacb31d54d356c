# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout diff``: what a plan would change on each host, before any host is touched."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

from .cli_files import committed_layout, read_host_file, read_layout_file, read_plan_file
from .cli_fleet import HostResult, add_jobs, attempt, exit_code, guest_size, over_hosts, snapshots
from .fleet_diff import FleetDiff
from .layout_change import change


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("diff", help="show what a plan changes on hosts, and which reboot")
    parser.add_argument("plan", metavar="PLAN.yml")
    parser.add_argument(
        "--host",
        required=True,
        metavar="HOST.json",
        help="snapshot made by 'carveout host', or a directory of them",
    )
    parser.add_argument(
        "--previous",
        metavar="LAYOUT.json",
        help="layout to compare with, or a directory of them (default: the host's committed one)",
    )
    parser.add_argument("--kernel", metavar="RELEASE", help="plan for this kernel release")
    parser.add_argument(
        "--replan", action="store_true", help="plan anew even where the previous layout still fits"
    )
    parser.add_argument(
        "--guest",
        type=guest_size,
        default=4 * GIB,
        metavar="SIZE",
        help="count guests of this size (default 4GiB)",
    )
    add_jobs(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(wrong=parser.error)


@dataclass(frozen=True)
class DiffHost:
    """Plans one host and keeps what changes; ``previous`` None: against what is committed on the host."""

    plan: Plan
    hosts: Path
    previous: Path | None
    kernel: str | None
    replan: bool
    guest: int

    def __call__(self, name: str) -> HostResult:
        return attempt(name, lambda: self._compared(name))

    def _compared(self, name: str) -> HostResult:
        host = read_host_file(str(self.hosts / name), self.kernel)
        earlier = self.previous / name if self.previous and self.previous.is_dir() else self.previous
        if earlier is None:
            previous = committed_layout(host)
        else:
            # A host that the directory does not have gets its first layout.
            missing = earlier != self.previous and not earlier.exists()
            previous = None if missing else read_layout_file(str(earlier))
        layout = make_layout(self.plan, host, previous, self.replan)
        return HostResult(name, 0, layout.id, change=change(host, previous, layout, self.guest))


def run(args: argparse.Namespace) -> int:
    many = os.path.isdir(args.host)
    if many and args.previous is not None and not os.path.isdir(args.previous):
        args.wrong("--host is a directory: --previous must be one too")
    given = Path(args.host)
    names = snapshots(args.host) if many else [given.name]
    previous = None if args.previous is None else Path(args.previous)
    folder = given if many else given.parent
    task = DiffHost(read_plan_file(args.plan), folder, previous, args.kernel, args.replan, args.guest)
    fleet = FleetDiff(args.guest)
    statuses, errors = set(), []
    as_json = args.format == "json"
    separator = '{"hosts": [\n'
    for result in over_hosts(task, names, args.jobs, "comparing"):
        statuses.add(result.status)
        name = result.host.removesuffix(".json")
        if result.change is not None:
            fleet.add(name, result.change)
        else:
            fleet.add_failed(name, result.errors)
            errors += [problem.to_json() for problem in result.errors]
        if as_json:
            # at once: ten thousand hosts need not be held
            sys.stdout.write(separator + json.dumps(result.to_json()))
            separator = ",\n"
    if as_json:
        print(f'],\n"errors": {json.dumps(errors)},\n"fleet": {json.dumps(fleet.to_json())}}}')
    else:
        sys.stdout.write(fleet.text())
    return exit_code(statuses)
