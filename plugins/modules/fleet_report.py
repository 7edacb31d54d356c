#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Report on many verified hosts
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Makes one report of what M(carveout.memory.verify) recorded of hosts, as text, JSON, JUnit XML, and as a page
    of HTML that shows each host's map and what deviates, and refers to nothing outside of it.
  - A host without a record, one that could not be reached or whose tasks failed before, counts as deviating.
  - It runs on the controller, and does not fail where hosts deviate. RV(deviating) names them.
options:
  hosts:
    description: Names of the hosts to report on, as the inventory has them.
    type: list
    elements: str
    required: true
  records:
    description: The directory that M(carveout.memory.verify) was given as O(carveout.memory.verify#module:record).
    type: path
    required: true
  directory:
    description:
      - Where C(report.txt), C(report.json), C(report.xml) and C(report.html) go, relative to the current directory.
      - Empty for none of them.
    type: path
    default: ""
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.verify
"""

EXAMPLES = r"""
- name: Report on all hosts of the play
  carveout.memory.fleet_report:
    hosts: "{{ ansible_play_hosts_all }}"
    records: "{{ records.path }}"
    directory: reports
  run_once: true
  delegate_to: localhost
  register: report
"""

RETURN = r"""
text:
  description: The report for people.
  returned: success
  type: str
  sample: "h1: as committed, layout 843fc6bee2c8f6d1\n1 hosts: 1 as committed\n"
verdicts:
  description: V(fine), V(deviates) or V(unknown) by host; the last where it could not be verified.
  returned: success
  type: dict
  sample: {h1: fine}
deviating:
  description: The hosts that are not as their layouts say, or of which nobody knows.
  returned: success
  type: list
  elements: str
  sample: []
"""
