# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout plan``: the layout for one host."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout

from .cli_files import committed_layout, read_host_file, read_layout_file, read_plan_file
from .picture_svg import layout_svg
from .picture_text import layout_text


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("plan", help="compute the layout of a host")
    parser.add_argument("plan", metavar="PLAN.yml")
    parser.add_argument("--host", required=True, metavar="HOST.json", help="snapshot made by 'carveout host'")
    parser.add_argument(
        "--previous",
        metavar="LAYOUT.json",
        help="layout to keep if it still fits (default: the host's committed one)",
    )
    parser.add_argument("--kernel", metavar="RELEASE", help="plan for this kernel release")
    parser.add_argument(
        "--replan", action="store_true", help="plan anew even where the previous layout still fits"
    )
    parser.add_argument("--format", choices=("text", "json", "svg"), default="text")


def run(args: argparse.Namespace) -> int:
    plan = read_plan_file(args.plan)
    host = read_host_file(args.host, args.kernel)
    previous = read_layout_file(args.previous) if args.previous else committed_layout(host)
    layout = make_layout(plan, host, previous, args.replan)
    if args.format == "json":
        json.dump(layout.to_json(), sys.stdout, indent=1)
        print()
    elif args.format == "svg":
        sys.stdout.write(layout_svg(host, layout))
    else:
        sys.stdout.write(layout_text(host, layout))
    return 0
