# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's boot loader, whichever it is: its state, a change of it, and making the change.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .._errors import NotPossible
from .._system import System
from . import bls, bls_apply, grub, grub_apply, sdboot, trial_switch
from .bls_apply import EntryLoader
from .change import Change
from .state import LoaderState


def _by_entries(system: System) -> EntryLoader | None:
    """The loader of a host that boots by entry files, None for others."""
    if sdboot.is_booted(system):
        return sdboot.SystemdBoot()
    menu = bls.find_menu(system)
    return None if menu is None else bls.Blscfg(menu)


def needs_augeas(system: System) -> bool:
    """Whether a change goes through augeas: entry files are changed without."""
    return _by_entries(system) is None


def read_loader(system: System, augeas: Any) -> LoaderState:
    """The state of the loader. Changes nothing, and raises nothing. ``augeas`` as :func:`grub.read_loader` takes it."""
    loader = _by_entries(system)
    state = grub.read_loader(system, augeas) if loader is None else loader.read(system)
    return replace(state, trial=trial_switch.prepared(system))


def check_same(state: LoaderState, measured: Sequence[str]) -> None:
    """Raise :class:`NotPossible` where our arguments are others than when the host was measured.

    Then another run has changed them, and what this one planned for is gone.
    """
    if tuple(measured) != state.owned:
        raise NotPossible.of(
            "boot",
            "changed-meanwhile",
            "another run has changed this host's arguments since this one measured it; let that one end, then run"
            " again",
        )


def plan(
    system: System, augeas: Any, state: LoaderState, wanted: Sequence[str] | None, kernel: str = ""
) -> Change:
    """The change to ``wanted``, None for removal, with the entry of ``kernel`` as the default. Changes nothing.

    Without a kernel the default is not ours: what Carveout chose before is taken back. Raises
    :class:`InvalidInput` and :class:`NotPossible`.
    """
    loader = _by_entries(system)
    if loader is None:
        return grub_apply.plan(state, augeas, wanted, kernel)
    return bls_apply.plan(system, loader, state, wanted, kernel)


def apply(system: System, augeas: Any, change: Change) -> LoaderState:
    """Make the change and read it back; the new state. Raises :class:`CarveoutError`, all put back as it was."""
    loader = _by_entries(system)
    if loader is None:
        return grub_apply.apply(system, augeas, change)
    return bls_apply.apply(system, loader, change)
