#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Find out whether a rollout may go on, and what it came to
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Judges by what was noted of all hosts. A host on which nobody works any more and that is not committed failed; those
    that became unreachable count.
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
  following:
    description: Names of the hosts that are next.
    type: list
    elements: str
    default: []
  failure_budget:
    description: So many hosts may fail in the whole rollout.
    type: int
    default: 0
  domain_limit:
    description: So many hosts of one failure domain may be worked on or down at once.
    type: int
    default: 1
  stop:
    description: Why the rollout ends here; the first reason stays.
    type: str
    default: ""
  last:
    description: Whether the rollout is over, so that the report is the last one.
    type: bool
    default: false
  report:
    description:
      - A file on the controller for the report as JSON.
      - Empty for none.
    type: path
    default: ""
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.rollout_gate
  - module: carveout.memory.rollout_waves
"""

EXAMPLES = r"""
- name: See whether the next hosts may be worked on
  carveout.memory.rollout_gate:
    hosts: "{{ ansible_play_hosts_all }}"
    records: "{{ records.path }}"
    following: [h2, h3]
    failure_budget: 1
  run_once: true
  register: gate
"""

RETURN = r"""
go:
  description: Those of O(following) that are to be worked on now.
  returned: success
  type: list
  elements: str
  sample: [h2]
stopped:
  description: Why nothing more is done; empty where it is.
  returned: success
  type: str
  sample: 1 host failed, and the failure budget is 0
failed_hosts:
  description: The hosts that failed or were lost.
  returned: success
  type: list
  elements: str
  sample: []
outcome:
  description: The outcome in one line.
  returned: success
  type: str
  sample: The rollout is complete
text:
  description: The report for people, with O(last=true).
  returned: success
  type: str
"""
