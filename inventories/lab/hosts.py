#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machines as an Ansible inventory: every ``.lab/NAME/state.json`` of this checkout is a host.

Where there is none yet, ``lab1`` stands for the machine that ``python3 -m lab up`` makes: an inventory is never empty.
All values are literal, because pytest-testinfra reads them too and knows no templates.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_HOST = "lab1"
DEFAULT_PORT = 22022


def default_state(checkout: Path) -> dict[str, object]:
    """What the machine's state will be unless its port is taken."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return {
        "name": DEFAULT_HOST,
        "port": DEFAULT_PORT,
        "key_file": str(cache / "carveout/lab/keys/user_ed25519"),
        "known_hosts": str(checkout / ".lab" / DEFAULT_HOST / "known_hosts"),
    }


def states(checkout: Path) -> list[dict[str, object]]:
    """The states of all machines, sorted by name; ValueError names a file that cannot be understood."""
    found = []
    for path in sorted((checkout / ".lab").glob("*/state.json")):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            found.append({key: state[key] for key in ("name", "port", "key_file", "known_hosts")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: cannot be understood: {error!r}") from error
    return found or [default_state(checkout)]


def variables(state: dict[str, object]) -> dict[str, object]:
    """Ansible's variables of one machine."""
    options = [
        f"UserKnownHostsFile={state['known_hosts']}",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        # a machine whose power was cut closes no connection: do not wait for its answer for ever
        "ServerAliveInterval=15",
        "ServerAliveCountMax=8",
    ]
    return {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": state["port"],
        "ansible_user": "root",
        "ansible_ssh_private_key_file": state["key_file"],
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": " ".join(f"-o {shlex.quote(option)}" for option in options),
    }


def inventory(checkout: Path) -> dict[str, object]:
    """The whole inventory, in the form that Ansible wants of ``--list``."""
    hosts = {str(state["name"]): variables(state) for state in states(checkout)}
    return {"lab": {"hosts": sorted(hosts)}, "_meta": {"hostvars": hosts}}


def main() -> int:
    """Print the inventory, or one host's variables."""
    parser = argparse.ArgumentParser(description="The lab's machines as an Ansible inventory.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="everything")
    what.add_argument("--host", metavar="NAME", help="the variables of one host")
    options = parser.parse_args()
    try:
        found = inventory(CHECKOUT)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    meta = found["_meta"]
    assert isinstance(meta, dict)
    print(json.dumps(found if options.list else meta["hostvars"].get(options.host, {}), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
