# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command ``carveout``: offline, for pipelines, reviews and tests.

Exit codes: 0 fine; 1 our own fault; 2 wrong usage; 3 valid, but this host cannot do it; 4 an input
is invalid; 5 an expectation is not met; 130 interrupted (as shells have it: 128 and SIGINT).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION

from . import cli_adopt, cli_check, cli_diff, cli_host, cli_plan, cli_predict, cli_verify
from .cli_files import internal_problem

_COMMANDS = {
    "host": cli_host,
    "plan": cli_plan,
    "predict": cli_predict,
    "check": cli_check,
    "diff": cli_diff,
    "verify": cli_verify,
    "adopt": cli_adopt,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="carveout", description="Plan, predict, check and verify memory carved out of hosts for tenants."
    )
    parser.add_argument("--version", action="version", version=f"carveout {VERSION}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS.values():
        command.add_parser(subparsers)
    return parser


def _report(problems: Sequence[Problem], as_json: bool) -> None:
    if as_json:
        json.dump({"errors": [problem.to_json() for problem in problems]}, sys.stdout, indent=1)
        print()
    else:
        for problem in problems:
            print(f"carveout: {printable(str(problem))}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    as_json = getattr(args, "format", "text") == "json"
    try:
        status: int = _COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return status
    except CarveoutError as error:
        _report(error.problems, as_json)
        return error.exit_code
    except KeyboardInterrupt:
        print("carveout: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last resort: a user never gets a traceback
        if os.environ.get("CARVEOUT_TRACEBACK"):
            raise
        _report([internal_problem(error)], as_json)
        return 1
