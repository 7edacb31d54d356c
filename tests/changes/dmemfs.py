# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dmemfs on a kernel that claims it and has it not: everything around the kernel, really run.

An ordinary kernel of another release is installed by the main job, because its configuration says that it has dmemfs.
It is booted on trial and permanently, with the mount's units and a stand-in for the file system, is found out by the
verification, and goes by rollback.
"""

from __future__ import annotations

import time
from typing import Any

from tests.tenant.host import Host, Job, must

from .kernel_package import DMEMFS, kernel_package

#: What mount(8) runs for the type dmemfs: something that takes part in nothing, and comes up with mode 0000 too.
_STAND_IN = """#!/bin/sh
printf '%s\n' "$*" >> /var/log/mount.dmemfs
exec mount -t tmpfs -o nosuid,nodev,mode=0000 none "$2"
"""
_PATH = "/mnt/files"
_UNIT = "mnt-files.mount"
#: GRUB leaves an empty choice there when it has followed one.
_ENVIRONMENT = "/boot/grub/grubenv"
_FOUND_OUT = "shows no trace of dmemfs"


def run(host: Host) -> None:
    """All of it; TenantError where something is not as it has to be."""
    package = kernel_package("6.1", DMEMFS)
    host.send({"/sbin/mount.dmemfs": (_STAND_IN.encode(), 0o755)})
    old = host.run("uname", "-r").strip()
    must(old != package.release, f"the host runs {old} already")
    bare = host.files()
    _on_trial(host, _plan(str(package.file), package.release, trial=True), old)
    installed = host.files()
    foreign = {path for path in bare.keys() | installed.keys() if bare.get(path) != installed.get(path)}
    known = {"/boot/grub/grub.cfg", _ENVIRONMENT}
    left = {path for path in foreign if package.release not in path and path not in known}
    must(not left, f"the failed trial left other files than the package's: {sorted(left)}")
    choices = [line for line in host.run("cat", _ENVIRONMENT).splitlines() if line.startswith("next_entry")]
    must(choices in ([], ["next_entry="]), f"the failed trial left a choice for the next boot: {choices}")
    _for_good(host, _plan(str(package.file), package.release, trial=False), package.release)
    _rolled_back(host, installed, old, package.release)


def _plan(file: str, release: str, *, trial: bool) -> dict[str, Any]:
    return {
        "version": 1,
        "kernel": {"memory": "1GiB"},
        "policy": {"trial_boot": trial},
        "pools": {
            "files": {
                "mechanism": "dmemfs",
                "nodes": {1: "1GiB"},
                "mount": {"path": _PATH, "group": "daemon", "mode": "0770"},
                "kernel": {"release": release, "file": file},
            }
        },
    }


def _on_trial(host: Host, plan: dict[str, Any], old: str) -> None:
    """Installed, booted once, found to have no dmemfs, and back on the kernel before by itself."""
    started = time.monotonic()
    job = host.carve(plan)
    must(not job.ok, "the main job takes a kernel without dmemfs for one with it")
    _says(job, "The trial boot of the layout", _FOUND_OUT, "runs with its old arguments again")
    must(host.run("uname", "-r").strip() == old, "the host is not back on the kernel that it had")
    line = host.run("cat", "/proc/cmdline")
    must("dmem=" not in line and "carveout" not in line, f"arguments of the trial are left: {line}")
    print(
        f"ok  dmemfs on trial: installed, booted, found out, back on {old} ({time.monotonic() - started:.0f} s)",
        flush=True,
    )


def _for_good(host: Host, plan: dict[str, Any], release: str) -> None:
    """Without a trial the host stays on that kernel, with the mount, and the run says what is missing."""
    started = time.monotonic()
    job = host.carve(plan)
    must(not job.ok, "the main job takes a kernel without dmemfs for one with it")
    _says(job, _FOUND_OUT)
    must(host.run("uname", "-r").strip() == release, f"the host did not boot {release}")
    line = host.run("cat", "/proc/cmdline")
    must(" dmem=" in line and "carveout.trial" not in line, f"the arguments are not those for good: {line}")
    for unit in (
        _UNIT,
        "carveout-dax.service",
        "carveout-dmemfs-owner.service",
        "carveout.target",
        "ssh.service",
    ):
        state = host.run("systemctl", "is-active", unit, check=False).strip()
        must(state == "active", f"{unit} is {state}")
    asked = host.run("tail", "-n", "1", "/var/log/mount.dmemfs").strip()
    must(f"{_PATH} " in asked and "pagesize=2M" in asked, f"mount was called with {asked}")
    mode = host.run("stat", "-c", "%U:%G %a", _PATH).strip()
    must(mode == "root:daemon 770", f"{_PATH} is {mode}")
    print(
        f"ok  dmemfs for good: {release} boots, {_PATH} is mounted ({asked}), verification fails "
        f"({time.monotonic() - started:.0f} s)",
        flush=True,
    )


def _rolled_back(host: Host, before: dict[str, str], old: str, release: str) -> None:
    """The entry that booted before boots again; the package stays; every file is as it was."""
    started = time.monotonic()
    job = host.play("carveout.memory.rollback", {})
    must(job.ok, f"rollback failed:\n{job.said[-4000:]}")
    must(host.run("uname", "-r").strip() == old, "rollback did not give the default entry back")
    line = host.run("cat", "/proc/cmdline")
    must("dmem=" not in line and "carveout" not in line, f"arguments are left: {line}")
    after = host.files()
    different = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    must(not different, f"files are not as they were: {', '.join(different)}")
    status = host.run("dpkg-query", "-W", "-f", "${Status}", f"linux-image-{release}")
    must(status == "install ok installed", f"the package is {status}")
    print(
        f"ok  dmemfs rolled back: {old} boots, {len(after)} files as before, the package stays "
        f"({time.monotonic() - started:.0f} s)",
        flush=True,
    )


def _says(job: Job, *words: str) -> None:
    for word in words:
        must(word in job.said, f"the main job does not say {word!r}:\n{job.said[-3000:]}")
    must("Traceback" not in job.said, f"the main job ends in a traceback:\n{job.said[-3000:]}")
