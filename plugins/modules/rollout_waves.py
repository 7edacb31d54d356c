#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_waves
short_description: Work out which hosts of a rollout are worked on together
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Cuts the hosts that are to be changed into waves, and waves into batches that keep to the limit of domains.
  - Stops the rollout before any host is touched where a host cannot do what its plan says, where more hosts do not
    answer than may fail, and where a host differs from its class.
  - To be run once for all hosts of the play.
options:
  hosts:
    description: Names of all hosts of the rollout, as the inventory has them.
    type: list
    elements: str
    required: true
  records:
    description: The directory on the controller where the rollout keeps what it knows of its hosts.
    type: path
    required: true
  waves:
    description:
      - Sizes of the waves, each a number of hosts or a percentage of those to be changed. The last one repeats.
    type: list
    elements: raw
    required: true
  waves_now:
    description: Do only so many waves in this run.
    type: int
  domain_limit:
    description: So many hosts of one failure domain may be worked on or down at once.
    type: int
    default: 1
  failure_budget:
    description: So many hosts may fail.
    type: int
    default: 0
  allow_different:
    description: Whether hosts may differ from their class.
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
- name: Work out the waves
  carveout.memory.rollout_waves:
    hosts: "{{ ansible_play_hosts_all }}"
    records: "{{ records.path }}"
    waves: [1, "10%", "50%", "100%"]
  run_once: true
  register: rollout
"""

RETURN = r"""
batches:
  description: The batches in their order; empty where the rollout was stopped.
  returned: success
  type: list
  elements: dict
  sample: [{number: 1, wave: 1, begins: true, hosts: [h1]}]
numbers:
  description: The batches of each host; the host that the task ran for has all of them.
  returned: success
  type: dict
  sample: {h1: [1, 2], h2: [2]}
text:
  description: The waves for people, or why there are none.
  returned: success
  type: str
  sample: "2 hosts: 2 to be changed, 2 of them with a reboot; 0 as their plans say already"
"""
