# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of Carveout that stand on a host, the boot loader's aside: names, content, checksums.

One description serves the module that writes them, the action plugin that tells without asking the
host whether anything is to do, and the reader of host snapshots.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from ._kdump import block_of, with_block
from ._layout import LAYOUT_ID, Layout
from ._mounts import MODULE_SERVICE, OWNER_SERVICE, service_texts, unit_text
from ._sandbox import SANDBOX
from ._system import System
from ._tenant_units import UNIT_DIRECTORY, drop_in_path, drop_ins
from ._version import VERSION

PROGRAM_DIRECTORY = "/usr/lib/carveout"
CONFIG_DIRECTORY = "/etc/carveout"
LAYOUT_DIRECTORY = CONFIG_DIRECTORY + "/layouts"
COMMITTED = CONFIG_DIRECTORY + "/committed"
#: ID of the layout that was committed before the committed one, to go back to.
PREVIOUS = CONFIG_DIRECTORY + "/previous"
#: The committed layout's ID and the release of the kernel that it was verified with.
VERIFIED = CONFIG_DIRECTORY + "/verified"
#: What an operator calls on the host's own console.
COMMAND = "/usr/sbin/carveout"
SERVICE = "carveout-dax.service"
TARGET = "carveout.target"
#: What `systemctl enable carveout.target` makes; the target requires the service.
ENABLED = f"{UNIT_DIRECTORY}/multi-user.target.wants/{TARGET}"

#: The first line of every unit of ours, by which a mount unit is known.
HEADER = "# Written by Carveout (carveout.memory.host_files); changes are overwritten."
_COMMAND_HEADER = f"#!/bin/sh\n{HEADER}\n"
#: What stands around a mount of dmemfs.
MOUNT_SERVICES = (f"{UNIT_DIRECTORY}/{MODULE_SERVICE}", f"{UNIT_DIRECTORY}/{OWNER_SERVICE}")
#: Has the target want the mounts of the layout.
TARGET_MOUNTS = f"{UNIT_DIRECTORY}/{TARGET}.d/mounts.conf"

_PROGRAM = re.compile(r"carveout-[0-9A-Za-z.+_-]+\.pyz")
_LAYOUT_FILE = re.compile(LAYOUT_ID.pattern + r"\.json")


def program_path(version: str = VERSION) -> str:
    """Where the zipapp of a version stands."""
    return f"{PROGRAM_DIRECTORY}/carveout-{version}.pyz"


def layout_path(layout_id: str) -> str:
    return f"{LAYOUT_DIRECTORY}/{layout_id}.json"


def layout_text(layout: Layout) -> str:
    return json.dumps(layout.to_json(), indent=1, sort_keys=True) + "\n"


def committed_text(layout_id: str) -> str:
    return layout_id + "\n"


def verified_text(layout_id: str, release: str) -> str:
    return f"{layout_id} {release}\n"


def command_text(version: str = VERSION) -> str:
    """The command of the console: the program by its short name. No bytecode is left anywhere."""
    return f'{_COMMAND_HEADER}exec /usr/bin/python3 -B {program_path(version)} "$@"\n'


def checksum(text: str) -> str:
    """SHA-256 of a file's bytes, as :meth:`System.read` gives them."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def link_checksum(target: str) -> str:
    """A symbolic link's: of its target."""
    return checksum("-> " + target)


def unit_texts(version: str = VERSION) -> dict[str, str]:
    """Text of the systemd units by path.

    The target is what tenants order themselves after; being wanted by ``multi-user.target`` it is
    part of every boot, so that ``After=carveout.target`` alone is enough for them.
    """
    service = f"""\
{HEADER}
[Unit]
Description=Recreate the DAX devices of the booted Carveout layout
After=systemd-udevd.service systemd-modules-load.service local-fs.target
Before={TARGET}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 -B {program_path(version)} restore
TimeoutStartSec=300
# why no device is made also has to be seen where nobody can log in
StandardError=journal+console
# It writes to sysfs, loads modules, writes a udev rule and has ndctl make namespaces; it needs nothing else.
# SYS_ADMIN: addresses in /proc/iomem and sysfs, ndctl. SYS_PTRACE, DAC_READ_SEARCH: who has a device open.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_MODULE CAP_SYS_PTRACE CAP_DAC_READ_SEARCH
SystemCallFilter=@system-service @module
RestrictAddressFamilies=AF_UNIX AF_NETLINK
UMask=0022
ProtectSystem=strict
ReadWritePaths=/run /sys
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
PrivateNetwork=yes
ProtectHostname=yes
ProtectControlGroups=yes
{SANDBOX}"""
    target = f"""\
{HEADER}
[Unit]
Description=DAX devices of the booted Carveout layout stand at /dev/carveout
Requires={SERVICE}
After={SERVICE}

[Install]
WantedBy=multi-user.target
"""
    return {f"{UNIT_DIRECTORY}/{SERVICE}": service, f"{UNIT_DIRECTORY}/{TARGET}": target}


