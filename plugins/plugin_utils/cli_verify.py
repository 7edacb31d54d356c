# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout verify``: each expectation of a layout against a host's snapshot, met or not."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._expectations import expectations, unmet

from .cli_files import read_host_file, read_layout_file

NOT_MET = 5


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("verify", help="check that a host is as its layout says")
    parser.add_argument(
        "--layout", required=True, metavar="LAYOUT.json", help="what 'carveout plan' computed"
    )
    parser.add_argument(
        "--host", required=True, metavar="HOST.json", help="snapshot of the running host, made as root"
    )
    parser.add_argument(
        "--committed", action="store_true", help="expect the layout to be the committed one too"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    layout = read_layout_file(args.layout)
    found = expectations(layout, read_host_file(args.host), committed=args.committed)
    failed = unmet(found)
    if args.format == "json":
        result = {"id": layout.id, "expectations": [e.to_json() for e in found], "met": not failed}
        json.dump(result, sys.stdout, indent=1)
        print()
    else:
        for expectation in found:
            print(f"{'met' if expectation.met else 'NOT MET':<8}{expectation.message}")
        verdict = f"{len(failed)} not met" if failed else "all met"
        print(f"layout {layout.id}: {len(found)} expectations, {verdict}")
    return NOT_MET if failed else 0
