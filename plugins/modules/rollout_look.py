#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_look
short_description: Find out for a rollout whether a host is as its plan says
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Looks as M(carveout.memory.settled) does, with its two commands on the host, and notes what it found.
  - A host of which nothing is noted after that, because it became unreachable, counts as failed.
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
  records:
    description: The directory on the controller where the rollout keeps what it knows of its hosts.
    type: path
    required: true
  class:
    description:
      - The class of hosts that this one should be like.
      - Empty for the class of all hosts with the same plan.
    type: str
    default: ""
  domain:
    description:
      - The failure domain of the host.
      - Empty for none.
    type: str
    default: ""
  canary:
    description: Whether the host comes first.
    type: bool
    default: false
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.rollout_gate
  - module: carveout.memory.rollout_waves
"""

EXAMPLES = r"""
- name: See whether anything is to be done
  carveout.memory.rollout_look:
    plan: "{{ inventory_dir }}/plans/kvm.yml"
    records: "{{ records.path }}"
    domain: "{{ rack }}"
  ignore_unreachable: true
  register: looked
"""

RETURN = r"""
settled:
  description: Whether nothing is to be done.
  returned: success
  type: bool
pending:
  description: What is to be done or cannot be told; empty for a settled host.
  returned: success
  type: str
  sample: the layout is 843fc6bee2c8f6d1, committed is none
id:
  description: ID of the layout.
  returned: when settled
  type: str
  sample: 843fc6bee2c8f6d1
"""
