# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install and remove the files of Carveout on a host. What they are says :mod:`._host_files`.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._errors import NotPossible
from ._host_files import (
    COMMAND,
    COMMITTED,
    CONFIG_DIRECTORY,
    ENABLED,
    LAYOUT_DIRECTORY,
    MOUNT_SERVICES,
    PREVIOUS,
    PROGRAM_DIRECTORY,
    SERVICE,
    TARGET,
    TARGET_MOUNTS,
    VERIFIED,
    checksum,
    command_text,
    committed_text,
    expected_files,
    is_our_command,
    is_our_unit,
    known_files,
    layout_path,
    layout_text,
    link_checksum,
    mount_texts,
    program_path,
    stored_layout_ids,
    unit_texts,
    verified_text,
)
from ._kdump import KDUMPS, configured, with_block, without_block
from ._layout import Layout
from ._records import committed_layout_id, previous_layout_id
from ._system import System
from ._system_tools import permissions, systemctl
from ._tenant_units import UNIT_DIRECTORY, drop_ins, is_drop_in

#: Layouts kept beside the booted, the committed, the one before it and the new one: enough to go back to.
KEPT_LAYOUTS = 2
_CRASH_LOADED = "/sys/kernel/kexec_crash_loaded"


@dataclass(frozen=True)
class Change:
    """One file: its text before and after, None where it is not there.

    ``shown`` is False for content that is no text for people.
    """

    path: str
    before: str | None
    after: str | None
    mode: int = 0o644
    shown: bool = True


@dataclass
class Plan:
    """What has to change; ``enable``: whether the target is not part of the boot as it should be.

    ``unmount`` are mount units that have to let go of their place before anything is changed.
    """

    changes: list[Change] = field(default_factory=list)
    enable: bool = False
    unmount: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.changes) or self.enable


def plan_present(
    system: System,
    program_sha256: str,
    program: Callable[[], str],
    layout: Layout | None,
    committed: str | None,
    booted: str | None,
    *,
    verified: str | None = None,
    going_back: bool = False,
) -> Plan:
    """What makes the host's files those of this version, with this layout and committed ID.

    ``program`` gives the zipapp's content and is called only where the host has another. None for
    ``layout`` or ``committed`` leaves what is there. ``verified`` is the release that the committed layout was
    verified with; None where nobody did so just now. What was committed before a new ``committed`` is remembered as
    the one to go back to, unless that is what happens now (``going_back``). Raises :class:`NotPossible` where
    ``committed`` is new and names a layout that the host would not have, and where somebody else has a file in one of
    our places.
    """
    present = known_files(system)
    plan = Plan()
    wanted: list[tuple[str, str, str]] = [(p, checksum(t), t) for p, t in unit_texts().items()]
    _check_command(system)
    if present.get(COMMAND) != checksum(command_text()):
        plan.changes.append(_change(system, COMMAND, command_text(), 0o755))
    if layout is not None:
        text = layout_text(layout)
        wanted.append((layout_path(layout.id), checksum(text), text))
        mounts = mount_texts(layout)
        _check_places(system, mounts)
        wanted += [(path, checksum(unit), unit) for path, unit in mounts.items()]
        wanted += [(path, checksum(text), text) for path, text in drop_ins(layout).items()]
    if committed is not None:
        stored = {*stored_layout_ids(present), layout.id if layout else ""}
        if committed not in stored and committed != committed_layout_id(system):
            raise NotPossible.of(
                "",
                "layout-unknown",
                f"the layout {committed} cannot be committed: it is not stored on the host",
            )
        text = committed_text(committed)
        wanted.append((COMMITTED, checksum(text), text))
    previous = _previous(system, committed, stored_layout_ids(present), going_back)
    records: dict[str, str | None] = {}
    if committed is not None:
        if verified is not None:
            records[VERIFIED] = verified_text(committed, verified)
        elif committed != committed_layout_id(system):
            records[VERIFIED] = None
        # before the new ID is written: whatever a run that is stopped between leaves, the next one completes
        if previous is not None:
            records[PREVIOUS] = committed_text(previous)
        plan.changes += _record_changes(system, present, records)
    if present.get(program_path()) != program_sha256:
        # the program before what starts it
        plan.changes.insert(0, _change(system, program_path(), program(), 0o755))
    for path, digest, text in wanted:
        if present.get(path) != digest:
            plan.changes.append(_change(system, path, text))
    if committed is not None and previous is None:
        # what is gone back to can be named as long as it is not the committed one
        plan.changes += _record_changes(system, present, {PREVIOUS: None})
    for path in _outdated(system, list(present), layout, committed, booted, previous):
        plan.changes.append(_change(system, path, None))
    if layout is not None:
        plan.changes += _kdump_corrected(system) if layout.arguments else _kdump_as_found(system)
    plan.unmount = _changed_mounts(plan.changes)
    plan.enable = present.get(ENABLED) != link_checksum(f"{UNIT_DIRECTORY}/{TARGET}")
    return plan


