# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.boots``: trial boots by each boot loader, on the lab's virtual host. Half an hour for each.

From nothing to a committed layout by one reboot; a trial that panics; a kernel that is installed later; the rollback.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from ansible_collections.carveout.memory.lab.errors import LabError
from ansible_collections.carveout.memory.lab.flavour import FLAVOURS, Flavour
from tests.kernel.packages import PackageError
from tests.tenant.host import TenantError

from .host import BootHost
from .steps import STEPS


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.boots",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\nsteps, all by default, each on what the one before left:\n"
        + "\n".join(f"  {name:<9} {step.__doc__}" for name, step in STEPS.items()),
    )
    parser.add_argument("step", nargs="*", type=_step, metavar="STEP")
    parser.add_argument(
        "--on", action="append", type=_flavour, metavar="FIRMWARE:LOADER",
        help=f"default: {' '.join(map(_named, FLAVOURS))}",
    )  # fmt: skip
    parser.add_argument("--name", default="boots", help="the lab's machine (default: boots)")
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is afterwards")
    options = parser.parse_args(arguments)
    return max(_try(options, flavour) for flavour in options.on or FLAVOURS)


def _try(options: argparse.Namespace, flavour: Flavour) -> int:
    host = BootHost(options.name, flavour)
    try:
        host.up()
        for name in options.step or STEPS:
            started = time.monotonic()
            STEPS[name](host)
            print(f"== {_named(flavour)} {name}: {time.monotonic() - started:.0f} s", flush=True)
    except TenantError as error:
        print(f"FAILED: {_named(flavour)}: {error}", file=sys.stderr)
        return 1
    except (LabError, PackageError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {_named(flavour)}: {error}", file=sys.stderr)
        return 2
    finally:
        if options.keep:
            host.hang_up()
        else:
            host.destroy()
    return 0


def _named(flavour: Flavour) -> str:
    return f"{flavour.firmware}:{flavour.loader}"


def _flavour(text: str) -> Flavour:
    found = next((flavour for flavour in FLAVOURS if _named(flavour) == text), None)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(map(_named, FLAVOURS))}")
    return found


def _step(name: str) -> str:
    if name not in STEPS:
        raise argparse.ArgumentTypeError(f"there is no step {name!r}; there are: {', '.join(STEPS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
