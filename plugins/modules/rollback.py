#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Take a host back to a layout that it stores, or to none
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Needs nothing but what stands on the host, so also a host whose plan is gone can be taken back.
  - To a layout, it ends a trial boot, puts units, mounts and drop-ins of that layout in place, and its arguments into
    the boot loader. Where the running kernel has these arguments already, it makes the devices, too.
  - To none, it takes the devices away, the arguments out of the boot loader, and every file of Carveout off the host.
  - Refuses before the first change where a device is in use that would go, where a range of the layout is not memory of
    its node any more, where there is no such layout, and where the boot loader could not be written.
  - Does not reboot; RV(reboot_required) tells whether that is needed. Does not record the layout as committed;
    M(carveout.memory.host_files) does, once it was verified.
  - The same can be had on the host's console as C(carveout rollback).
options:
  to:
    description:
      - V(none), the host as it was before Carveout.
      - V(committed), the layout that is committed, where something else is booted or about to be.
      - V(previous), the layout that was committed before that one.
      - Else the ID of a layout that the host stores.
    type: str
    default: none
requirements:
  - root
  - systemd
  - python3-augeas on the managed host to go back to a layout where GRUB boots a generated menu
attributes:
  diff_mode:
    description: Returns each file, and the command line of the boot entry, before and after.
extends_documentation_fragment:
  - carveout.memory.attributes
seealso:
  - module: carveout.memory.host_files
  - module: carveout.memory.kernel_cmdline
  - module: carveout.memory.dax_devices
"""

EXAMPLES = r"""
- name: Give all memory back
  carveout.memory.rollback:
  become: true
  register: carveout_back

- name: Go back to the layout before this one
  carveout.memory.rollback:
    to: previous
  become: true
  register: carveout_back

- name: Reboot where that is needed
  ansible.builtin.reboot:
  become: true
  when: carveout_back.reboot_required
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in order.
  returned: success
  type: list
  elements: str
  sample:
    - destroy dax0.1 ([0x100000000, 0x140000000))
    - remove /etc/default/grub.d/zz-carveout.cfg
    - run /usr/sbin/grub-mkconfig -o /run/carveout/grub.cfg
    - write /boot/grub/grub.cfg
reboot_required:
  description: Whether the running kernel has other arguments than it should have.
  returned: success
  type: bool
id:
  description: ID of the layout; empty for none.
  returned: success
  type: str
  sample: 843fc6bee2c8f6d1
layout:
  description: The layout, as M(carveout.memory.memory_plan) gives it; empty for none.
  returned: success
  type: dict
went_back:
  description: Whether that is the layout that was committed before the committed one.
  returned: success
  type: bool
problems:
  description: What is wrong.
  returned: failure
  type: list
  elements: dict
  contains:
    path:
      description: What it is about.
      type: str
    code:
      description: A word for programs.
      type: str
      sample: layout-unknown
    message:
      description: What is wrong and what would work.
      type: str
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import needs_augeas
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.augeas_binding import (
    SYSTEM_PYTHONS,
    open_augeas,
)
from ansible_collections.carveout.memory.plugins.module_utils._lock import BOOT, DAX_BUS, exclusive
from ansible_collections.carveout.memory.plugins.module_utils._rollback import NONE, plan_rollback, roll_back
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem


def load_augeas(module: AnsibleModule, system: RealSystem) -> Any:
    """The binding, from another interpreter of the host if this one has none; None where there is none."""
    augeas = open_augeas()
    if augeas is None and module.params["to"] != NONE and needs_augeas(system) and not has_respawned():
        interpreter = probe_interpreters_for_module(SYSTEM_PYTHONS, "augeas")
        if interpreter:
            respawn_module(interpreter)
    return augeas


def main() -> None:
    module = AnsibleModule(argument_spec={"to": {"type": "str", "default": NONE}}, supports_check_mode=True)
    if os.geteuid() != 0:
        module.fail_json(msg="a host is taken back by root; use become: true", problems=[])
    system = RealSystem()
    augeas = load_augeas(module, system)
    try:
        with exclusive(DAX_BUS), exclusive(BOOT):
            planned = plan_rollback(
                system, augeas, module.params["to"], commit=False, foresee=module.check_mode
            )
            if planned.actions and not module.check_mode:
                roll_back(system, augeas, planned, time.sleep, commit=False)
    except CarveoutError as error:
        module.fail_json(msg=str(error), problems=[problem.to_json() for problem in error.problems])
    except OSError as error:
        module.fail_json(msg=f"cannot take the host back: {error}", problems=[])
    module.exit_json(
        changed=bool(planned.actions),
        actions=list(planned.actions),
        reboot_required=planned.reboot_required,
        id=planned.layout.id if planned.layout else "",
        layout=planned.layout.to_json() if planned.layout else {},
        went_back=planned.back,
        diff=list(planned.diff),
    )


if __name__ == "__main__":
    main()
