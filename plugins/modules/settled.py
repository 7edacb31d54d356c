# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: settled
short_description: Find out whether a host is as its plan says, with nothing left to do
version_added: "0.1.0"
author:
  - Carveout developers (@carveout)
description:
  - Answers with RV(settled=true) where the layout that the plan gives is the one committed on the host, the boot
    loader, a trial boot, the devices, the mounts and the files of Carveout need no change, and the verification passes.
  - Makes two commands on the host. One runs the program that M(carveout.memory.host_files) installed, which measures
    the host and tells what is still to be done for its committed layout, by the code that would do it. One asks for the
    raw texts that the verification judges too. No module is copied, and no Python looked for.
  - Where anything is to be done, or cannot be told, the answer is RV(settled=false), never a failure. The
    tasks that do it check everything themselves.
options:
  plan:
    description:
      - The plan, as a mapping or as the path of a YAML file on the controller.
    type: raw
    required: true
  replan:
    description:
      - Plan anew even where the committed layout still fits.
    type: bool
    default: false
  evidence:
    description:
      - Also return the snapshot, the layout and the verification of a settled host.
    type: bool
    default: false
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.host_info
  - module: carveout.memory.memory_plan
  - module: carveout.memory.verify
"""

EXAMPLES = r"""
- name: See whether anything is to be done
  carveout.memory.settled:
    plan: "{{ inventory_dir }}/plans/kvm.yml"
  become: true
  register: looked

- name: Say what
  ansible.builtin.debug:
    var: looked.pending
  when: not looked.settled
"""

RETURN = r"""
settled:
  description: Whether nothing is to be done.
  returned: always
  type: bool
pending:
  description: What is to be done or cannot be told; empty for a settled host.
  returned: always
  type: str
  sample: remove /boot/grub/custom.cfg
id:
  description: ID of the layout.
  returned: when settled
  type: str
  sample: 843fc6bee2c8f6d1
host:
  description: The snapshot, as M(carveout.memory.host_info) gives it.
  returned: when settled, with O(evidence=true)
  type: dict
layout:
  description: The layout, as M(carveout.memory.memory_plan) gives it.
  returned: when settled, with O(evidence=true)
  type: dict
verified:
  description: What M(carveout.memory.verify) returns.
  returned: when settled, with O(evidence=true)
  type: dict
"""
