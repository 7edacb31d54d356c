# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Verify that a host is as its layout says
version_added: "0.1.0"
author:
  - Carveout developers (@carveout)
description:
  - Runs Carveout's testinfra suite for the host. One command on the host takes a snapshot, which is held to the
    expectations of the layout; another one takes raw texts of C(/proc/cmdline), C(/proc/iomem), C(/proc/meminfo) and
    the device files, which are checked once more by other means.
  - Fails where any expectation is not met, with a message for each that names the place in the plan and what was
    measured; and where nothing could be verified.
  - The suite runs on the controller, where pytest-testinfra has to be installed beside ansible-core. It reaches the
    host the way the task does. The host needs what M(carveout.memory.host_files) puts there.
options:
  layout:
    description:
      - The layout that M(carveout.memory.memory_plan) returned.
      - Without it the host is held to the layout that is committed on it, which shows whether it has drifted from that.
    type: dict
  committed:
    description:
      - Expect the layout to be the committed one, too.
    type: bool
    default: false
  committing:
    description:
      - Whether O(layout) will be the committed one if the verification passes, for RV(metrics).
    type: bool
    default: false
  junit:
    description:
      - Where to write the outcome as JUnit XML on the controller, relative to the current directory.
      - A path that ends in C(.xml) is the file; any other is a directory that gets one file for each host.
    type: path
    default: ""
  record:
    description:
      - Directory on the controller for what was found, of which M(carveout.memory.fleet_report) makes its report. It
        has to exist. Empty for none.
    type: path
    default: ""
extends_documentation_fragment:
  - carveout.memory.attributes.reads
  - carveout.memory.attributes.controller
seealso:
  - module: carveout.memory.memory_plan
  - module: carveout.memory.host_info
  - module: carveout.memory.fleet_report
  - module: carveout.memory.node_metrics
"""

EXAMPLES = r"""
- name: Hold the host to the layout that was planned for it
  carveout.memory.verify:
    layout: "{{ planned.layout }}"

- name: See whether hosts are still as they were committed
  carveout.memory.verify:
    committed: true
    junit: reports
"""

RETURN = r"""
id:
  description: ID of the layout that the host was held to.
  returned: always
  type: str
  sample: 843fc6bee2c8f6d1
host:
  description: The snapshot of the host that was judged, as M(carveout.memory.host_info) gives it.
  returned: always
  type: dict
expectations:
  description: Each expectation, met or not.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What is expected to be so.
      type: str
      sample: device vm-a align
    path:
      description: The place in the plan that wants it.
      type: str
      sample: pools.guests.devices[0]
    expected:
      description: What the plan says.
      type: str
      sample: 1GiB
    measured:
      description: What the host shows.
      type: str
      sample: 4KiB
    met:
      description: Whether they agree.
      type: bool
    message:
      description: All of it in one sentence.
      type: str
      sample: "pools.guests.devices[0]: the device vm-a has align 4KiB, the plan says 1GiB"
tests:
  description: Number of tests that ran.
  returned: when the suite ran
  type: int
  sample: 10
failures:
  description: Messages of all that is not as it should be, of raw reads too.
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description:
    - What has to be told of a host all the same. That its firmware's map moved a little, within what is tolerated; that
      the committed layout was verified with another kernel than the one that runs.
  returned: always
  type: list
  elements: str
  sample: []
metrics:
  description: What Prometheus may know of the host, in its text format.
  returned: always
  type: str
  sample: "carveout_drift 0"
"""
