# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to stand on the host for the devices to come back with the next boot, and the commit.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._host.model import Host
from .._host_files import ENABLED, PROGRAM_DIRECTORY, SERVICE, TARGET, checksum, mount_texts
from .._layout import Layout
from .._tenant_units import UNIT_DIRECTORY, drop_in_path, drop_ins, is_drop_in, unit_devices
from .model import Expectation, compare, section

SUBJECT = "files"
_PATH = "pools"


def stored(layout: Layout, host: Host) -> list[Expectation]:
    """The layout and the boot service; nothing where the layout asks for no arguments and no devices."""
    if not layout.arguments and not layout.devices:
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


def unit_access(layout: Layout, host: Host) -> list[Expectation]:
    """One for every service that is given devices, and one where others have a drop-in of ours."""
    given, files = drop_ins(layout), section(host, "files")
    result = []
    for unit, names in unit_devices(layout).items():
        path = drop_in_path(unit)
        right = files.get(path) == checksum(given[path])
        measured = "right" if right else "other than it should be" if path in files else "missing"
        place = next(device.path for device in layout.devices if device.name == names[0])
        fact = f"the drop-in {path}, which lets {unit} at {', '.join(names)}, is {measured}"
        result.append(compare(SUBJECT, f"access of {unit}", f"{place}.unit", fact, "right", measured, ""))
    others = [path for path in sorted(files) if is_drop_in(path) and path not in given]
    if others:
        fact = f"{', '.join(others)} lets a service at devices, which no plan asked for"
        result.append(compare(SUBJECT, "access of others", _PATH, fact, "none", ", ".join(others), ""))
    return result


def committed(layout: Layout, host: Host) -> Expectation:
    """That /etc/carveout/committed names the layout: true from the end of a deployment on."""
    measured = host.committed or "none"
    fact = f"the layout {measured} is committed" if host.committed else "no layout is committed"
    ending = f", the plan's is {layout.id}"
    return compare(SUBJECT, "committed layout", _PATH, fact, layout.id, measured, ending)


def verified_kernel(layout: Layout, host: Host) -> list[Expectation]:
    """That the layout was verified with the kernel that runs; nothing where a snapshot of old says nothing of it."""
    release = host.state.get("verified")
    if release is None or host.committed != layout.id:
        return []
    running = host.kernel_running
    fact = f"the layout was verified with {f'the kernel {release}' if release else 'no known kernel'}"
    ending = f", {running} runs; the main job verifies it anew and records that"
    return [compare(SUBJECT, "verified kernel", _PATH, fact, running, release or "none", ending)]
