# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs that are killed, on the controller, on their way: the host is as before or as planned, never between."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.tenant.host import must

from .host import LEFT, SafetyHost
from .prepared import STANDS_STILL, STOPS
from .trials import PANIC, through

_TRIAL = "Boot on trial"
_ON_TRIAL = "Make the devices"
_VERIFIED = "Make the arguments permanent that were on trial"
_PERMANENT = "Record the layout as committed"
_DROP_IN = "/etc/default/grub.d/"
_MINUTES = 3


def _goes_on(host: SafetyHost, wanted: dict[str, Any], boot: str) -> None:
    through(host, wanted)
    must(host.boot_id() == boot, "the next run rebooted the host")
    print("ok  without a further reboot", flush=True)


def _falls_back(host: SafetyHost, stop_before: str) -> None:
    before, wanted = host.measure(), host.wanted()
    boot = host.stopped(wanted, stop_before, _MINUTES)
    must("carveout.trial" in host.run("cat", "/proc/cmdline"), "the host is not on trial")
    host.await_reboot(boot)
    before.compare(host.measure(), *LEFT)
    print("ok  the host went back by itself", flush=True)
    through(host, wanted)


def before_trial(host: SafetyHost) -> None:
    """the run is killed when the trial is chosen, before the reboot"""
    before, wanted = host.measure(), host.wanted()
    host.stopped(wanted, _TRIAL, _MINUTES)
    before.compare(host.measure(), *LEFT, "/boot/grub/grubenv")
    through(host, wanted)


def before_trial_cut(host: SafetyHost) -> None:
    """the same, and the power is cut: the trial boots with nobody there"""
    before, wanted = host.measure(), host.wanted()
    host.stopped(wanted, _TRIAL, _MINUTES)
    host.cut_power()
    must("carveout.trial" in host.run("cat", "/proc/cmdline"), "the host is not on trial")
    host.await_reboot(host.boot_id())
    before.compare(host.measure(), *LEFT)
    print("ok  the host went back by itself", flush=True)
    through(host, wanted)


def on_trial(host: SafetyHost) -> None:
    """the run is killed while the trial runs"""
    _falls_back(host, _ON_TRIAL)


def on_trial_again(host: SafetyHost) -> None:
    """the run is killed while the trial runs, and the next run comes before the trial's end"""
    wanted = host.wanted()
    _goes_on(host, wanted, host.stopped(wanted, _ON_TRIAL, 15))


def verified(host: SafetyHost) -> None:
    """the run is killed between verification and commit"""
    _falls_back(host, _VERIFIED)


def committing(host: SafetyHost) -> None:
    """the run is killed and the power cut while the menu is made: the drop-in is written, the menu is not"""
    before, wanted = host.measure(), host.wanted()
    run = host.begin(wanted, carveout_trial_arguments=[PANIC, STOPS], carveout_trial_minutes=10)
    try:
        host.await_file(STANDS_STILL)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    host.cut_power()
    now = host.measure()
    before.compare(now, *LEFT, _DROP_IN)
    must(before.files != now.files, "the commit had not begun")
    print("ok  the host has its old arguments", flush=True)
    through(host, wanted)


def permanent(host: SafetyHost) -> None:
    """the run is killed, and the power cut, when the arguments are permanent and the layout is not recorded"""
    before, wanted = host.measure(), host.wanted()
    host.stopped(wanted, _PERMANENT, 10)
    now = host.measure()
    host.cut_power()
    now.compare(host.measure())
    must(now.cmdline != before.cmdline and now.device != before.device, "the layout is the old one")
    must("carveout.trial" not in host.run("cat", "/proc/cmdline"), "the host is on trial")
    print("ok  the host boots with the new arguments, and has the new device", flush=True)
    _goes_on(host, wanted, host.boot_id())
