# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faked hosts (bench/faked.py) that can boot: ``shutdown`` makes of a host what its boot loader says, and meanwhile
nobody can log in. They die and break when a test wants it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.bench import faked
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan

ROOT = Path(__file__).resolve().parents[2]
#: The layouts that hosts have when a test begins are those of faked.PLAN; this one takes a reboot.
PLAN: dict[str, Any] = {**faked.PLAN, "kernel": {"memory": "50%"}}
#: Seconds for which a host is away when it boots.
AWAY = 2

#: A host is away for a while, dead for good, or dies with the call that it is given the number of.
_SSH = """#!/bin/sh
for word; do host=$command command=$word; done
here=$FLEET/$host
[ -d "$here/root" ] || { echo "ssh: connect to host $host: No route to host" >&2; exit 255; }
now=$(date +%s%N)
[ ! -e "$here/root/away" ] || [ "$(cat "$here/root/away")" -lt "$now" ] || away=yes
calls=$( (cat "$here/calls" || :) 2>/dev/null | wc -l)
[ ! -e "$here/dies-after" ] || [ "$calls" -lt "$(cat "$here/dies-after")" ] || touch "$here/dead"
if [ -e "$here/dead" ] || [ "$away" ]; then
  echo "ssh: connect to host $host port 22: No route to host" >&2
  exit 255
fi
exec "CHECKOUT/bench/ssh.sh" "$@"
""".replace("CHECKOUT", str(ROOT))
_SHUTDOWN = """#!/bin/sh
# boots: what the first entry of the menu says, and what a kernel shows with the layout that it names
[ -e /never-back ] && seconds=1000000 || seconds=AWAY
now=$(date +%s%N)
echo "$((now / 1000000))" >> /boots
echo "$((now + seconds * 1000000000))" > /away
line=$(grep -m 1 vmlinuz /boot/grub/grub.cfg)
echo "BOOT_IMAGE=${line#*linux	}" > /proc/cmdline
id=$(echo "$line" | sed -n 's/.*carveout.layout=\\([0-9a-f]*\\).*/\\1/p')
for name in iomem meminfo; do cat "/boot/shows/$id/$name" > "/proc/$name"; done
for node in /boot/shows/$id/node*; do cat "$node" > "/sys/devices/system/node/${node##*/}/meminfo"; done
cat /proc/sys/kernel/random/uuid > /proc/sys/kernel/random/boot_id
rm -rf /run/carveout
""".replace("AWAY", str(AWAY))
_SYSTEMCTL = """#!/bin/sh
wants=/etc/systemd/system/multi-user.target.wants
case $1 in enable) mkdir -p $wants; ln -sf "/etc/systemd/system/$2" "$wants/$2" ;; esac
exit 0
"""


