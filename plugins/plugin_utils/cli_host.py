# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout host``: the snapshot of a host, from its files or from its kernel's log."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.dmesg import host_from_dmesg
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host.tree import read_host
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

#: A journal of one boot, debug messages included, has a few MiB.
_LOG_BYTES = 64 << 20


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("host", help="print the snapshot of a host as JSON")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--root",
        metavar="DIR",
        help="/ for this host (as root), or a folder with its /proc, /sys, /etc, /boot",
    )
    source.add_argument(
        "--dmesg", metavar="FILE", help="a kernel log from its beginning, - for standard input"
    )
    parser.add_argument("--format", choices=("json",), help="errors as JSON too")


def run(args: argparse.Namespace) -> int:
    host = _from_log(args.dmesg) if args.dmesg is not None else _from_root(args.root)
    json.dump(host_to_json(host), sys.stdout, indent=1)
    print()
    return 0


def _from_log(name: str) -> Host:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_LOG_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_LOG_BYTES + 1)
    except OSError as error:
        raise InvalidInput.of("", "file-unreadable", f"{name}: {error.strerror}") from None
    if len(data) > _LOG_BYTES:
        raise InvalidInput.of("", "file-too-large", f"{name}: larger than 64 MiB; the beginning is enough")
    # Drivers log any bytes they like.
    return host_from_dmesg(data.decode("utf-8", "surrogateescape"))


def _from_root(root: str) -> Host:
    if not os.path.isdir(root):
        raise InvalidInput.of("", "file-unreadable", f"{root}: not a folder")
    real = os.path.realpath(root) == "/"
    machine = os.uname().machine if real else ""
    try:
        return read_host(RealSystem(root), machine=machine, root=os.geteuid() == 0 if real else True)
    except OSError as error:
        raise InvalidInput.of("", "file-unreadable", f"{error.filename}: {error.strerror}") from None
