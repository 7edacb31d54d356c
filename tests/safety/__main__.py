# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.safety``: trial boots that fail on the lab's virtual host, and runs that are stopped.

Each leaves the host as before or as planned, and the plan then goes through. Needs 2 to 7 minutes a fault.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.tenant.host import TenantError, must

from .faults import FAULTS
from .host import FIRST, OTHER, SafetyHost
from .prepared import ENABLE, FILES


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    steps = "\n".join(f"  {name:<24} {fault.__doc__}" for name, fault in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.safety",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\nfaults, all by default:\n{steps}",
    )
    parser.add_argument("fault", nargs="*", type=_step, metavar="FAULT")
    parser.add_argument("--name", default="safety", help="the lab's machine (default: safety)")
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is afterwards")
    parser.add_argument(
        "--fault-only",
        action="store_true",
        help="after a trial that failed, leave out the plan without the fault",
    )
    options = parser.parse_args(arguments)
    host = SafetyHost(options.name)
    host.corrected = not options.fault_only
    try:
        _carved(host)
        failed = [name for name in options.fault or FAULTS if not _held(name, host)]
    except TenantError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (LabError, OSError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if options.keep:
            host.hang_up()
        else:
            host.destroy()
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _held(name: str, host: SafetyHost) -> bool:
    """Whether the host stood that fault. Where it did not, the others are tried all the same."""
    print(f"== {name}: {FAULTS[name].__doc__}", flush=True)
    started = time.monotonic()
    try:
        FAULTS[name](host)
    except TenantError as error:
        print(f"== {name}: FAILED: {error}", flush=True)
        return False
    print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
    return True


def _step(name: str) -> str:
    if name not in FAULTS:
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
    return name


def _carved(host: SafetyHost) -> None:
    """A host with a layout of ours, which a trial boot brought."""
    host.up()
    started = time.monotonic()
    host.send(FILES)
    host.run("sh", "-ec", ENABLE)
    # a host that was kept has the committed layout, but may have it from another state of this checkout
    kept = bool(host.committed()) and host.wanted() is FIRST
    job = host.site(OTHER if kept else FIRST, carveout_trial_minutes=15)
    must(job.ok, f"the main job failed:\n{job.said[-4000:]}")
    print(f"== carved: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
