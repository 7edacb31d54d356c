# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.boots``: trial boots by each boot loader, on the lab's virtual host. Half an hour for each.

From nothing to a committed layout by one reboot; a trial that panics; a kernel that is installed later; the rollback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ansible_collections.carveout.memory.lab.flavour import FLAVOURS, Flavour
from tests import steps

from .host import BootHost
from .steps import STEPS


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    told = {name: step.__doc__ or "" for name, step in STEPS.items()}
    parser = steps.parser_of(
        "python -m tests.boots", f"{__doc__}Each step is on what the one before left.", "boots", told
    )
    parser.add_argument(
        "--on", action="append", type=_flavour, metavar="FIRMWARE:LOADER",
        help=f"default: {' '.join(map(_named, FLAVOURS))}",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    return max(_try(options, flavour) for flavour in options.on or FLAVOURS)


def _try(options: argparse.Namespace, flavour: Flavour) -> int:
    def work(host: BootHost) -> None:
        host.up()
        steps.timed(host, STEPS, options.step or STEPS)

    return steps.judged(BootHost(options.name, flavour), options.keep, work, f"{_named(flavour)}: ")


def _named(flavour: Flavour) -> str:
    return f"{flavour.firmware}:{flavour.loader}"


def _flavour(text: str) -> Flavour:
    found = next((flavour for flavour in FLAVOURS if _named(flavour) == text), None)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(map(_named, FLAVOURS))}")
    return found


if __name__ == "__main__":
    sys.exit(main())
