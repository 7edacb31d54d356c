# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.tenant``: what tenants see of a carved host, on the lab's virtual host. Needs some 30 minutes."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.kernel.packages import PackageError

from . import again, guests, live
from .host import Host, TenantError, lab_plan, must

_STEPS: dict[str, tuple[Callable[[Host], None], str]] = {
    "guests": (guests.run, "virtual machines in every device and mount, Linux in one"),
    "live": (live.run, "devices grown, shrunk, renamed, added, removed; refusals; failing steps"),
    "kexec": (again.kexec, "the same devices, with their contents, after kexec -s"),
    "power-cut": (again.power_cut, "the same devices after the power was cut"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    steps = "\n".join(f"  {name:<10} {what}" for name, (_run, what) in _STEPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.tenant",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\n\nsteps, all by default:\n{steps}",
    )
    parser.add_argument("step", nargs="*", type=_step, metavar="STEP")
    parser.add_argument("--name", default="tenant", help="the lab's machine (default: tenant)")
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is afterwards")
    options = parser.parse_args(arguments)
    host = Host(options.name)
    try:
        _carved(host)
        for name in options.step or _STEPS:
            started = time.monotonic()
            _STEPS[name][0](host)
            print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
    except TenantError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (LabError, PackageError, OSError, subprocess.TimeoutExpired) as error:
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


def _carved(host: Host) -> None:
    started = time.monotonic()
    host.up()
    job = host.carve(lab_plan())
    must(job.ok, f"the main job failed:\n{job.said[-4000:]}")
    print(f"== carved: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