def up_to_date(
    installed: Mapping[str, Any],
    program_sha256: str,
    layout: Layout | None,
    committed: str | None,
    inherited: Mapping[str, Any] | None = None,
    verified: str | None = None,
) -> bool:
    """True where ``installed``, checksums by path, shows that :func:`plan_present` would find nothing.

    ``verified`` is the release that the record has to name. ``inherited`` is what crash kernels inherit, by the
    configuration of kdump (``kdump`` of a snapshot).

    Which layouts are too many depends on what is booted and on their ages, which only the host
    knows; it is asked as soon as some might be.
    """
    expected = expected_files(program_sha256, layout, committed, verified=verified)
    if any(installed.get(path) != digest for path, digest in expected.items()):
        return False
    if any(path.startswith(PROGRAM_DIRECTORY + "/") and path not in expected for path in installed):
        return False
    if layout is not None and layout.arguments and any((inherited or {}).values()):
        return False
    if layout is not None and not layout.arguments and any(kdump.config in installed for kdump in KDUMPS):
        return False
    removable = [path for path in installed if _is_of_mounts(path) or is_drop_in(path)]
    if layout is not None and any(path not in expected for path in removable):
        return False
    others = [
        name
        for name in stored_layout_ids(installed)
        if layout_path(name) not in expected and installed.get(PREVIOUS) != checksum(committed_text(name))
    ]
    return (layout is None and committed is None) or len(others) <= KEPT_LAYOUTS


def plan_absent(system: System) -> Plan:
    """What takes every file of ours from the host."""
    present = known_files(system)
    blocks = {kdump.config for kdump in KDUMPS}
    changes = [_change(system, path, None) for path in present if path != ENABLED and path not in blocks]
    changes += _kdump_as_found(system)
    return Plan(changes, ENABLED in present, _changed_mounts(changes))


def _kdump_corrected(system: System) -> list[Change]:
    """Our block in kdump's configuration, so that a crash kernel does not inherit what carves memory out."""
    pairs = [(kdump.config, text, kdump.corrected(text)) for kdump, text in configured(system)]
    return [_kept_mode(system, path, text, after) for path, text, after in pairs if text != after]


def _kdump_as_found(system: System) -> list[Change]:
    """Our block taken out again."""
    return [_kept_mode(system, path, text, without_block(text)) for path, text in with_block(system)]


def _kept_mode(system: System, path: str, before: str, after: str) -> Change:
    """A change of somebody else's file: its permissions stay."""
    return Change(path, before, after, permissions(system, path, 0o644))


def _reload_crash_kernel(system: System, changes: Sequence[Change]) -> None:
    """Load the crash kernel anew where one is loaded with a line that it should not have.

    What comes of it is seen by whoever looks after the crash kernel: the host's memory does not depend on it.
    """
    changed = {change.path for change in changes}
    for kdump, _text in configured(system):
        if kdump.config in changed and (system.read(_CRASH_LOADED) or "").strip() == "1":
            system.run(kdump.reload)


def _is_of_mounts(path: str) -> bool:
    return path in (TARGET_MOUNTS, *MOUNT_SERVICES) or (
        path.startswith(UNIT_DIRECTORY) and path.endswith(".mount")
    )


def _changed_mounts(changes: Sequence[Change]) -> tuple[str, ...]:
    """Units of mounts that are there and become others, or go, and what stands around them."""
    paths = [change.path for change in changes if change.before is not None]
    return tuple(
        posixpath.basename(path) for path in paths if path.endswith(".mount") or path in MOUNT_SERVICES
    )


def _previous(system: System, committed: str | None, stored: Sequence[str], going_back: bool) -> str | None:
    """The layout to go back to once ``committed`` is the committed one; None for ``committed`` changes nothing."""
    before, known = committed_layout_id(system), previous_layout_id(system)
    if committed is None:
        return known
    if going_back:
        return None
    if before is None or committed == before:
        return None if known == committed else known
    return before if before in stored else None


def _record_changes(
    system: System, present: Mapping[str, str], records: Mapping[str, str | None]
) -> list[Change]:
    """Those of the records that are not as they have to be."""
    return [
        _change(system, path, text)
        for path, text in records.items()
        if present.get(path) != (None if text is None else checksum(text))
    ]