def make_fleet(folder: Path, count: int) -> list[Path]:
    """Hosts that are as committed, and can boot with the layout that PLAN gives."""
    hosts = faked.make_fleet(folder, count)
    for host in hosts:
        for place, text in (("sbin/shutdown", _SHUTDOWN), ("bin/systemctl", _SYSTEMCTL)):
            program = host / "usr" / place
            program.unlink(missing_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        _show(host, planned(host, PLAN))
    return hosts


def snapshot(host: Path) -> dict[str, Any]:
    """The host as its installed program measures it."""
    command = "/usr/bin/python3 -B /usr/lib/carveout/carveout-*.pyz host"
    told = subprocess.run([faked.ENTER, host, command], capture_output=True, text=True, check=True).stdout
    (host / "calls").unlink()
    found: dict[str, Any] = json.loads(told)
    return found


def planned(host: Path, plan: dict[str, Any]) -> Layout:
    data = host_from_json(snapshot(host))
    return make_layout(validated_plan(plan), data, None)


def _show(host: Path, layout: Layout) -> None:
    tree = host / "shows"
    faked.write_booted(tree, layout)
    target = host / "root/boot/shows" / layout.id
    target.mkdir(parents=True)
    for name in ("iomem", "meminfo"):
        shutil.move(tree / "proc" / name, target / name)
    for node in (tree / "sys/devices/system/node").iterdir():
        shutil.move(node / "meminfo", target / node.name)
    shutil.rmtree(tree)


@dataclass
class Done:
    status: int
    said: str
    report: dict[str, Any]
    calls: dict[str, int]

    def by(self, outcome: str) -> list[str]:
        return [host["host"] for host in self.report["hosts"] if host["outcome"] == outcome]

    def why(self, host: str) -> str:
        return next(str(found["why"]) for found in self.report["hosts"] if found["host"] == host)


def roll_out(
    folder: Path, names: list[str], *options: str, own: dict[str, dict[str, Any]] | None = None,
    log: Path | None = None, plan: dict[str, Any] | None = None, **variables: Any,
) -> Done:  # fmt: skip
    """Runs the playbook on hosts of the folder; ``own`` are variables of single hosts."""
    environment = {**os.environ, **faked.put_before_ssh(folder, 0), "ANSIBLE_SSH_RETRIES": "0"}
    (folder / "bin/ssh").unlink()
    (folder / "bin/ssh").write_text(_SSH)
    (folder / "bin/ssh").chmod(0o755)
    (folder / "plan.json").write_text(json.dumps(plan or PLAN))
    common = {
        "ansible_user": "root",
        "carveout_plan": str(folder / "plan.json"),
        "carveout_install_packages": False,
    }
    inventory = {"hosts": {name: (own or {}).get(name, {}) for name in names}, "vars": common}
    (folder / "hosts.json").write_text(json.dumps({"all": inventory}))
    # each host of a faked fleet is of another shape, so it is a class of its own
    given = {
        "carveout_class": "{{ inventory_hostname }}", "carveout_rollout_report": str(folder / "report.json"),
        "carveout_reboot_timeout": 30, **variables,
    }  # fmt: skip
    (folder / "report.json").unlink(missing_ok=True)
    for calls in folder.glob("*/calls"):
        calls.unlink()
    with (log or folder / "log").open("w+") as file:
        status = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.json",
                "-e", json.dumps(given), *options, str(ROOT / "playbooks/rollout.yml"),
            ],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=900,
            env={**environment, "TMPDIR": str(folder)},
        ).returncode  # fmt: skip
        file.seek(0)
        said = file.read()
    assert "Traceback" not in said, said
    assert list(folder.glob("carveout-rollout-*")) == []
    path = folder / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {"hosts": []}
    made = {name: len(_lines(folder / name / "calls")) for name in names}
    return Done(status, said, report, made)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def boots(host: Path) -> list[int]:
    """When it began to boot, in milliseconds."""
    return [int(line) for line in _lines(host / "root/boots")]


def committed(host: Path) -> str:
    return (host / "root/etc/carveout/committed").read_text().strip()


def files(host: Path) -> dict[str, bytes]:
    """All that a run could change on a host."""
    return {
        str(path): path.read_bytes()
        for place in ("root/etc", "root/boot", "root/run", "proc", "usr/lib/carveout")
        for path in (host / place).rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def recap(said: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S+)\s+: (ok=.*)$", said, re.MULTILINE))


def main(folder: Path, count: int) -> None:
    """Hosts for a run beside real ones: their inventory, and in ``bin`` an ssh that knows them and hands on others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hosts = make_fleet(folder, count)
    (folder / "plan.json").write_text(json.dumps(PLAN))
    own = {"ansible_user": "root", "carveout_plan": str(folder / "plan.json")}
    inventory = {"hosts": {host.name: own for host in hosts}}
    (folder / "hosts.json").write_text(json.dumps({"faked": inventory}))
    (folder / "bin").mkdir()
    others = f'[ -d "$here/root" ] || exec {shlex.quote(shutil.which("ssh") or "ssh")} "$@"'
    text = re.sub(r'\[ -d "\$here/root" \] .*', lambda match: others, _SSH)
    (folder / "bin/ssh").write_text(
        text.replace("here=", f"export FLEET={shlex.quote(str(folder))}\nhere=", 1)
    )
    (folder / "bin/ssh").chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