def mount_texts(layout: Layout) -> dict[str, str]:
    """Text by path of the units for the layout's mounts; none where it has no mounts."""
    if not layout.mounts:
        return {}
    units = sorted(mount.unit for mount in layout.mounts)
    texts = {f"{UNIT_DIRECTORY}/{m.unit}": unit_text(m, HEADER, TARGET) for m in layout.mounts}
    services = service_texts(layout.mounts, HEADER, TARGET)
    texts.update({f"{UNIT_DIRECTORY}/{name}": text for name, text in services.items()})
    units += [name for name in services if name == OWNER_SERVICE]
    texts[TARGET_MOUNTS] = f"{HEADER}\n[Unit]\n" + "".join(f"Wants={unit}\n" for unit in units)
    return texts


def expected_files(
    program_sha256: str,
    layout: Layout | None,
    committed: str | None,
    version: str = VERSION,
    verified: str | None = None,
) -> dict[str, str]:
    """Checksums by path of what has to stand on a host (older layouts may stand beside it).

    ``verified`` is the release that the committed layout was verified with, None where that is not the question.
    """
    files = {program_path(version): program_sha256, COMMAND: checksum(command_text(version))}
    files.update({path: checksum(text) for path, text in unit_texts(version).items()})
    files[ENABLED] = link_checksum(f"{UNIT_DIRECTORY}/{TARGET}")
    if layout is not None:
        files[layout_path(layout.id)] = checksum(layout_text(layout))
        files.update({path: checksum(text) for path, text in mount_texts(layout).items()})
        files.update({path: checksum(text) for path, text in drop_ins(layout).items()})
    if committed is not None:
        files[COMMITTED] = checksum(committed_text(committed))
        if verified is not None:
            files[VERIFIED] = checksum(verified_text(committed, verified))
    return files


def known_paths(system: System) -> list[str]:
    """Every path that can be ours and exists on the host, whatever version wrote it."""
    candidates = [
        *(f"{PROGRAM_DIRECTORY}/{n}" for n in system.listdir(PROGRAM_DIRECTORY) if _PROGRAM.fullmatch(n)),
        *(f"{LAYOUT_DIRECTORY}/{n}" for n in system.listdir(LAYOUT_DIRECTORY) if _LAYOUT_FILE.fullmatch(n)),
        COMMITTED,
        PREVIOUS,
        VERIFIED,
        *unit_texts(),
        *mount_units(system),
        TARGET_MOUNTS,
        *MOUNT_SERVICES,
        *(
            drop_in_path(name[: -len(".d")])
            for name in system.listdir(UNIT_DIRECTORY)
            if name.endswith(".service.d")
        ),
    ]
    found = [path for path in candidates if system.stat(path) is not None]
    if is_our_command(system):
        found.append(COMMAND)
    if system.readlink(ENABLED) is not None:
        found.append(ENABLED)
    return found


def mount_units(system: System) -> list[str]:
    """Paths of the mount units that we wrote, whatever layout they are of."""
    paths = [f"{UNIT_DIRECTORY}/{n}" for n in system.listdir(UNIT_DIRECTORY) if n.endswith(".mount")]
    return [path for path in paths if is_our_unit(system, path)]


def is_our_unit(system: System, path: str) -> bool:
    """Whether a unit's file is there and begins as ours do."""
    try:
        return (system.read(path) or "").startswith(HEADER)
    except OSError:
        return False


def is_our_command(system: System) -> bool:
    """Whether the console's command is there and begins as ours does, whatever version wrote it."""
    try:
        return (system.read(COMMAND) or "").startswith(_COMMAND_HEADER)
    except OSError:
        return False


def known_files(system: System) -> dict[str, str]:
    """Checksums by path of the files of ours that the host has (``files`` of a host snapshot).

    What cannot be read (a pipe, a folder) is left out. Of kdump's configuration only our block counts.
    """
    files = {}
    for path in known_paths(system):
        target = system.readlink(path)
        try:
            text = None if target is not None else system.read(path)
        except OSError:
            text = None
        if target is not None:
            files[path] = link_checksum(target)
        elif text is not None:
            files[path] = checksum(text)
    files.update({path: checksum(block_of(text)) for path, text in with_block(system)})
    return files


def stored_layout_ids(files: Mapping[str, str]) -> list[str]:
    """IDs of the layouts among the paths of ``files``."""
    prefix = LAYOUT_DIRECTORY + "/"
    return sorted(path[len(prefix) : -len(".json")] for path in files if path.startswith(prefix))
