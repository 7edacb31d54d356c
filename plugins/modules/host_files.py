#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Install or remove what Carveout keeps on a host
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Installs everything that stands on a host apart from the boot loader's configuration. That is the program
    C(/usr/lib/carveout/carveout-VERSION.pyz), the command C(/usr/sbin/carveout) for the console, the units
    C(carveout-dax.service) and C(carveout.target), the layout at C(/etc/carveout/layouts/ID.json), and which layout is
    committed. For the mounts of a layout it also installs mount units, which C(carveout.target) wants.
  - C(carveout-dax.service) recreates, at each boot, the DAX devices of the layout that C(carveout.layout=ID) on the
    kernel command line names. Tenants order themselves with C(After=carveout.target).
  - A mount that changes or goes is unmounted first; nothing is changed where its files are in use.
  - Each service that the layout lets at a device gets the drop-in C(50-carveout.conf), which says so. Drop-ins of
    services that it no longer names are removed.
  - Where kdump is there (C(/etc/default/kdump-tools) with C(kdump-config), or C(/etc/sysconfig/kdump) with
    C(kdumpctl)), a block at the end of its configuration keeps the crash kernel from inheriting the layout's arguments.
    Nothing else of that file is changed, and nothing where it gives the crash kernel a command line of its own.
  - Older layouts are kept, but at most two beside the booted, the committed and the new one.
  - An action plugin of the same name runs on the controller. It builds the program, sends it only where it is
    needed, and makes no call to the host at all where O(installed) tells that there is nothing to do.
options:
  layout:
    description:
      - The layout to store, as M(carveout.memory.memory_plan) returns it.
      - Where it is not given, the stored layouts are left alone.
    type: dict
  committed:
    description:
      - ID of the layout that verification passed for. It must be stored on the host, or be O(layout).
      - Where it is not given, what is committed is left alone.
      - What was committed before is remembered in C(/etc/carveout/previous), for M(carveout.memory.rollback).
    type: str
  verified:
    description:
      - Release of the kernel that O(committed) was verified with. It is recorded in C(/etc/carveout/verified); where a
        boot has another, the boot service holds it to the layout before it makes any device.
      - Where it is not given, the record stays as it is, and goes where O(committed) is new.
    type: str
  went_back:
    description:
      - Whether O(committed) is what was committed before, so that there is nothing to remember.
    type: bool
    default: false
  state:
    description:
      - V(present) installs or updates.
      - V(absent) removes everything that this module installs, whatever version did so.
    type: str
    choices: [present, absent]
    default: present
  installed:
    description:
      - SHA-256 checksums by path of the files of ours that the host has, as RV(carveout.memory.host_info#module:host)
        tells under C(state.files).
      - Saves the call to the host where it tells that there is nothing to do. Without it the host is always asked.
    type: dict
  kdump:
    description:
      - What crash kernels inherit, by the configuration of kdump, as RV(carveout.memory.host_info#module:host) tells
        under C(state.kdump). Goes with O(installed).
    type: dict
    default: {}
  program:
    description: Set by the action plugin. The program to install, in Base64.
    type: str
  program_sha256:
    description: Set by the action plugin. Checksum of the program.
    type: str
requirements:
  - root
  - systemd
  - Python 3.9 or later at C(/usr/bin/python3)
attributes:
  diff_mode:
    description: Returns each file before and after; of the program the checksum.
extends_documentation_fragment:
  - carveout.memory.attributes
seealso:
  - module: carveout.memory.dax_devices
  - module: carveout.memory.kernel_cmdline
"""

EXAMPLES = r"""
- name: Install the host side and the layout
  carveout.memory.host_files:
    layout: "{{ carveout_plan.layout }}"
    installed: "{{ carveout_host.state.files }}"
  become: true

- name: Record that the layout was verified
  carveout.memory.host_files:
    layout: "{{ carveout_plan.layout }}"
    committed: "{{ carveout_plan.layout.id }}"
  become: true

- name: Remove everything
  carveout.memory.host_files:
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
    - write /usr/lib/carveout/carveout-0.1.0.pyz
    - enable carveout.target
asked:
  description: Whether the host was asked; V(false) where O(installed) told that there is nothing to do.
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong, each with its place in the plan.
  returned: failure
  type: list
  elements: dict
  contains:
    path:
      description: Place in the plan, empty for the whole.
      type: str
    code:
      description: A word for programs.
      type: str
    message:
      description: What is wrong and what would work.
      type: str
"""

import base64
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.carveout.memory.plugins.module_utils._dax.current import booted_layout_id
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import (
    apply_absent,
    apply_present,
    plan_absent,
    plan_present,
)
from ansible_collections.carveout.memory.plugins.module_utils._host_report import actions_of, diff_of
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

#: What people may set; the action plugin adds ``program`` and ``program_sha256``.
OPTIONS = {
    "layout": {"type": "dict"},
    "committed": {"type": "str"},
    "verified": {"type": "str"},
    "went_back": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "installed": {"type": "dict"},
    "kdump": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(
        # no secret, but nothing to fill logs with
        argument_spec=dict(OPTIONS, program={"type": "str", "no_log": True}, program_sha256={"type": "str"}),
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="the files of Carveout are installed by root; use become: true", problems=[])
    params = module.params
    system = RealSystem()

    def program() -> str:
        if not params["program"]:
            module.fail_json(
                msg="the program was not sent along: the host's files changed meanwhile, or this module was "
                "called without its action plugin",
                problems=[],
            )
        return base64.b64decode(params["program"]).decode("utf-8", "surrogateescape")

    try:
        if params["state"] == "present":
            layout = Layout.from_json(params["layout"]) if params["layout"] else None
            booted = booted_layout_id(system)
            plan = plan_present(
                system,
                params["program_sha256"],
                program,
                layout,
                params["committed"],
                booted,
                verified=params["verified"],
                going_back=params["went_back"],
            )
            if not module.check_mode:
                apply_present(system, plan)
        else:
            plan = plan_absent(system)
            if not module.check_mode:
                apply_absent(system, plan)
    except CarveoutError as error:
        module.fail_json(msg=str(error), problems=[problem.to_json() for problem in error.problems])
    except OSError as error:
        module.fail_json(msg=f"cannot change the files of Carveout: {error}", problems=[])
    actions = actions_of(plan, present=params["state"] == "present")
    module.exit_json(changed=plan.changed, actions=actions, asked=True, diff=diff_of(plan))


if __name__ == "__main__":
    main()
