#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Measure a host for planning and verifying its memory layout
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Returns a snapshot of the host, the one input beside the plan that M(carveout.memory.memory_plan) needs. The
    firmware's memory map, the memory of each NUMA node (from the ACPI table SRAT, as a node whose memory is all carved
    out is no longer listed elsewhere), the kernel that boots next with its configuration, the command line now and at
    the next boot, foreign memory arguments and where they stand, the layouts stored on the host, and what of them is
    there now (memory, DAX devices, files).
  - Nothing is changed. All is read in one call.
  - The snapshot can be kept as a JSON file and planned for offline with C(carveout plan).
options:
  kernel:
    description:
      - Release of the kernel that is to boot next, where the boot loader does not say so yet.
    type: str
    default: ""
requirements:
  - root
  - Linux on x86_64 with C(CONFIG_FIRMWARE_MEMMAP)
  - python3-augeas, to tell the file and line of foreign memory arguments
extends_documentation_fragment:
  - carveout.memory.attributes.reads
notes:
  - Where the Python interpreter that Ansible uses has no augeas, but the distribution's own has, the module runs itself
    again with that one.
seealso:
  - module: carveout.memory.memory_plan
"""

EXAMPLES = r"""
- name: Measure the host
  carveout.memory.host_info:
  become: true
  register: measured

- name: Keep the snapshot, to plan offline
  ansible.builtin.copy:
    content: "{{ measured.host | to_nice_json }}"
    dest: "snapshots/{{ inventory_hostname }}.json"
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
host:
  description:
    - The snapshot. C(schemas/host.schema.json) describes it in full.
    - All sizes and addresses are bytes, all ranges half-open.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of the format.
      type: int
      sample: 1
    architecture:
      description: What C(uname -m) says.
      type: str
      sample: x86_64
    firmware:
      description:
        - C(map), the firmware's memory map, C([start, end, e820 type]).
        - C(srat), the memory of the nodes, C([node, start, end]).
        - C(boot), V(bios) or V(efi), and C(hmat), whether there is an ACPI table HMAT that kernels go by; then
          C(hmat_targets) is the memory that it speaks of, C([node, start, end]).
      type: dict
      sample:
        map: [[1048576, 3221213184, 1], [4294967296, 10737418240, 1]]
        boot: bios
        srat: [[0, 0, 6442450944], [1, 6442450944, 10737418240]]
        hmat: false
    kernel:
      description:
        - C(running) and C(default), the releases of the kernel that runs and of the one that boots next (empty where it
          is not known), and C(config), what matters of the latter's configuration.
      type: dict
      sample: {running: 6.12.107+deb13-amd64, default: 6.12.107+deb13-amd64, config: {CONFIG_DEV_DAX_HMEM: m}}
    cmdline:
      description: The running kernel's command line.
      type: str
      sample: BOOT_IMAGE=/boot/vmlinuz-6.12.107+deb13-amd64 root=/dev/vda1 ro quiet
    boot_arguments:
      description: The arguments of the entry that boots next, null where they are not known.
      type: list
      elements: str
      sample: [root=/dev/vda1, ro, quiet]
    foreign:
      description: Memory arguments that are not ours, and where they stand.
      type: list
      elements: dict
      sample: [{argument: "hugepages=512", file: /etc/default/grub, line: 9}]
    committed:
      description: ID of the layout that verification passed for, or null.
      type: str
      sample: 3f0c1d2b4a596877
    layouts:
      description: The layouts stored on the host by ID.
      type: dict
      sample: {}
    state:
      description:
        - What is there now. C(iomem), C(meminfo), C(nodes), C(vmstat), C(dax), C(links), C(loader), C(files) and more.
        - C(problems) names what on the host could not be used, and why.
      type: dict
      sample: {root: true, augeas: true, block_size: 134217728, problems: []}
problems:
  description: What is wrong, each with its place.
  returned: failure
  type: list
  elements: dict
  contains:
    path:
      description: Place in the snapshot, empty for the whole.
      type: str
    code:
      description: A word for programs.
      type: str
    message:
      description: What is wrong and what would work.
      type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import (
    has_respawned,
    probe_interpreters_for_module,
    respawn_module,
)

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.augeas_binding import (
    SYSTEM_PYTHONS,
    open_augeas,
)
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_to_json
from ansible_collections.carveout.memory.plugins.module_utils._host.tree import read_host
from ansible_collections.carveout.memory.plugins.module_utils._layout import RELEASE
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem


def main() -> None:
    module = AnsibleModule(argument_spec={"kernel": {"type": "str", "default": ""}}, supports_check_mode=True)
    if os.geteuid() != 0:
        module.fail_json(
            msg="hosts are measured as root (their memory map is not shown to others); use become: true",
            problems=[],
        )
    if not RELEASE.fullmatch(module.params["kernel"]):
        module.fail_json(msg=f"kernel: {module.params['kernel']!r} is not a kernel's release", problems=[])
    augeas = open_augeas()
    if augeas is None and not has_respawned():
        interpreter = probe_interpreters_for_module(SYSTEM_PYTHONS, "augeas")
        if interpreter:
            respawn_module(interpreter)
    try:
        host = read_host(
            RealSystem(), augeas=augeas, machine=os.uname().machine, kernel=module.params["kernel"]
        )
    except CarveoutError as error:
        module.fail_json(msg=str(error), problems=[problem.to_json() for problem in error.problems])
    except OSError as error:
        module.fail_json(msg=f"cannot read the host: {error}", problems=[])
    for problem in host.state["problems"]:
        module.warn(f"not used: {problem}")
    module.exit_json(changed=False, host=host_to_json(host))


if __name__ == "__main__":
    main()
