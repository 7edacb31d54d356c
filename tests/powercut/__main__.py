# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.powercut``: what a host's disk holds at every moment of a run, and hosts that are really cut off.

``record`` runs the main job on the lab's machine and keeps every write to its disk; ``replay`` holds the disk after
each of them to what GRUB and Linux would find; ``boot`` boots the disk as it was in the middle of changes; ``cut`` cuts
a running machine's power in the middle of a run. After each boot the next run has to lead to the layout. ``control``
does the same to update-grub by itself, which truncates the menu: there the replay has to find moments without one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.carveout.memory.lab.disk import PARTITION_START
from ansible_collections.carveout.memory.lab.errors import LabError
from tests.tenant.host import TenantError, must

from .cuts import boot_between, cut_runs
from .record import CutHost, Recorded, record, record_plain
from .replay import Replay, Result
from .writes import Recording

_STEPS = ("control", "record", "replay", "boot", "cut")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every moment is the old state or the new one, 1 where one is not, 2 where it could not be tried."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.powercut",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )
    parser.add_argument("step", nargs="*", choices=[*_STEPS, []], help="default: all")
    parser.add_argument(
        "--folder", type=Path, default=Path(".lab/powercut-record"), help="where the recording lies"
    )
    parser.add_argument("--name", default="powercut", help="the lab's machine (default: powercut)")
    parser.add_argument(
        "--linux-every", type=int, default=1, metavar="N", help="look as Linux at each Nth flush"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the writes that are lost out of order")
    options = parser.parse_args(arguments)
    host = CutHost(options.name)
    result: Result | None = None
    try:
        for step in options.step or _STEPS:
            started = time.monotonic()
            if step == "control":
                host.destroy()
                folder = options.folder.with_name(f"{options.folder.name}-control")
                found = _replay(record_plain(host, folder), options)
                host.destroy()
                host = CutHost(options.name)
                must(bool(found.problems), "the replay finds nothing wrong with update-grub")
                print("ok  of update-grub the replay finds moments without a whole menu", flush=True)
            elif step == "record":
                host.destroy()
                record(host, options.folder)
            elif step == "replay":
                result = _replay(Recorded.load(options.folder), options)
                if result.problems:
                    return 1
            elif step == "boot":
                recorded = Recorded.load(options.folder)
                boot_between(host, recorded, result or _replay(recorded, options))
            else:
                cut_runs(host)
            print(f"== {step}: {time.monotonic() - started:.0f} s", flush=True)
    except TenantError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        host.destroy()
    return 0


def _replay(recorded: Recorded, options: argparse.Namespace) -> Result:
    disk = recorded.base.with_name("replayed.raw")
    source = f"driver=raw,offset={PARTITION_START},file.driver=file,file.filename={recorded.base}"
    subprocess.run(["qemu-img", "convert", "--image-opts", source, "-O", "raw", str(disk)], check=True)
    try:
        replay = Replay(disk, Recording(recorded.writes), recorded.names, recorded.layouts, options.seed)
        result = replay.run(options.linux_every)
    finally:
        disk.unlink()
    print(
        f"{result.prefixes} moments, GRUB's files read at {result.looked} and with {result.subsets} parts of what was"
        f" not flushed, checked as Linux at {result.linux}"
    )
    for number, name in result.booted:
        print(f"  from write {number} on GRUB boots: {name}")
    for problem in result.problems[:40]:
        print(f"  PROBLEM {problem}")
    print(f"{len(result.problems)} problems", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
