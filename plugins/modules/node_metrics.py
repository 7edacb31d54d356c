#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_metrics
short_description: Leave metrics of a host for Prometheus
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - Writes C(carveout.prom) into the directory of node_exporter's textfile collector. Whoever reads the file meanwhile
    has all of the old one or all of the new.
  - It is written anew at every run, also where nothing changed, so that node_exporter's
    C(node_textfile_mtime_seconds) tells when the host was last looked at.
options:
  directory:
    description: The collector's directory on the host, as C(--collector.textfile.directory) names it. It has to exist.
    type: path
    required: true
  text:
    description: The metrics, as M(carveout.memory.verify) returns them. Needed where O(state=present).
    type: str
  state:
    description: Whether the file is there.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - carveout.memory.attributes
seealso:
  - module: carveout.memory.verify
"""

EXAMPLES = r"""
- name: Leave the metrics
  carveout.memory.node_metrics:
    directory: /var/lib/prometheus/node-exporter
    text: "{{ verify_result.metrics }}"
  become: true
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter/carveout.prom
"""

import os
import stat

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem

#: node_exporter reads what ends in .prom; what a file is called while it is written does not.
NAME = "carveout.prom"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "text": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("text",))],
        supports_check_mode=True,
    )
    directory, present = module.params["directory"], module.params["state"] == "present"
    path = os.path.join(os.path.abspath(directory), NAME)
    text = module.params["text"] if present else None
    system = RealSystem()
    try:
        found = system.stat(directory)
        if present and (found is None or not stat.S_ISDIR(found.mode)):
            module.fail_json(
                msg=f"{directory} is no directory; is it node_exporter's --collector.textfile.directory?"
            )
        # others may write there: a link of theirs is neither read nor written through
        is_link = system.readlink(path) is not None
        before = None if is_link else system.read(path)
        if not module.check_mode:
            if text is not None:
                system.write(path, text, 0o644)
            else:
                system.remove(path)
    except OSError as error:
        module.fail_json(msg=f"{path}: {error.strerror or error}")
    module.exit_json(
        changed=is_link or before != text,
        path=path,
        diff={"before_header": path, "after_header": path, "before": before or "", "after": text or ""},
    )


if __name__ == "__main__":
    main()