def _check_command(system: System) -> None:
    """Raise :class:`NotPossible` where the console's command is somebody else's."""
    if not is_our_command(system) and (
        system.stat(COMMAND) is not None or system.readlink(COMMAND) is not None
    ):
        message = f"{COMMAND} is there already and not Carveout's; it is what the console's command is called"
        raise NotPossible.of("", "command-of-others", f"{message}. Move it away")


def _check_places(system: System, mounts: Mapping[str, str]) -> None:
    """Raise :class:`NotPossible` where somebody else has a mount unit for one of our places."""
    for path in mounts:
        if system.stat(path) is not None and path != TARGET_MOUNTS and not is_our_unit(system, path):
            message = (
                f"{path} is there already and not Carveout's; mount the pool elsewhere, or remove that unit"
            )
            raise NotPossible.of("", "mount-unit-of-others", message)


def _remove_places(system: System, changes: Sequence[Change]) -> None:
    """Remove the empty directories in which the mounts that go were mounted: systemd makes them."""
    for change in changes:
        place = re.search(r"^Where=(/.+)$", change.before or "", re.MULTILINE)
        if change.path.endswith(".mount") and change.after is None and place and system.stat(place[1]):
            system.run(["rmdir", "--ignore-fail-on-non-empty", place[1]])


def _unmount(system: System, units: Sequence[str]) -> None:
    """Stop the units; systemd leaves a file system mounted whose files are in use."""
    for unit in units:
        done = system.run(["systemctl", "stop", unit])
        if done.status != 0 or system.run(["systemctl", "is-active", "--quiet", unit]).status == 0:
            message = f"{unit} cannot be unmounted, its files are in use; stop who uses them"
            raise NotPossible.of("", "mount-in-use", message)


def apply_present(system: System, plan: Plan) -> None:
    """Write and remove, the program before the unit that starts it.

    Raises :class:`NotPossible` before the first change where a mount that changes is in use.
    """
    _unmount(system, plan.unmount)
    for change in plan.changes:
        _apply(system, change)
    _remove_places(system, plan.changes)
    _reload_crash_kernel(system, plan.changes)
    if any(change.path.startswith(UNIT_DIRECTORY) for change in plan.changes):
        systemctl(system, "daemon-reload")
    if plan.enable:
        systemctl(system, "enable", TARGET)


def apply_absent(system: System, plan: Plan) -> None:
    """Unmount, disable and stop, then remove all files and the directories that were ours alone."""
    _unmount(system, plan.unmount)
    units = [change.path for change in plan.changes if change.path.startswith(UNIT_DIRECTORY)]
    if plan.enable:
        systemctl(system, "disable", TARGET)
    if any(path in unit_texts() for path in units):
        systemctl(system, "stop", TARGET, SERVICE)
    for change in plan.changes:
        _apply(system, change)
    _remove_places(system, plan.changes)
    for directory in (
        LAYOUT_DIRECTORY,
        CONFIG_DIRECTORY,
        PROGRAM_DIRECTORY,
        posixpath.dirname(TARGET_MOUNTS),
    ):
        if system.stat(directory) is not None:
            system.run(["rmdir", "--ignore-fail-on-non-empty", directory])
    if units:
        systemctl(system, "daemon-reload")


def _outdated(
    system: System,
    paths: Sequence[str],
    layout: Layout | None,
    committed: str | None,
    booted: str | None,
    previous: str | None,
) -> list[str]:
    """Programs of other versions, drop-ins of services no longer named, the oldest layouts over what is kept."""
    outdated = [p for p in paths if p.startswith(PROGRAM_DIRECTORY + "/") and p != program_path()]
    if layout is not None:
        outdated += [path for path in paths if is_drop_in(path) and path not in drop_ins(layout)]
    if layout is None and committed is None:
        return outdated
    if layout is not None:
        outdated += [path for path in paths if _is_of_mounts(path) and path not in mount_texts(layout)]
    wanted = {booted, committed or committed_layout_id(system), layout.id if layout else None, previous}
    others = [layout_path(name) for name in stored_layout_ids(dict.fromkeys(paths, "")) if name not in wanted]
    by_age = sorted(others, key=lambda path: _modified(system, path), reverse=True)
    return outdated + by_age[KEPT_LAYOUTS:]


def _modified(system: System, path: str) -> int:
    found = system.stat(path)
    return found.modified if found is not None else 0


def _change(system: System, path: str, after: str | None, mode: int = 0o644) -> Change:
    return Change(path, system.read(path), after, mode, shown=not path.endswith(".pyz"))


def _apply(system: System, change: Change) -> None:
    if change.after is None:
        system.remove(change.path)
        if is_drop_in(change.path):
            # the directory may hold drop-ins of others
            directory = posixpath.dirname(change.path)
            system.run(["rmdir", "--ignore-fail-on-non-empty", directory])
    else:
        system.write(change.path, change.after, change.mode)
