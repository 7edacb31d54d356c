# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run would still have to do to have a host as a stored layout says: told in one look, nothing is changed.

The same rooms decide that make the changes, so a run that is told "nothing" leaves no check out.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from typing import Any

from ._boot.loader import needs_augeas
from ._boot.loader import plan as plan_boot
from ._boot.state import LoaderState
from ._boot.trial import leftovers
from ._dax.actions import check_devices
from ._dax.apply import preview
from ._dax.current import carried, stored_layout
from ._errors import CarveoutError
from ._host.files import Reader
from ._host.kernels import is_installed, read_config
from ._layout import Layout
from ._mechanisms.dmemfs import missing_config
from ._mounts import DMEMFS, OWNER_SERVICE
from ._pmem.actions import pmem_reservations
from ._remains import remains
from ._system import System

_NDCTL = ("/usr/bin/ndctl", "/usr/sbin/ndctl", "/bin/ndctl", "/sbin/ndctl")


def pending(
    system: System, augeas: Any, loader: LoaderState, layout_id: str | None, kernel: str = ""
) -> list[str]:
    """The steps to the layout of this ID, as text; none where the host is as it says.

    ``loader`` is what was read of the boot loader, with ``augeas``; ``kernel`` the release that the plan names, which
    has to be there, with dmemfs, and to boot by default; empty where the plan names none. Whatever cannot be told is
    a step, too: then the run looks closer and says why. Whether the files of Carveout are as they should be is not
    looked at here.
    """
    if layout_id is None:
        return ["commit a layout"]
    try:
        layout = stored_layout(system, layout_id)
        if kernel and (
            not is_installed(system, kernel) or missing_config(read_config(Reader(system), kernel))
        ):
            return [f"install the kernel {kernel}"]
        if layout.arguments and augeas is None and needs_augeas(system):
            return ["install python3-augeas"]
        change = plan_boot(
            system, augeas, loader, layout.kernel_arguments or None, kernel if layout.arguments else ""
        )
        steps = [*change.actions, *(edit.action for edit in leftovers(system))]
        steps += [f"remove {path}" for path in remains(system)]
        if change.reboot_required or ((layout.arguments or layout.devices) and not carried(system, layout)):
            return [*steps, "reboot"]
        if pmem_reservations(layout) and not any(system.stat(path) for path in _NDCTL):
            steps.append("install ndctl")
        check_devices(layout)
        return [*steps, *preview(system, layout).actions, *_mounts(system, layout)]
    except CarveoutError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]


def _mounts(system: System, layout: Layout) -> list[str]:
    """Start what is not active of the layout's mounts."""
    units = [mount.unit for mount in layout.mounts]
    if any(mount.kind == DMEMFS for mount in layout.mounts):
        units.append(OWNER_SERVICE)
    # one word for each unit; the status tells of any of them only
    said = system.run(["systemctl", "is-active", *units]).stdout.split() if units else []
    states = [*said, *[""] * (len(units) - len(said))]
    return [f"start {unit}" for unit, state in zip(units, states) if state != "active"]
