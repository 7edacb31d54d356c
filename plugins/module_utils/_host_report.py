# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is done to the files of Carveout on a host, as text for people. Pure.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import json

from ._host_changes import Change, Plan
from ._host_files import LAYOUT_DIRECTORY, checksum


def actions_of(plan: Plan, *, present: bool) -> list[str]:
    """The steps in order; ``present``: files are installed, not all of them removed."""
    actions = [f"unmount {unit}" for unit in plan.unmount]
    actions += [f"{'remove' if c.after is None else 'write'} {c.path}" for c in plan.changes]
    if plan.enable and present:
        actions.append("enable carveout.target")
    elif plan.enable:
        actions.insert(0, "disable carveout.target")
    return actions


def diff_of(plan: Plan) -> list[dict[str, str]]:
    """Each file before and after, as Ansible shows differences."""
    return [
        {
            "before_header": change.path,
            "before": shown_text(change, change.before),
            "after_header": change.path,
            "after": shown_text(change, change.after),
        }
        for change in plan.changes
    ]


def shown_text(change: Change, text: str | None) -> str:
    """A file's text for a difference: a checksum for the program, short JSON for a layout."""
    if text is None:
        return ""
    if not change.shown:
        return f"sha256 {checksum(text)}\n"
    if change.path.startswith(LAYOUT_DIRECTORY):
        try:
            data = json.loads(text)
            keep = {
                key: data[key]
                for key in ("id", "kernel_arguments", "reservations", "devices", "hugepages", "mounts")
            }
        except (ValueError, KeyError, TypeError):
            return text
        return json.dumps(keep, indent=1, sort_keys=True) + "\n"
    return text
