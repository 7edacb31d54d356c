#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_note
short_description: Note where a host of a rollout stands
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Writes it into the file of the host in O(records), so it is known when the host answers no more.
options:
  records:
    description: The directory on the controller where the rollout keeps what it knows of its hosts.
    type: path
    required: true
  state:
    description: Where the host stands. A host that is V(working) when the rollout judges was lost in the middle.
    type: str
    required: true
    choices: [working, committed, failed, settled, unreachable, unplannable]
  step:
    description: What is being done to a host that is V(working).
    type: str
  why:
    description: What went wrong.
    type: str
    default: ""
  down:
    description: Whether a failed host does not serve its tenants; it then takes a place of its failure domain.
    type: bool
    default: false
  drained:
    description: Whether it was drained and is to be brought back. Without it that stays as it was noted.
    type: bool
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.rollout_gate
  - module: carveout.memory.rollout_waves
"""

EXAMPLES = r"""
- name: Note that the host is drained
  carveout.memory.rollout_note:
    records: "{{ records.path }}"
    state: working
    step: drain
"""

RETURN = r"""
msg:
  description: Why it could not be noted.
  returned: failure
  type: str
"""
