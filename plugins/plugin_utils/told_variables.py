# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that a host tried to choose.

Whatever module runs on a host, the host can answer with ``ansible_facts`` of any name. Ansible makes variables of them
that come before those of the inventory (unless ``inject_facts_as_vars`` is off), so a host could name the plan, a
directory of the controller, or the command that cuts its power, which runs on the controller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable

#: Names that are the operator's to give; ``roles/boot/tasks/own_variables.yml`` has them too.
OWN = re.compile(r"(carveout|boot|dax|dmemfs|hugetlb|plan|rollback|verify)_|inventory_hostname")


def refuse_told(task_vars: Mapping[str, Any] | None) -> None:
    """Raise :class:`InvalidInput` where a fact of the task's host has the name of a variable of ours."""
    told = sorted(str(name) for name in (task_vars or {}).get("ansible_facts", {}) if OWN.match(str(name)))
    if told:
        raise InvalidInput.of(
            "",
            "variables-told",
            f"the host returned {printable(', '.join(told))[:200]} as facts, which only the operator may set: no "
            "module does that, so look at the host (and take the facts out of the cache, where one is kept)",
        )
