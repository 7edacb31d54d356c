# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_plan
short_description: Compute the memory layout of a host from a plan
version_added: "0.1.0"
author:
  - Carveout developers (@carveout)
description:
  - Takes a memory plan and a snapshot of a host and computes the layout, that is the physical ranges, the kernel
    arguments, the devices, the memory map that the kernel is predicted to build, and the memory accounts.
  - Runs on the controller only. The host is neither asked nor changed.
  - A plan that does not fit fails with every problem, each with its place in the plan, what is wrong and what would
    work.
options:
  plan:
    description:
      - The plan, as a mapping or as the path of a YAML file on the controller.
    type: raw
    required: true
  host:
    description:
      - The snapshot that M(carveout.memory.host_info) returned.
    type: dict
    required: true
  previous:
    description:
      - The layout to keep if it still satisfies plan and host. Defaults to the one committed on the host.
    type: dict
  replan:
    description:
      - Plan anew even where the previous layout still fits.
    type: bool
    default: false
attributes:
  diff_mode:
    description: Shows the memory map before and after.
    support: full
  idempotent:
    description: The same plan, host and previous layout give the same layout.
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.host_info
  - module: carveout.memory.kernel_cmdline
  - module: carveout.memory.dax_devices
"""

EXAMPLES = r"""
- name: Measure the host
  carveout.memory.host_info:
  register: measured

- name: Compute its layout
  carveout.memory.memory_plan:
    plan: "{{ inventory_dir }}/plans/kvm.yml"
    host: "{{ measured.host }}"
  register: planned

- name: Show what would stand on the kernel's command line
  ansible.builtin.debug:
    var: planned.layout.kernel_arguments
"""

RETURN = r"""
layout:
  description: The layout, as schemas/layout.schema.json describes it.
  returned: success
  type: dict
  contains:
    id:
      description: Digest of the content.
      type: str
      sample: a874c488c13332bd
    kernel_arguments:
      description: The arguments in the order in which they have to stand on the command line.
      type: list
      elements: str
trial_boot:
  description: Whether the plan wants new arguments to boot on trial first (C(policy.trial_boot)).
  returned: success
  type: bool
text:
  description: The layout for people, with the map of each node before and after.
  returned: success
  type: str
changed:
  description: Whether the layout is another one than the host has committed.
  returned: always
  type: bool
problems:
  description: Every problem, with C(path) (the place in the plan), C(code) and C(message).
  returned: failure
  type: list
  elements: dict
"""
