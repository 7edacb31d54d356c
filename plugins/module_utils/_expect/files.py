# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to stand on the host for the devices to come back with the next boot, and the commit.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._host.model import Host
from .._host_files import ENABLED, PROGRAM_DIRECTORY, SERVICE, TARGET, UNIT_DIRECTORY, mount_texts
from .._layout import Layout
from .model import Expectation, compare, section

SUBJECT = "files"
_PATH = "pools"


def stored(layout: Layout, host: Host) -> list[Expectation]:
    """The layout and the boot service; nothing where the layout asks for no arguments."""
    if not layout.arguments:
        return []
    there = layout.id in host.layouts
    measured = "stored" if there else "not stored"
    fact = f"the layout {layout.id} is {measured} in /etc/carveout/layouts"
    result = [compare(SUBJECT, "stored layout", _PATH, fact, "stored", measured, "")]
    if not layout.devices and not layout.mounts:
        return result
    files = section(host, "files")
    wanted = (f"{UNIT_DIRECTORY}/{SERVICE}", f"{UNIT_DIRECTORY}/{TARGET}", ENABLED, *mount_texts(layout))
    missing = [path for path in wanted if path not in files]
    if not any(path.startswith(PROGRAM_DIRECTORY + "/") for path in files):
        missing.append(PROGRAM_DIRECTORY)
    measured = f"missing: {', '.join(missing)}" if missing else "complete"
    fact = f"the boot service that makes the devices is {measured}"
    result.append(compare(SUBJECT, "boot service", _PATH, fact, "complete", measured, ""))
    return result


def committed(layout: Layout, host: Host) -> Expectation:
    """That /etc/carveout/committed names the layout: true from the end of a deployment on."""
    measured = host.committed or "none"
    fact = f"the layout {measured} is committed" if host.committed else "no layout is committed"
    ending = f", the plan's is {layout.id}"
    return compare(SUBJECT, "committed layout", _PATH, fact, layout.id, measured, ending)
