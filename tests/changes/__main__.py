# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.changes``: what changes on a host later, on the lab's virtual host."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.kernel.packages import PackageError
from tests.rollback.host import RollbackHost
from tests.tenant.host import TenantError

from . import adopt, dmemfs, kernel, memory

_STEPS: dict[str, tuple[Callable[[RollbackHost], None], str]] = {
    "kernel": (
        kernel.run,
        "a second kernel: warned of, held to the layout, recorded; and one that does not hold",
    ),
    "memory": (memory.run, "memory added, taken out, and replaced so that a node begins elsewhere"),
    "adopt": (adopt.run, "hand-written memmap= adopted into a plan: the same map"),
    "dmemfs": (dmemfs.run, "a second kernel that claims dmemfs: installed, on trial, for good, rolled back"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    steps = "\n".join(f"  {name:<10} {what}" for name, (_run, what) in _STEPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.changes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\n\nsteps, all by default:\n{steps}",
    )
    parser.add_argument("step", nargs="*", type=_step, metavar="STEP")
    parser.add_argument("--name", default="changes", help="the lab's machine (default: changes)")
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
    except (LabError, PackageError, OSError, subprocess.SubprocessError) as error:
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
