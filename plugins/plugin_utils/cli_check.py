# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout check``: nothing, or every problem of a plan, also against many hosts."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout

from .cli_files import committed_layout, internal_problem, read_host_file, read_plan_file

#: Over many hosts the first of these that occurred is the command's.
_ORDER = (1, 4, 3, 5)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("check", help="find every problem of a plan")
    parser.add_argument("plan", metavar="PLAN.yml")
    parser.add_argument("--host", action="append", default=[], metavar="HOST.json", help="may be given again")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    plan = read_plan_file(args.plan)
    results: list[tuple[str, int, list[Problem]]] = []
    for name in args.host:
        try:
            host = read_host_file(name)
            make_layout(plan, host, committed_layout(host))
            results.append((name, 0, []))
        except CarveoutError as error:
            results.append((name, error.exit_code, error.problems))
        except Exception as error:  # our own fault on one host must not hide what the others have
            if os.environ.get("CARVEOUT_TRACEBACK"):
                raise
            results.append((name, 1, [internal_problem(error)]))
    if args.format == "json":
        hosts = [
            {"host": name, "status": status, "errors": [p.to_json() for p in problems]}
            for name, status, problems in results
        ]
        errors = [error for host in hosts for error in host["errors"]]  # type: ignore[attr-defined]
        json.dump({"errors": errors, "hosts": hosts}, sys.stdout, indent=1)
        print()
    else:
        for name, _, problems in results:
            for problem in problems:
                print(printable(f"{name}: {problem}"), file=sys.stderr)
    seen = {status for _, status, _ in results}
    return next((status for status in _ORDER if status in seen), 0)
