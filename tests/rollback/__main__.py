# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.rollback``: back to the layout before and to none, by playbook and console. Some 15 minutes."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.tenant.host import TenantError

from . import ways
from .host import RollbackHost

_STEPS: dict[str, tuple[Callable[[RollbackHost], None], str]] = {
    "playbook": (
        ways.by_playbook,
        "carve A, then B; the playbook goes back to A, and to none without a plan",
    ),
    "console": (ways.by_console, "the same by 'carveout rollback' on the host, with what it refuses"),
    "bare": (
        ways.without_systemd,
        "'carveout rollback' in a shell that the kernel started instead of systemd",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    steps = "\n".join(f"  {name:<10} {what}" for name, (_run, what) in _STEPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.rollback",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\n\nsteps, all by default:\n{steps}",
    )
    parser.add_argument("step", nargs="*", type=_step, metavar="STEP")
    parser.add_argument("--name", default="rollback", help="the lab's machine (default: rollback)")
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is afterwards")
    options = parser.parse_args(arguments)
    host = RollbackHost(options.name)
    try:
        host.up()
        for name in options.step or _STEPS:
            started = time.monotonic()
            _STEPS[name][0](host)
            print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
    except TenantError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (LabError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if options.keep:
            host.hang_up()
        else:
            host.destroy()
    return 0


def _step(name: str) -> str:
    if name not in _STEPS:
        raise argparse.ArgumentTypeError(f"there is no step {name!r}; there are: {', '.join(_STEPS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
