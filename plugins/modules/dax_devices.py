#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dax_devices
short_description: Make the DAX devices of the booted memory layout
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Divides the DAX regions of a host that was booted with the kernel arguments of a layout into the devices of
    that layout, binds them to the driver C(device_dax), and gives them their links below C(/dev/carveout), owners,
    groups and modes by a udev rule.
  - Devices are recognised by the physical ranges that they map, never by their C(daxX.Y) names, which change.
  - A device in a region of the layout that the layout does not have is destroyed; one that a process has open or
    mapped is never touched, the module fails and names the process.
  - A device with C(use) V(system-ram) goes to the driver C(kmem). Its memory blocks, of every extent, are onlined as
    the plan says, whatever the kernel's own policy for new memory. On the way back they are taken offline first, all
    of them or none; the kernel may refuse that, which fails with the block and the reason and changes nothing.
  - Memory of a region that the kernel has as a whole (C(daxX.0) under the driver C(kmem)) is taken from it only where
    the plan says that the region exists already, and O(state=absent) leaves to the kernel what it has until the next
    boot.
  - Namespaces of persistent memory (mechanism C(pmem)) are known by their physical ranges too. One that is not as the
    layout says, as those with an info block are after power was off, is made anew by C(ndctl); what was in it is
    lost, so one that is open or mounted is never touched.
  - A host that was booted for another layout with the same kernel arguments needs no reboot. Devices that both have
    are left as they are, open or not; one that only gets another owner, group or mode is not taken from who has it
    open, one that gets another name would be, and is refused like one that goes. C(/run/carveout/layout) then says
    which layout this boot has.
  - Nothing done here outlasts the boot; C(carveout-dax.service), which M(carveout.memory.host_files) installs, does
    the same at each boot.
options:
  layout:
    description:
      - The layout, as M(carveout.memory.memory_plan) returns it.
      - Required for O(state=present). With O(state=absent) it is one more layout whose devices go.
    type: dict
  state:
    description:
      - V(present) makes the devices. The host must be booted with the arguments of the layout (the layout's ID among
        them may be that of another one which the host stores). In check mode it need not be, and the module reports
        what would be made after the reboot. It fails where the reboot would be in vain (an owner does not exist) or
        would take a device of ours from a process that uses it.
      - V(absent) destroys the devices of all layouts stored on the host and removes the udev rule.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - root
  - Linux 5.10 or later with C(CONFIG_DEV_DAX_HMEM), C(udevadm) and C(modprobe)
  - C(ndctl) for namespaces of persistent memory
attributes:
  diff_mode:
    description: Returns the devices before and after.
extends_documentation_fragment:
  - carveout.memory.attributes
seealso:
  - module: carveout.memory.memory_plan
  - module: carveout.memory.host_files
"""

EXAMPLES = r"""
- name: Make the devices of the layout that this host was booted for
  carveout.memory.dax_devices:
    layout: "{{ carveout_plan.layout }}"
  become: true

- name: Take all of our devices away
  carveout.memory.dax_devices:
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
    - create a device for vm-a in region [0x140000000, 0x1c0000000)
    - set align of vm-a to 1GiB
    - add [0x140000000, 0x180000000) (1GiB) to vm-a
    - bind vm-a to device_dax
    - write /run/udev/rules.d/61-carveout.rules
