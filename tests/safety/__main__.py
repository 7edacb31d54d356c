# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.safety``: trial boots that fail on the lab's virtual host. Needs some 20 minutes."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from ansible_collections.carveout.memory.lab.errors import LabError
from tests.tenant.host import Job, TenantError, must

from .faults import ENABLE, FAULTS, FILES, Fault, plan
from .host import SafetyHost

#: Sizes of the two plans, in MiB: one is committed, the other is tried.
_SIZES = (512, 256)


def _wanted(host: SafetyHost) -> tuple[dict[str, object], str]:
    """The plan that is not the committed one, and the layout that is."""
    committed = host.run("cat", "/etc/carveout/committed").strip()
    size = host.devices()["vm-a"]["size"] >> 20
    return plan(_SIZES[size == _SIZES[0]]), committed


def _message(job: Job) -> str:
    """The run's last message, as it is read: without JSON's escapes."""
    must(not job.ok, f"the run succeeded:\n{job.said[-3000:]}")
    return job.said[job.said.rfind("Say what became of the trial") :].replace("\\n", "\n")


def _fault(fault: Fault, host: SafetyHost) -> None:
    """A trial with that fault: the host is as before, the run says why; then the plan without it goes through."""
    before = host.measure()
    wanted, committed = _wanted(host)
    job = host.site(wanted, carveout_trial_arguments=[*fault.arguments], carveout_trial_minutes=5)
    said = _message(job)
    for words in ("The trial boot of the layout", f"of the layout {committed}", *fault.says):
        must(words in said, f"the message lacks {words!r}:\n{job.said[-6000:]}")
    before.compare(host.measure())
    print(said[: said.find("PLAY RECAP")], flush=True)
    if fault.corrected:
        _through(host, wanted)


def _through(host: SafetyHost, wanted: dict[str, object]) -> None:
    """The plan becomes the committed one."""
    before = host.run("cat", "/etc/carveout/committed")
    job = host.site(wanted, carveout_trial_minutes=15)
    must(job.ok, f"the corrected plan failed:\n{job.said[-4000:]}")
    must(host.run("cat", "/etc/carveout/committed") != before, "the corrected plan was not committed")
    print("ok  the corrected plan went through to its commit", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    steps = "\n".join(f"  {name:<12} {fault.what}" for name, fault in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.safety",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\n\nfaults, all by default:\n{steps}",
    )
    parser.add_argument("fault", nargs="*", type=_step, metavar="FAULT")
    parser.add_argument("--name", default="safety", help="the lab's machine (default: safety)")
    parser.add_argument("--keep", action="store_true", help="leave the machine as it is afterwards")
    options = parser.parse_args(arguments)
    host = SafetyHost(options.name)
    try:
        _carved(host)
        for name in options.fault or FAULTS:
            started = time.monotonic()
            _fault(FAULTS[name], host)
            print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
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
    return 0


def _step(name: str) -> str:
    if name not in FAULTS:
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
    return name


def _carved(host: SafetyHost) -> None:
    """A host with a layout of ours, which a trial boot brought."""
    host.up()
    if host.run("cat", "/etc/carveout/committed", check=False).strip():
        return
    started = time.monotonic()
    host.send(FILES)
    host.run("sh", "-ec", ENABLE)
    job = host.site(plan(_SIZES[0]), carveout_trial_minutes=15)
    must(job.ok, f"the main job failed:\n{job.said[-4000:]}")
    print(f"== carved: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
