#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_assess
short_description: Find out what a layout asks of a host and its tenants
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Compares the layout with the one that is committed on the host, and notes the result for the rollout.
  - With O(agreed=true) it notes nothing, and fails where the layout is not the one that was noted before.
options:
  records:
    description: The directory on the controller where the rollout keeps what it knows of its hosts.
    type: path
    required: true
  host:
    description: The host, as M(carveout.memory.host_info) gives it.
    type: dict
    required: true
  layout:
    description: The layout, as M(carveout.memory.memory_plan) gives it.
    type: dict
    required: true
  agreed:
    description: Whether the layout has to be the one that was noted before the first host was changed.
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
- name: Note what changes
  carveout.memory.rollout_assess:
    records: "{{ records.path }}"
    host: "{{ measured.host }}"
    layout: "{{ planned.layout }}"
  register: assessed
"""

RETURN = r"""
reboots:
  description: Whether the host reboots.
  returned: success
  type: bool
disturbs:
  description: Whether it reboots, or a device or mount that tenants may have goes, moves, or becomes another.
  returned: success
  type: bool
changes:
  description: What changes, for people.
  returned: success
  type: list
  elements: str
  sample: ["pool guests (dax) node 0: 160GiB -> 176GiB"]
"""
