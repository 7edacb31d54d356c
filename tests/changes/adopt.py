# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Arguments that were written by hand, adopted on a real host: the same memory map by a plan."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION
from ansible_collections.carveout.memory.plugins.plugin_utils.zipapp_build import host_zipapp
from tests.rollback.host import RollbackHost
from tests.tenant.host import ROOT, must

_DEFAULTS = "/etc/default/grub"
_ARGUMENTS = "memmap=512M%4G-1+0xefffffff memmap=256M%0x130000000-1+2"
_LINE = f'GRUB_CMDLINE_LINUX="console=ttyS0 {_ARGUMENTS}"'


def run(host: RollbackHost) -> None:
    """All of it; TenantError where something is not as it has to be."""
    started = time.monotonic()
    before = host.text(_DEFAULTS) + "\n"
    kept = [line for line in before.splitlines() if not line.startswith("GRUB_CMDLINE_LINUX=")]
    host.send({_DEFAULTS: ("\n".join([*kept, _LINE, ""]).encode(), 0o644)})
    host.run("update-grub", limit=600)
    host.reboot()
    by_hand = host.ranges()
    must(any("Soft Reserved" in line for line in by_hand), f"the arguments carve nothing out: {by_hand}")

    plan = _adopted(host)
    host.refused("carveout.memory.site", f"{_DEFAULTS}, line {len(kept) + 1}", carveout_plan=plan)
    host.send({_DEFAULTS: (before.encode(), 0o644)})
    host.run("update-grub", limit=600)
    host.site(plan)
    must(bool(host.layout()), "the boot has no layout")
    must(host.ranges() == by_hand, f"the map is {host.ranges()}, by hand it was {by_hand}")
    host.verify()
    again = host.site(plan)
    must("changed=0 " in again.said, f"a run with nothing to do does something:\n{again.said[-3000:]}")
    host.must_play("carveout.memory.rollback")
    must(host.text(_DEFAULTS) + "\n" == before, f"{_DEFAULTS} is not as before")
    print(
        f"ok  {_ARGUMENTS} adopted: the same map by a plan ({time.monotonic() - started:.0f} s)", flush=True
    )


def _adopted(host: RollbackHost) -> dict[str, Any]:
    """The plan that ``carveout adopt`` prints for the host, measured by our program without being installed."""
    with tempfile.TemporaryDirectory(prefix="carveout-adopt-") as folder:
        program = host_zipapp(ROOT, VERSION, Path(folder)).read_bytes()
        host.send({"/root/carveout.pyz": (program, 0o755)})
        snapshot = host.run("python3", "-B", "/root/carveout.pyz", "host")
        host.run("rm", "/root/carveout.pyz")
        Path(folder, "host.json").write_text(snapshot, encoding="utf-8")
        words = [str(Path(sys.executable).with_name("carveout")), "adopt", "--host", f"{folder}/host.json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        must(done.returncode == 0, f"carveout adopt ended with {done.returncode}: {done.stdout}{done.stderr}")
    must(f"{_DEFAULTS}, line " in done.stdout, f"it does not say where the arguments stand:\n{done.stdout}")
    print(done.stdout, flush=True)
    plan: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(done.stdout)))
    return plan
