# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a host's DAX devices those of the booted layout: what the boot service and the module share.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._errors import NotPossible, Problem
from .._layout import SYSTEM_RAM, Layout
from .._pmem.actions import MODULES as PMEM_MODULES
from .._pmem.actions import Make, carry_out_namespaces, plan_namespaces, pmem_reservations, wanted_namespaces
from .._pmem.actions import missing as missing_namespaces
from .._pmem.actions import plan_removal as namespace_removal
from .._ranges import whole_blocks
from .._system import System
from .._units import format_size
from .actions import (
    Action,
    built,
    check_devices,
    dax_reservations,
    idle_state,
    missing_reservations,
    plan_actions,
    plan_removal,
    taken,
)
from .blocks import block_size
from .current import CURRENT, current_layout_id, forget_current, note_current
from .nodes import (
    NodeFault,
    as_device,
    check_accounts,
    found_devices,
    node_faults,
    renamed_devices,
    stale_links,
)
from .state import LINKS, DaxDevice, DaxState, read_state
from .steps import carry_out
from .udev import RULES, render_rules
from .users import refuse_in_use

#: Waits for so many seconds.
Pause = Callable[[float], None]

_TICK = 0.2
#: The modules make the regions while modprobe runs, but a driver's probe may be deferred.
_REGION_SECONDS = 30
#: udev works through its queue: during the boot of a slow machine that is a long one.
_UDEV_SECONDS = 90


@dataclass(frozen=True)
class Outcome:
    """``actions``: what was (or, as a preview, would be) done, as text; ``state``: what is there now."""

    actions: tuple[str, ...]
    state: DaxState


def preview(system: System, layout: Layout) -> Outcome:
    """What :func:`converge` would do now; raises what it would raise before any change."""
    check_accounts(system, layout)
    state = read_state(system)
    steps, texts = _decide(system, layout, state)
    return Outcome((*texts, *_mended(node_faults(layout, state), steps), *_note_text(system, layout)), state)


class _Steps(NamedTuple):
    actions: list[Action]
    namespaces: list[Make]


def _decide(system: System, layout: Layout, state: DaxState) -> tuple[_Steps, list[str]]:
    """The steps, and what will be done as text.

    Raises :class:`NotPossible` where a process uses a device that goes, or gets another name: whoever opens it by
    that name later would share its memory.
    """
    _check_blocks(system, layout)
    steps = _Steps(plan_actions(layout, state), plan_namespaces(layout, state.namespaces))
    lost = [as_device(step.found) for step in steps.namespaces]
    refuse_in_use(system, [*taken(steps.actions), *lost, *renamed_devices(layout, state)])
    texts = [step.text for step in (*steps.actions, *steps.namespaces)]
    return steps, texts + _rules_text(system, layout)


def _mended(faults: Sequence[NodeFault], steps: _Steps) -> list[str]:
    """What is done to the nodes of devices that are there already."""
    made = built(steps.actions) | {step.device.name for step in steps.namespaces}
    return [fault.text for fault in faults if fault.device.name not in made]


def _check_blocks(system: System, layout: Layout) -> None:
    """Raise :class:`NotPossible` where an extent that the kernel is to have holds none of its memory blocks."""
    devices = [device for device in layout.devices if device.use == SYSTEM_RAM]
    size = block_size(system) if devices else 0
    problems = [
        Problem(
            device.path,
            "system-ram-blocks",
            f"{extent} of {device.name} holds no whole memory block of this host ({format_size(size)}), and the "
            "kernel takes memory back in whole blocks only",
        )
        for device in devices
        for extent in device.extents
        if not whole_blocks([extent], size)
    ]
    if problems:
        raise NotPossible(problems)


def preview_reboot(system: System, layout: Layout) -> Outcome:
    """What :func:`converge` would do after a reboot with the layout's arguments.

    Raises :class:`NotPossible` where that reboot would be in vain (an owner does not exist), or would take a device
    of the layout before it from who uses it.
    """
    check_accounts(system, layout)
    refuse_in_use(system, _linked(read_state(system)))
    texts = [action.text for action in plan_actions(layout, idle_state(layout))]
    texts += [f"make the namespace {device.name} of {whole}" for device, whole in wanted_namespaces(layout)]
    return Outcome(tuple(f"after the reboot: {text}" for text in texts), DaxState((), {}))


def _linked(state: DaxState) -> list[DaxDevice]:
    """The devices that are ours by their links, whatever layouts are known."""
    linked = set(state.links.values())
    devices = [device for region in state.regions for device in region.devices]
    devices += [as_device(found) for found in state.namespaces if found.mode != "devdax"]
    return [device for device in devices if device.node_path in linked]


def converge(system: System, layout: Layout, pause: Pause) -> Outcome:
    """Load the drivers, wait for the regions, make the devices, give them links, owners and modes.

    Raises :class:`NotPossible` or :class:`InvalidInput`; before the first change wherever that can
    be known.
    """
    check_devices(layout)
    check_accounts(system, layout)
    _load_drivers(system, layout)
    state = _wait_for_regions(system, layout, pause)
    steps, texts = _decide(system, layout, state)
    stale = stale_links(layout, state)
    # the rule first: it then holds for the event of binding, and no one sees a half-made device
    _write_rules(system, render_rules(layout))
    carry_out(system, steps.actions)
    carry_out_namespaces(system, steps.namespaces)
    state, faults = _wait_for_nodes(system, layout, stale, pause)
    noted = _note_text(system, layout)
    if noted:
        note_current(system, layout)
    return Outcome((*texts, *_mended(faults, steps), *noted), state)