devices:
  description:
    - The devices of the layout. C(node) and C(driver) are empty where the device is not there (yet).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name in the plan.
      type: str
      sample: vm-a
    path:
      description: The link that stays the same; empty for a device whose memory the kernel has.
      type: str
      sample: /dev/carveout/vm-a
    node:
      description: The device node of this boot.
      type: str
      sample: /dev/dax0.1
    extents:
      description: Physical ranges C([start, end]) in bytes, the end exclusive, in the order in which they are mapped.
      type: list
      elements: list
      sample: [[5368709120, 6442450944]]
    align:
      description: Page size in bytes that the device is mapped with.
      type: int
      sample: 1073741824
    driver:
      description: The driver it is bound to.
      type: str
      sample: device_dax
    use:
      description: V(devdax) for tenants, V(system-ram) where the kernel has the memory.
      type: str
      sample: devdax
    online:
      description: How the kernel onlines the memory of a V(system-ram) device; empty for others.
      type: str
      sample: movable
    owner:
      description: Owner of the node.
      type: str
      sample: libvirt-qemu
    group:
      description: Group of the node.
      type: str
      sample: kvm
    mode:
      description: Permissions of the node.
      type: str
      sample: "0660"
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

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.carveout.memory.plugins.module_utils._dax.apply import (
    converge,
    preview,
    preview_reboot,
    remove,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.current import (
    booted_layout_id,
    carried,
    stored_layout,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.nodes import found_devices
from ansible_collections.carveout.memory.plugins.module_utils._dax.report import (
    describe_layout,
    describe_state,
)
from ansible_collections.carveout.memory.plugins.module_utils._dax.state import DaxState, read_state
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host_files import (
    known_files,
    stored_layout_ids,
)
from ansible_collections.carveout.memory.plugins.module_utils._layout import DEVDAX, Layout
from ansible_collections.carveout.memory.plugins.module_utils._lock import DAX_BUS, exclusive
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem, System


def present(system: System, layout: Layout, check_mode: bool) -> dict[str, object]:
    """Make the devices of the layout, or tell what would be made."""
    if (layout.arguments or layout.devices) and not carried(system, layout):
        if not check_mode:
            booted = booted_layout_id(system)
            now = f"for the layout {booted}" if booted else "for no layout"
            raise NotPossible.of(
                "",
                "layout-not-booted",
                f"this boot is {now}, not for {layout.id}: the devices of a layout can only be made after a "
                f"reboot {'with its' if layout.arguments else 'without those'} kernel arguments "
                "(carveout.memory.kernel_cmdline sees to them)",
            )
        outcome = preview_reboot(system, layout)
        before = ""
    else:
        before = describe_state([layout], read_state(system))
        outcome = preview(system, layout) if check_mode else converge(system, layout, time.sleep)
    after = describe_layout(layout) if outcome.actions else before
    return {
        "changed": bool(outcome.actions),
        "actions": list(outcome.actions),
        "devices": _devices(layout, outcome.state),
        "diff": _diff(before, after),
    }


def absent(system: System, layouts: list[Layout], check_mode: bool) -> dict[str, object]:
    """Destroy the devices of the layouts, or tell which would be."""
    before = describe_state(layouts, read_state(system))
    outcome = remove(system, layouts, dry_run=check_mode)
    return {
        "changed": bool(outcome.actions),
        "actions": list(outcome.actions),
        "devices": [],
        "diff": _diff(before, "" if outcome.actions else before),
    }


def _diff(before: str, after: str) -> dict[str, str]:
    return {"before_header": "DAX devices", "before": before, "after_header": "DAX devices", "after": after}


def _devices(layout: Layout, state: DaxState) -> list[dict[str, object]]:
    found = found_devices(layout, state)
    devices: list[dict[str, object]] = []
    for wanted in layout.devices:
        device = found.get(wanted.name)
        devices.append(
            {
                "name": wanted.name,
                "path": f"/dev/carveout/{wanted.name}" if wanted.use == DEVDAX else "",
                "node": device.node_path if device else "",
                "extents": [[extent.start, extent.end] for extent in wanted.extents],
                "align": wanted.align,
                "driver": device.driver if device else "",
                "use": wanted.use,
                "online": wanted.online,
                "owner": device.owner if device else wanted.owner,
                "group": device.group if device else wanted.group,
                "mode": device.mode if device else wanted.mode,
            }
        )
    return devices


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "layout": {"type": "dict"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["layout"])],
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="DAX devices are made by root; use become: true", problems=[])
    system = RealSystem()
    try:
        layouts = [Layout.from_json(module.params["layout"])] if module.params["layout"] else []
        with exclusive(DAX_BUS):
            if module.params["state"] == "present":
                result = present(system, layouts[0], module.check_mode)
            else:
                for layout_id in stored_layout_ids(known_files(system)):
                    try:
                        layouts.append(stored_layout(system, layout_id))
                    except CarveoutError as error:
                        # what cannot be read must not keep the rest from being removed
                        module.warn(f"devices of this layout are left alone: {error}")
                result = absent(system, layouts, module.check_mode)
    except CarveoutError as error:
        module.fail_json(msg=str(error), problems=[problem.to_json() for problem in error.problems])
    except OSError as error:
        module.fail_json(msg=f"cannot change the DAX devices: {error}", problems=[])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
