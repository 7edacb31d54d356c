# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on the host from the beginning, so that an argument of a trial can make it fail later than at its start."""

from __future__ import annotations

_JOURNAL = "[Journal]\nStorage=persistent\nSyncIntervalSec=1s\n"

#: Kernel arguments that only a trial has; ``systemd.wants=`` starts a unit with it.
FREEZE = "systemd.wants=safety-freeze.service"
CRASH = "systemd.wants=safety-crash.service"
FULL = "systemd.wants=safety-full.service"
#: and what making the menu does in that trial
FAILS, KILLS, STOPS = (f"safety.menu={how}" for how in ("fails", "kills", "stops"))
#: There while it stands still, and when it has killed.
STANDS_STILL = "/run/safety-menu"
FILLED = "/safety-full"


def _unit(what: str, command: str) -> tuple[bytes, int]:
    # not before the switch of the trial has been started, and before anyone can log in
    text = f"""\
[Unit]
Description={what}
DefaultDependencies=no
After=sysinit.target carveout-trial.service
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/bin/sh -ec "{command}"
"""
    return text.encode(), 0o644


#: Process 1 cannot be stopped by a signal, but by the freezer of its control group.
_FREEZE = (
    "until grep -qx active /sys/class/watchdog/watchdog0/state; do sleep 1; done;"
    " sleep 5; sync; echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze"
)
_CRASH = "sleep 2; sync; kill -SEGV 1"
#: /tmp is Ansible's, and memory on many hosts.
_FULL = (
    "mount -t tmpfs tmpfs /tmp; fallocate -l $$(($$(stat -f -c %%f /) * 4096 - 1048576)) /safety-full;"
    " dd if=/dev/zero bs=4k 2>/dev/null >> /safety-full || true; sync"
)
#: Killed is the parent of grub-mkconfig, as soon as the menu that GRUB reads has what is on trial.
_MENU = f"""\
#!/bin/sh
# Fails in trials of tests; else it adds nothing to the menu.
set -e
case " $(cat /proc/cmdline) " in
*' {FAILS} '*)
    echo 'safety: nothing can be read here' >&2
    exit 1
    ;;
*' {KILLS} '*)
    [ ! -e {STANDS_STILL} ] || exit 0
    touch {STANDS_STILL}
    ours=$(grep -o 'carveout.layout=[0-9a-f]*' /proc/cmdline)
    module=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$PPID/status")
    setsid sh -c "until grep -q '$ours' /boot/grub/grub.cfg; do :; done; kill -KILL $module" \\
        < /dev/null > /dev/null 2>&1 &
    ;;
*' {STOPS} '*)
    sync
    touch {STANDS_STILL}
    exec sleep 600
    ;;
esac
"""

FILES = {
    "/etc/systemd/journald.conf.d/zz-kept.conf": (_JOURNAL.encode(), 0o644),
    "/etc/systemd/system/safety-freeze.service": _unit("Freeze systemd", _FREEZE),
    "/etc/systemd/system/safety-crash.service": _unit("Crash systemd", _CRASH),
    "/etc/systemd/system/safety-full.service": _unit("Fill the disk", _FULL),
    "/etc/grub.d/99_safety": (_MENU.encode(), 0o755),
}
ENABLE = (
    "mkdir -p /var/log/journal && systemctl unmask systemd-journal-flush.service && systemctl daemon-reload"
)
