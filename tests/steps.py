# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line of what is tried on one of the lab's machines, step by step."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.kernel.packages import PackageError
from tests.tenant.host import Host, TenantError

SomeHost = TypeVar("SomeHost", bound=Host)
#: What each step does to a host, and a line about it.
Steps = Mapping[str, tuple[Callable[[SomeHost], None], str]]


def parser_of(
    prog: str, about: str | None, name: str, steps: Mapping[str, str] | None = None
) -> argparse.ArgumentParser:
    """A command line with ``--name``, ``--keep`` and, where there are any, steps with a line about each."""
    told = "\n".join(f"  {step:<10} {what}" for step, what in (steps or {}).items())
    parser = argparse.ArgumentParser(
        prog=prog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{about}\n\nsteps, all by default:\n{told}" if steps else about,
    )
    if steps:
        parser.add_argument("step", nargs="*", type=_one_of(steps), metavar="STEP")
    parser.add_argument("--name", default=name, help=f"the lab's machine (default: {name})")
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is afterwards")
    return parser


def judged(host: SomeHost, keep: bool, work: Callable[[SomeHost], None], where: str = "") -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried; ``where`` is told."""
    try:
        work(host)
    except TenantError as error:
        print(f"FAILED: {where}{error}", file=sys.stderr)
        return 1
    except (LabError, PackageError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {where}{error}", file=sys.stderr)
        return 2
    finally:
        if keep:
            host.hang_up()
        else:
            host.destroy()
    return 0


def timed(host: SomeHost, steps: Mapping[str, Callable[[SomeHost], None]], names: Iterable[str]) -> None:
    """Do these steps, and tell what each of them took."""
    for name in names:
        started = time.monotonic()
        steps[name](host)
        print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)


def run(
    prog: str,
    about: str | None,
    steps: Steps[SomeHost],
    host: Callable[[str], SomeHost],
    arguments: Sequence[str] | None = None,
    begin: Callable[[SomeHost], None] = Host.up,
) -> int:
    """The whole program ``python -m tests.PROG``; ``begin`` makes the host ready. The status as of :func:`judged`."""
    told = {name: what for name, (_, what) in steps.items()}
    options = parser_of(f"python -m tests.{prog}", about, prog, told).parse_args(arguments)

    def work(host: SomeHost) -> None:
        begin(host)
        timed(host, {name: do for name, (do, _) in steps.items()}, options.step or steps)

    return judged(host(options.name), options.keep, work)


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    def step(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"there is no step {name!r}; there are: {', '.join(names)}")
        return name

    return step
