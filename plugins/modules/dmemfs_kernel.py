#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dmemfs_kernel
short_description: Look for the dmemfs kernel that a plan names
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Says which kernel the C(kernel) of a plan's dmemfs pool names and what brings it, whether the host has it, and
    whether it is built with dmemfs. That is read from its configuration in C(/boot), before it is ever booted.
  - Changes nothing. The host is not asked where the plan names no kernel.
options:
  plan:
    description:
      - The plan, as a mapping or as the path of a YAML file on the controller.
    type: raw
    required: true
  required:
    description:
      - Fail where the host does not have that kernel, or it lacks dmemfs.
    type: bool
    default: false
  release:
    description: Set by the action plugin, from the plan. The release to look for.
    type: str
requirements:
  - root
extends_documentation_fragment:
  - carveout.memory.attributes.reads
seealso:
  - module: carveout.memory.kernel_cmdline
  - module: carveout.memory.host_info
"""

EXAMPLES = r"""
- name: Look for the kernel
  carveout.memory.dmemfs_kernel:
    plan: "{{ carveout_plan }}"
  become: true
  register: found

- name: Measure the host as it is when that kernel boots
  carveout.memory.host_info:
    kernel: "{{ found.release }}"
  become: true
"""

RETURN = r"""
release:
  description: Release of the kernel; empty where the plan names none.
  returned: success
  type: str
  sample: 5.4.119-20.0009.tl3
package:
  description: Name of the package that brings it; empty where the plan has none.
  returned: success
  type: str
file:
  description: Path of a package file on the controller; empty where the plan has none.
  returned: success
  type: str
options:
  description: What the package manager is told of the repository that the plan names.
  returned: success
  type: list
  elements: str
installed:
  description: Whether the kernel can be booted; V(true) where the plan names none.
  returned: success
  type: bool
lacks:
  description: Options of dmemfs that the kernel is built without; empty where it is not installed.
  returned: success
  type: list
  elements: str
installer:
  description: The beginning of the command that installs a package on this host.
  returned: success
  type: list
  elements: str
  sample: [dnf, --assumeyes, install]
problems:
  description: What is wrong, each with its place in the plan.
  returned: failure
  type: list
  elements: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.carveout.memory.plugins.module_utils._host.files import Reader
from ansible_collections.carveout.memory.plugins.module_utils._host.kernels import (
    installer,
    is_installed,
    read_config,
)
from ansible_collections.carveout.memory.plugins.module_utils._mechanisms.dmemfs import missing_config
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem


def main() -> None:
    module = AnsibleModule(
        # what the action plugin makes of the plan
        argument_spec={"release": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="a host's kernels are looked at as root; use become: true", problems=[])
    system = RealSystem()
    release = module.params["release"]
    installed = is_installed(system, release)
    module.exit_json(
        changed=False,
        installed=installed,
        lacks=missing_config(read_config(Reader(system), release)) if installed else [],
        installer=list(installer(system)),
    )


if __name__ == "__main__":
    main()
