# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout predict``: what a kernel makes of a host's memory with any command line."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import predict

from .cli_files import read_host_file
from .prediction_text import prediction_text


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("predict", help="tell the kernel's memory map for any command line")
    parser.add_argument("--host", required=True, metavar="HOST.json", help="snapshot made by 'carveout host'")
    parser.add_argument(
        "--cmdline",
        required=True,
        metavar="ARGS",
        help="the whole command line, as /proc/cmdline will show it",
    )
    parser.add_argument("--kernel", metavar="RELEASE", help="predict for this kernel release")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    host = read_host_file(args.host, args.kernel)
    # Undecodable bytes as in a snapshot's command line.
    prediction = predict(host, split(printable(args.cmdline)))
    if args.format == "json":
        json.dump(prediction.to_json(), sys.stdout, indent=1)
        print()
    else:
        for line in prediction_text(prediction):
            print(printable(line))
    return 0
