# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import image, keys, paths
from .errors import LabError
from .flavour import FLAVOURS
from .locks import locked
from .machine import DEFAULT_NAME, check_name, parse_node_memory
from .progress import Progress
from .vm import Vm, Wishes

_BOOT_LIMIT = 600.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab", description="A Debian host with two NUMA nodes in QEMU, to be carved."
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help=f"which machine (default {DEFAULT_NAME})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="build the disk image unless it is in the cache")

    up = commands.add_parser("up", help="build if needed, start, wait until one can log in")
    up.add_argument("--node-memory", metavar="SIZES", help="memory of each NUMA node (default 5GiB,4GiB)")
    up.add_argument("--cpus", type=int, metavar="N", help="number of CPUs (default 2)")
    up.add_argument(
        "--port", type=int, metavar="PORT", help="port on 127.0.0.1 (default 22022, or a free one)"
    )
    up.add_argument(
        "--accel", choices=("auto", "kvm", "tcg"), help="KVM or software emulation (default: what works)"
    )
    up.add_argument(
        "--firmware",
        choices=sorted({each.firmware for each in FLAVOURS}),
        help="of the machine (default bios)",
    )
    up.add_argument(
        "--loader", choices=sorted({each.loader for each in FLAVOURS}), help="boot loader (default grub)"
    )
    wait = commands.add_parser("wait", help="wait until one can log in")
    for command in (up, wait):
        command.add_argument(
            "--timeout",
            type=float,
            default=_BOOT_LIMIT,
            metavar="SECONDS",
            help=f"give up after so long (default {_BOOT_LIMIT:.0f})",
        )

    status = commands.add_parser("status", help="tell whether the machine runs, and where")
    status.add_argument("--json", action="store_true", help="as JSON")
    ssh = commands.add_parser("ssh", help="log in, or run a command in the machine")
    ssh.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="CMD", help="a command; none: an interactive shell"
    )
    console = commands.add_parser("console", help="print what the machine wrote to its serial line")
    console.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    commands.add_parser("down", help="shut the machine down")
    commands.add_parser("power-cycle", help="press the reset button")
    commands.add_parser(
        "reset", help="throw the machine's disk away for a fresh one (the machine is off afterwards)"
    )
    destroy = commands.add_parser("destroy", help="remove the machine and all it has")
    destroy.add_argument("--cache", action="store_true", help="the disk images and keys for all machines too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 fine, 1 it could not be done, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, Progress())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"lab: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, progress: Progress) -> int:
    cache = paths.cache_root()
    vm = Vm(check_name(options.name), paths.state_root(), cache, progress)
    match options.command:
        case "build":
            built = image.ensure(cache, image.recipe_for(keys.ensure(cache)), progress)
            print(built.disk)
        case "up":
            vm.up(_wishes(options), options.timeout)
        case "wait":
            vm.wait(options.timeout)
        case "status":
            return _status(vm, as_json=options.json)
        case "ssh":
            words = options.words[1:] if options.words[:1] == ["--"] else options.words
            argv = [*vm.access().ssh(), *words]
            os.execv(argv[0], argv)
        case "console":
            vm.state()
            _console(vm, follow=options.follow)
        case "down":
            vm.state()
            vm.down()
        case "power-cycle":
            vm.power_cycle()
        case "reset":
            vm.reset()
        case "destroy":
            vm.destroy()
            if options.cache:
                _remove_cache(cache, progress)
    return 0


def _wishes(options: argparse.Namespace) -> Wishes:
    if options.cpus is not None and not 1 <= options.cpus <= 64:
        raise LabError(f"--cpus {options.cpus}: 1 to 64 are possible")
    if options.port is not None and not 1 <= options.port <= 65535:
        raise LabError(f"--port {options.port}: 1 to 65535 are possible")
    memory = None if options.node_memory is None else parse_node_memory(options.node_memory)
    return Wishes(memory, options.cpus, options.port, options.accel, options.firmware, options.loader)


def _status(vm: Vm, *, as_json: bool) -> int:
    facts = vm.status()
    if as_json:
        print(json.dumps(facts, indent=2))
    elif not facts["exists"]:
        print(f"{vm.name}: does not exist")
    else:
        running = f"runs as process {facts['pid']}, {'answers' if facts['ssh'] else 'does not answer'}"
        print(f"{vm.name}: {running if facts['running'] else 'is off'}")
        print(f"  ssh       127.0.0.1:{facts['port']}  (python3 -m lab --name {vm.name} ssh)")
        print(f"  boots by  {facts['loader']} on {facts['firmware']}")
        print(f"  CPUs      {facts['cpus']}, {facts['accel']}")
        print(f"  kernel    {facts['kernel_release']}")
        print(f"  image     {facts['image']}")
        print(f"  directory {facts['directory']}")
    return 0


def _console(vm: Vm, *, follow: bool) -> None:
    """Print the log; with ``follow`` go on, also over the next `up`, which begins a new one."""
    out = sys.stdout.buffer
    position, inode = 0, None
    while True:
        if vm.console.exists():
            with open(vm.console, "rb") as log:
                now = os.fstat(log.fileno()).st_ino
                if now != inode:
                    position, inode = 0, now
                log.seek(position)
                shutil.copyfileobj(log, out)
                position = log.tell()
            out.flush()
        if not follow:
            return
        time.sleep(0.3)


def _remove_cache(cache: Path, progress: Progress) -> None:
    with locked(cache / "build.lock"):
        for name in ("images", "keys"):
            shutil.rmtree(cache / name, ignore_errors=True)
        for name in ("accel.json", "keys.lock", "build.lock"):
            (cache / name).unlink(missing_ok=True)
    progress.step(f"{cache} is empty")
