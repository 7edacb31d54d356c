# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout adopt``: a plan for what hand-written kernel arguments of a host carve out already."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

import yaml

from ansible_collections.carveout.memory.plugins.module_utils._host.model import ForeignArgument
from ansible_collections.carveout.memory.plugins.module_utils._host.text import one_line
from ansible_collections.carveout.memory.plugins.module_utils._planner.adopt import (
    Adoption,
    adopt,
    check_adopted,
)
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout

from .cli_files import read_host_file
from .plan_schema import validated_plan


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "adopt", help="print a plan for what hand-written kernel arguments carve out already"
    )
    parser.add_argument("--host", required=True, metavar="HOST.json", help="snapshot made by 'carveout host'")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text is the plan's file")


def run(args: argparse.Namespace) -> int:
    adoption = adopt(read_host_file(args.host))
    layout = make_layout(validated_plan(adoption.plan), adoption.host)
    check_adopted(adoption, layout)
    if args.format == "json":
        result = {
            "plan": adoption.plan,
            "remove": [argument._asdict() for argument in adoption.remove],
            "stay": [argument._asdict() for argument in adoption.stay],
            "kernel_arguments": list(layout.kernel_arguments),
        }
        json.dump(result, sys.stdout, indent=1)
        print()
    else:
        for line in [*_steps(adoption), *yaml.safe_dump(dict(adoption.plan), sort_keys=False).splitlines()]:
            print(one_line(line))
    return 0


def _steps(adoption: Adoption) -> list[str]:
    lines = [
        "# What other arguments carve out of this host, as a plan for the same ranges.",
        "# 1. Take these arguments away where they stand, and have the boot loader's menu made anew. Do not reboot.",
        *_listed(adoption.remove),
        "# 2. Run site.yml with this plan: its reboot brings the same memory map, by Carveout's arguments.",
    ]
    if adoption.stay:
        lines += ["# These memory arguments stay; they are no business of a plan:", *_listed(adoption.stay)]
    if "avoid" in adoption.plan:
        lines.append(
            "# 'avoid' lists all other memory above 4 GiB, so that the pools are where they are today."
        )
    return lines


def _listed(arguments: Iterable[ForeignArgument]) -> list[str]:
    return [f"#      {a.argument}    {_place(a)}" for a in arguments]


def _place(argument: ForeignArgument) -> str:
    if not argument.file:
        return "on the command line"
    return f"{argument.file}, line {argument.line}" if argument.line else argument.file