def remove(system: System, layouts: Sequence[Layout], dry_run: bool) -> Outcome:
    """Take every device of these layouts away, and the rule.

    Also a device that only its link still shows to be ours (the file of its layout is gone) must not be in use.
    """
    state = read_state(system)
    actions = plan_removal(layouts, state)
    namespaces = namespace_removal(layouts, state.namespaces)
    lost = [as_device(step.found) for step in namespaces]
    refuse_in_use(system, [*taken(actions), *lost, *_linked(state)])
    texts = [step.text for step in (*actions, *namespaces)]
    if system.read(RULES) is not None:
        texts.append(f"remove {RULES}")
    if system.read(CURRENT) is not None:
        texts.append(f"remove {CURRENT}")
    if not dry_run:
        carry_out(system, actions)
        carry_out_namespaces(system, namespaces)
        _write_rules(system, "")
        forget_current(system)
        state = read_state(system)
    return Outcome(tuple(texts), state)


def _load_drivers(system: System, layout: Layout) -> None:
    modules = ["dax_hmem", "device_dax"] if dax_reservations(layout) else []
    if pmem_reservations(layout):
        modules += [module for module in PMEM_MODULES if module not in modules]
    if not modules:
        return
    if any(device.use == SYSTEM_RAM for device in layout.devices):
        modules.append("kmem")
    done = system.run(["modprobe", "-a", *modules])
    if done.status != 0:
        detail = done.stderr.strip().splitlines()
        names = f"{', '.join(modules[:-1])} and {modules[-1]}"
        message = f"cannot load the modules {names}: {detail[-1] if detail else done.status}"
        raise NotPossible.of("", "dax-modules", message)


def _wait_for_regions(system: System, layout: Layout, pause: Pause) -> DaxState:
    state = read_state(system)
    for _ in range(round(_REGION_SECONDS / _TICK)):
        if not missing_reservations(layout, state) and not missing_namespaces(layout, state.namespaces):
            break
        pause(_TICK)
        state = read_state(system)
    return state


def _rules_text(system: System, layout: Layout) -> list[str]:
    text = render_rules(layout)
    if (system.read(RULES) or "") == text:
        return []
    return [f"write {RULES}" if text else f"remove {RULES}"]


def _note_text(system: System, layout: Layout) -> list[str]:
    if not (layout.arguments or layout.devices) or current_layout_id(system) == layout.id:
        return []
    return [f"write {layout.id} to {CURRENT}"]


def _write_rules(system: System, text: str) -> None:
    if (system.read(RULES) or "") == text:
        return
    if text:
        system.write(RULES, text)
    else:
        system.remove(RULES)
    _udevadm(system, ["control", "--reload"])


def _wait_for_nodes(
    system: System, layout: Layout, stale: Sequence[str], pause: Pause
) -> tuple[DaxState, list[NodeFault]]:
    """Have udev look again at what is not as it should be, and wait until it is and the ``stale`` links are gone.

    Returns the state and what was mended. Waits for the condition itself, not for udev's queue to
    be empty: at boot others keep that filled.
    """
    state = read_state(system)
    mended = faults = node_faults(layout, state)
    left = [name for name in stale if name in state.links]
    if faults or left:
        found = found_devices(layout, state)
        wanted = {found[fault.device.name].name for fault in faults}
        wanted |= {posixpath.basename(state.links[name]) for name in left}
        paths = [
            f"{posixpath.dirname(region.path)}/{device.name}"
            for region in state.regions
            for device in region.devices
            if device.name in wanted
        ]
        paths += [
            n.device
            for n in state.namespaces
            if n.mode != "devdax" and posixpath.basename(n.device) in wanted
        ]
        _udevadm(system, ["trigger", "--action=change", *paths])
    for _ in range(round(_UDEV_SECONDS / _TICK)):
        if not faults and not left:
            break
        pause(_TICK)
        state = read_state(system)
        faults = node_faults(layout, state)
        left = [name for name in left if name in state.links]
    if left and not faults:
        names = ", ".join(f"{LINKS}/{name}" for name in left)
        raise NotPossible.of(
            "", "dax-udev", f"udev did not remove {names} within {_UDEV_SECONDS} s; who made it?"
        )
    if faults:
        hint = "'udevadm test' on the device tells why (since 258 udev ignores accounts of people)"
        raise NotPossible(
            [
                Problem(
                    fault.device.path,
                    "dax-udev",
                    f"udev did not {fault.text} within {_UDEV_SECONDS} s; {hint}",
                )
                for fault in faults
            ]
        )
    return state, mended


def _udevadm(system: System, arguments: list[str]) -> None:
    done = system.run(["udevadm", *arguments])
    if done.status != 0:
        message = f"'udevadm {arguments[0]}' failed: {done.stderr.strip() or done.status}"
        raise NotPossible.of("", "dax-udev", message)
