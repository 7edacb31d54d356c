# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host side: what ``/usr/lib/carveout/carveout-VERSION.pyz`` does when it is run.

``status`` and ``rollback`` are for the console; ``restore`` is the boot service; ``state`` prints what DAX devices
there are; ``host`` prints the host snapshot; ``kexec`` reads what ``kexec -d`` prints and says whether carved memory
would be written.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

from ._boot_check import check_kernel, check_memory
from ._dax.apply import converge
from ._dax.current import current_layout_id, stored_layout
from ._dax.state import read_state
from ._errors import CarveoutError
from ._lock import DAX_BUS, exclusive
from ._system import RealSystem, System
from ._version import VERSION

#: More characters than any version of kexec prints.
_KEXEC_SAYS = 1 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0, or the exit code of the error whose one line goes to standard error."""
    parser = argparse.ArgumentParser(prog="carveout", description="Carveout on a host.")
    parser.add_argument("--version", action="version", version=f"carveout {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="say what is booted, committed, on trial and to be done")
    status.add_argument("--json", action="store_true", help="as JSON")
    back = commands.add_parser(
        "rollback",
        help="go back to a layout that the host stores, or to none",
        description="Needs no plan, no Ansible and no network. Everything that is to be done is known, or refused, "
        "before the first change.",
    )
    back.add_argument(
        "--to",
        default="none",
        metavar="none|committed|previous|ID",
        help="none: all memory back and nothing of Carveout left (default); committed: what is committed, where "
        "something else is booted or about to be; previous: what was committed before that; ID: a layout of 'status'",
    )
    back.add_argument("--dry-run", action="store_true", help="say what would be done")
    back.add_argument("--reboot", action="store_true", help="reboot afterwards, where that is needed")
    commands.add_parser("restore", help="make the DAX devices of the layout that this boot has")
    commands.add_parser("state", help="print regions, devices and links as JSON")
    host = commands.add_parser("host", help="print the host snapshot as JSON; as root")
    host.add_argument(
        "--pending", action="store_true", help="and what is still to be done for the committed layout"
    )
    host.add_argument("--kernel", default="", metavar="RELEASE", help="the kernel that is to boot next")
    commands.add_parser(
        "kexec", help="read what 'kexec -d -c -l ...' prints; fail if that is for carved memory"
    )
    options = parser.parse_args(argv)
    system = RealSystem()
    try:
        if options.command == "restore":
            _restore(system)
        elif options.command == "host":
            _print_host(system, options.pending, options.kernel)
        elif options.command in ("status", "rollback"):
            return _on_console(system, options)
        elif options.command == "kexec":
            _check_kexec(system, sys.stdin.read(_KEXEC_SAYS))
        else:
            state = read_state(system)
            print(json.dumps({"dax": state.to_json(), "links": dict(state.links)}, indent=1))
    except CarveoutError as error:
        for problem in error.problems:
            print(f"carveout: {problem}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"carveout: {error}", file=sys.stderr)
        return 1
    return 0


def _on_console(system: System, options: argparse.Namespace) -> int:
    # imported here for the same reason as in _print_host
    from ._console import rollback, status
    from ._host.augeas_binding import open_augeas

    if os.geteuid() != 0:
        print("carveout: this is for root", file=sys.stderr)
        return 1
    if options.command == "status":
        return status(system, open_augeas(), as_json=options.json)
    return rollback(system, open_augeas(), options.to, dry_run=options.dry_run, reboot=options.reboot)


def _print_host(system: System, with_pending: bool, kernel: str) -> None:
    # Imported here: a zipped module is compiled whenever it is imported, and the boot waits for `restore`.
    from ._boot.loader import read_loader
    from ._host.augeas_binding import open_augeas
    from ._host.json import host_to_json
    from ._host.tree import read_host

    root, augeas = os.geteuid() == 0, open_augeas()
    loader = read_loader(system, augeas)
    host = read_host(
        system, augeas=augeas, machine=os.uname().machine, root=root, kernel=kernel, loader=loader
    )
    answer: dict[str, object] = host_to_json(host)
    if with_pending:
        from ._pending import pending

        steps = pending(system, augeas, loader, host.committed, kernel)
        answer = {"host": answer, "layout": host.committed, "pending": steps}
    print(json.dumps(answer))


def _check_kexec(system: System, said: str) -> None:
    from ._kexec import check_segments, loaded_segments

    segments = loaded_segments(said)
    layout_id = current_layout_id(system)
    if layout_id is None:
        print("carveout: this boot is for no layout; nothing is carved out")
        return
    check_segments(segments, stored_layout(system, layout_id))
    print(f"carveout: none of {len(segments)} segments lies in memory that layout {layout_id} carves out")


def _restore(system: System) -> None:
    with exclusive(DAX_BUS):
        layout_id = current_layout_id(system)
        if layout_id is None:
            print("carveout: this boot is for no layout; nothing to do")
            return
        layout = stored_layout(system, layout_id)
        check_memory(system, layout)
        told = check_kernel(system, layout)
        if told:
            print(f"carveout: {told}", flush=True)
        outcome = converge(system, layout, time.sleep)
    for action in outcome.actions:
        print(f"carveout: {action}")
    print(f"carveout: layout {layout_id}: {len(layout.devices)} devices are as it says")
