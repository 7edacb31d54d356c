#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trial_boot
short_description: Have the next boot, and only that one, use the kernel arguments of a memory layout
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Puts an entry of Carveout's own into C(/boot/grub/custom.cfg), a copy of the entry that boots by default with other
    arguments, and has GRUB boot it once. GRUB takes that choice back before it starts the kernel, so each later boot
    has the old arguments, however the trial ends. The generated menu and its default stay as they are.
  - Has the host reboot itself where the trial is not ended in time (C(carveout-trial.service)), so that it also comes
    back where nobody can log in any more.
  - M(carveout.memory.kernel_cmdline) makes the arguments permanent afterwards, and ends the trial by that.
  - Refuses where GRUB cannot write to its environment block (LVM, RAID, btrfs, zfs), which it would have to do to take
    the choice back, and where the menu does not read C(/boot/grub/custom.cfg).
  - Does not reboot.
options:
  arguments:
    description:
      - The C(kernel_arguments) of a layout, in their order, the first of them C(carveout.layout=ID).
      - Required for O(state=present).
    type: list
    elements: str
  extra:
    description:
      - Arguments that only the trial has. They stand behind all others and behind C(carveout.trial), by which a trial
        is known.
      - V(panic=30) has a kernel that panics reboot after so many seconds, V(systemd.crash_reboot) has systemd reboot
        the host where it crashes, instead of doing nothing any more.
      - Where the host has a hardware watchdog that nobody uses, C(systemd.watchdog_sec=60) is added, so that it resets
        a host whose systemd or kernel hangs. Any C(systemd.watchdog_sec=) of yours is kept instead, also V(0).
    type: list
    elements: str
    default: [panic=30, systemd.crash_reboot]
  seconds:
    description: After how long the host reboots itself unless the trial was ended before.
    type: int
    default: 900
  kernel:
    description:
      - Release of the kernel to boot, as C(uname -r) shows it. Without it, that of the default entry.
    type: str
    default: ""
  measured:
    description:
      - C(state.loader.trial) of the snapshot that the arguments were planned for. Where a trial was prepared since,
        another run is at work, and this one is refused. Without it, that is not looked at.
      - Only for O(state=present).
    type: str
  state:
    description:
      - V(present) prepares the trial.
      - V(absent) takes away whatever a trial has on the host; what is booted stays.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - root
  - systemd
  - GRUB with C(/boot/grub/grub.cfg), as the Debian family has it, for O(state=present)
attributes:
  check_mode:
    description: Refuses what would be refused, and predicts the files without touching the host.
  diff_mode:
    description: Returns the files before and after.
extends_documentation_fragment:
  - carveout.memory.attributes
seealso:
  - module: carveout.memory.kernel_cmdline
"""

EXAMPLES = r"""
- name: Have the next boot use the arguments of the layout
  carveout.memory.trial_boot:
    arguments: "{{ carveout_plan.layout.kernel_arguments }}"
  become: true

- name: Forget about it
  carveout.memory.trial_boot:
    state: absent
  become: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in order.
  returned: success
  type: list
  elements: str
  sample:
    - write /etc/systemd/system/carveout-trial.service
    - write /boot/grub/custom.cfg
    - write /boot/grub/grubenv
boot_arguments:
  description: What the trial's kernel gets, GRUB's own C(BOOT_IMAGE=) left out.
  returned: success and O(state=present)
  type: list
  elements: str
  sample:
    - root=UUID=0f1c
    - ro
    - carveout.layout=0123456789abcdef
    - carveout.trial
    - panic=30
    - systemd.crash_reboot
    - systemd.watchdog_sec=60
log:
  description:
    - The end of the kernel's log of the trial, where the host came back from one by itself and kept it; else why there
      is none. Empty while the trial itself is running, and where there was no trial.
  returned: success and O(state=absent)
  type: str
  sample: ""
problems:
  description: What is wrong.
  returned: failure
  type: list
  elements: dict
  contains:
    path:
      description: What it is about.
      type: str
      sample: policy.trial_boot
    code:
      description: A word for programs.
      type: str
      sample: trial-boot-impossible
    message:
      description: What is wrong and what would work.
      type: str
"""

import os
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.carveout.memory.plugins.module_utils._arguments import TRIAL_ARGUMENT
from ansible_collections.carveout.memory.plugins.module_utils._boot.change import FileEdit
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial import (
    begin,
    check_alone,
    end,
    leftovers,
    plan_trial,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_log import last_words
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial_switch import UNIT
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._lock import BOOT, exclusive
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem, System


def _present(system: System, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    if params["measured"] is not None:
        check_alone(system, params["measured"])
    trial = plan_trial(
        system, params["arguments"], params["extra"], params["seconds"], kernel=params["kernel"]
    )
    if trial.changed and not check_mode:
        begin(system, trial)
    return {
        "changed": trial.changed,
        "actions": trial.actions,
        "boot_arguments": list(trial.arguments),
        "diff": _diff(trial.files),
    }


def _absent(system: System, check_mode: bool) -> dict[str, Any]:
    edits = leftovers(system)
    prepared = system.stat(UNIT)
    running = TRIAL_ARGUMENT in (system.read("/proc/cmdline") or "").split()
    log = last_words(system, prepared.modified) if prepared is not None and not running else ""
    if not check_mode:
        end(system)
    return {
        "changed": bool(edits),
        "actions": [edit.action for edit in edits],
        "log": log,
        "diff": _diff(edits),
    }


def _diff(edits: Sequence[FileEdit]) -> list[dict[str, str]]:
    return [
        {
            "before_header": edit.path,
            "before": edit.before or "",
            "after_header": edit.path,
            "after": edit.after or "",
        }
        for edit in edits
        if edit.changed
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "arguments": {"type": "list", "elements": "str"},
            "extra": {"type": "list", "elements": "str", "default": ["panic=30", "systemd.crash_reboot"]},
            "seconds": {"type": "int", "default": 900},
            "kernel": {"type": "str", "default": ""},
            "measured": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["arguments"])],
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="the boot loader is configured by root; use become: true", problems=[])
    system = RealSystem()
    try:
        with exclusive(BOOT):
            if module.params["state"] == "present":
                result = _present(system, module.params, module.check_mode)
            else:
                result = _absent(system, module.check_mode)
    except CarveoutError as error:
        module.fail_json(msg=str(error), problems=[problem.to_json() for problem in error.problems])
    except OSError as error:
        module.fail_json(msg=f"cannot change the trial boot: {error}", problems=[])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
