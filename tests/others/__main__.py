# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m tests.others``: others' files on the lab's virtual host through refusal, trial, change and rollback."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests import steps
from tests.safety.host import SafetyHost, plan
from tests.tenant.host import must

from . import files

#: GRUB empties the choice there when it has followed one, and leaves its name.
_ENVIRONMENT = "/boot/grub/grubenv"
#: No boot here is meant to fail, however slow the machine is.
_PATIENT: dict[str, Any] = {"carveout_trial_minutes": 15, "carveout_reboot_timeout": 1800}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where all is as it has to be, 1 where something is not, 2 where it could not be tried."""
    options = steps.parser_of("python -m tests.others", __doc__, "others").parse_args(arguments)
    return steps.judged(SafetyHost(options.name), options.keep, _run)


def _run(host: SafetyHost) -> None:
    host.up()
    _told("others' files", _put, host)
    before, line = host.files(), host.run("cat", "/proc/cmdline").split("\n")[0]
    _told("a conflict", _refused, host)
    _same(before, host.files(), "the refused run")
    _told("carved on trial", _carved, host, 512)
    _others_are_there(host, before)
    _told("another plan, on trial", _carved, host, 256)
    _others_are_there(host, before)
    _told("rolled back", _rolled_back, host)
    must(host.run("cat", "/proc/cmdline").split("\n")[0] == line, "the command line is not the one of before")
    after = host.files()
    _same(before, after, "the rollback")
    print(f"ok  {len(after)} files as before, byte for byte, with owners and modes", flush=True)


def _told(what: str, step: Callable[..., None], host: SafetyHost, *more: int) -> None:
    started = time.monotonic()
    step(host, *more)
    print(f"ok  {what} ({time.monotonic() - started:.0f} s)", flush=True)


def _put(host: SafetyHost) -> None:
    """The files are there, and the host has booted with them."""
    host.send({path: (text.encode(), mode) for path, (text, mode) in files.FILES.items()})
    host.run("update-grub")
    # a machine that was kept has them already
    if not all(argument in host.run("cat", "/proc/cmdline") for argument in files.ARGUMENTS):
        booted = host.boot_id()
        host.run("systemctl", "reboot", check=False)
        host.await_boot(booted)
    must(_of_others(host) == files.ARGUMENTS, f"the host was booted with {_of_others(host)}")


def _of_others(host: SafetyHost) -> tuple[str, ...]:
    """Those of the running kernel's arguments that the files name, as they stand there."""
    line = host.run("cat", "/proc/cmdline").strip()
    found = sorted((line.find(f" {argument}"), argument) for argument in files.ARGUMENTS)
    must(all(line.count(f" {argument}") == 1 for argument in files.ARGUMENTS), f"not each once: {line}")
    return tuple(argument for _, argument in found)


def _refused(host: SafetyHost) -> None:
    """Arguments that are in the way stop the run before anything is changed; taken away, the host is as before."""
    host.send({files.CONFLICTING: (files.CONFLICT.encode(), 0o644)})
    host.run("update-grub")
    changed = host.files()
    job = host.site(plan(512), **_PATIENT)
    must(not job.ok, "the main job takes memory that somebody else's argument has")
    for words in (files.CONFLICT_ARGUMENT, f"{files.CONFLICTING}, line {files.CONFLICT_LINE}"):
        must(words in job.said, f"the run does not say {words!r}:\n{job.said[-3000:]}")
    _same(changed, host.files(), "the refusal")
    host.run("rm", files.CONFLICTING)
    host.run("update-grub")


def _carved(host: SafetyHost, megabytes: int) -> None:
    job = host.site(plan(megabytes), **_PATIENT)
    must(job.ok, f"the main job failed:\n{job.said[-5000:]}")
    must(_of_others(host) == files.ARGUMENTS, f"of others there are {_of_others(host)}")
    must(host.devices()["vm-a"]["size"] == megabytes << 20, "the device is not of the plan's size")


def _others_are_there(host: SafetyHost, before: Mapping[str, str]) -> None:
    """While a layout is there, too, but for the menu that is generated, and the environment block."""
    now = host.files()
    changed = {path for path, what in before.items() if now.get(path) != what}
    must(changed <= {_ENVIRONMENT, "/boot/grub/grub.cfg"}, f"files of others were changed: {sorted(changed)}")


def _rolled_back(host: SafetyHost) -> None:
    host.hang_up()
    job = host.play("carveout.memory.rollback", {})
    must(job.ok, f"rollback failed:\n{job.said[-4000:]}")


def _same(before: Mapping[str, str], after: Mapping[str, str], when: str) -> None:
    different = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    must(different <= {_ENVIRONMENT}, f"not as before after {when}: {', '.join(sorted(different))}")


if __name__ == "__main__":
    sys.exit(main())
