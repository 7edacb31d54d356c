# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan``: the layout for one host, or for each host of a directory."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.compare import compare
from ansible_collections.carveout.memory.plugins.module_utils._planner.plan import Plan
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

from .cli_directory import PlanHost, plan_directory
from .cli_files import committed_layout, read_host_file, read_layout_file, read_plan_file
from .cli_fleet import add_jobs, guest_size
from .compare_text import comparison_text
from .picture_svg import layout_svg
from .picture_text import layout_text
from .tenant_text import tenants_text


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("plan", help="compute the layout of a host")
    parser.add_argument("plan", metavar="PLAN.yml")
    parser.add_argument(
        "--host",
        required=True,
        metavar="HOST.json",
        help="snapshot made by 'carveout host', or a directory of them",
    )
    parser.add_argument(
        "--out", metavar="DIRECTORY", help="where the layouts of a directory of hosts go, by the same names"
    )
    parser.add_argument(
        "--previous",
        metavar="LAYOUT.json",
        help="layout to keep if it still fits, or a directory of them (default: the host's committed one)",
    )
    parser.add_argument("--kernel", metavar="RELEASE", help="plan for this kernel release")
    parser.add_argument(
        "--replan", action="store_true", help="plan anew even where the previous layout still fits"
    )
    parser.add_argument(
        "--compare", action="store_true", help="show all mechanisms side by side for the plan's pools"
    )
    parser.add_argument(
        "--guest",
        type=guest_size,
        metavar="SIZE",
        help="with --compare: count guests of this size (default 4GiB)",
    )
    add_jobs(parser)
    parser.add_argument("--format", choices=("text", "json", "svg", "tenants"), default="text")
    parser.set_defaults(wrong=parser.error)


def run(args: argparse.Namespace) -> int:
    if args.guest is not None and not args.compare:
        args.wrong("--guest is for --compare")
    if args.compare and (os.path.isdir(args.host) or args.format not in ("text", "json")):
        args.wrong("--compare is for one host, with --format text or json")
    if os.path.isdir(args.host):
        return _run_directory(args)
    if args.out is not None:
        args.wrong("--out is for a directory of hosts; the layout of one goes to standard output")
    plan = read_plan_file(args.plan)
    host = read_host_file(args.host, args.kernel)
    previous = read_layout_file(args.previous) if args.previous else committed_layout(host)
    if args.compare:
        return _compare(plan, host, args.guest or 4 * GIB, None if args.replan else previous, args.format)
    layout = make_layout(plan, host, previous, args.replan)
    if args.format == "json":
        json.dump(layout.to_json(), sys.stdout, indent=1)
        print()
    elif args.format == "svg":
        sys.stdout.write(layout_svg(host, layout))
    elif args.format == "tenants":
        sys.stdout.write(tenants_text(layout))
    else:
        sys.stdout.write(layout_text(host, layout))
    return 0


def _compare(plan: Plan, host: Host, guest: int, previous: Layout | None, form: str) -> int:
    """The exit code is that of the plan as it is."""
    found = compare(plan, host, guest, previous)
    if form == "json":
        json.dump(found.to_json(), sys.stdout, indent=1)
        print()
    else:
        for line in comparison_text(found).splitlines():
            print(printable(line))
    return NotPossible.exit_code if found.problems else 0


def _run_directory(args: argparse.Namespace) -> int:
    if args.out is None:
        args.wrong("--host is a directory: --out DIRECTORY is needed")
    if args.format in ("svg", "tenants"):
        args.wrong(f"--format {args.format} is for one host")
    if args.previous is not None and not os.path.isdir(args.previous):
        args.wrong("--host is a directory: --previous must be one too")
    previous = None if args.previous is None else Path(args.previous)
    task = PlanHost(
        read_plan_file(args.plan), Path(args.host), Path(args.out), previous, args.kernel, args.replan
    )
    return plan_directory(task, args.jobs, args.format == "json")
