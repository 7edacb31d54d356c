# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the kernel that boots next is predicted to make of a layout what the verified one made. Pure.

A kernel's package may come any day, and its reboot with it; 6.3 and 7.0 changed what becomes of the same arguments.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from ._arguments import split
from ._errors import CarveoutError
from ._host.model import Host
from ._model.predict import Prediction, predict


def next_kernel_note(host: Host) -> str:
    """What to say of it; empty where the kernel that boots next is the verified one, or none of both is known."""
    release, verified = host.kernel_default, host.state.get("verified") or host.kernel_running
    if not release or not verified or release == verified or host.committed is None:
        return ""
    line = split(host.cmdline) if host.boot_arguments is None else list(host.boot_arguments)
    head = f"the kernel {release} boots next; the layout {host.committed} was verified with {verified}"
    try:
        differing = _differences(predict(host, line, verified), predict(host, line, release))
    except CarveoutError as error:
        return f"{head}, and the new one is predicted not to do: {error}"
    if differing:
        return f"{head}, and the new one is predicted to make something else of it: {'; '.join(differing)}"
    return f"{head}. It is predicted to do the same; its boot is held to the layout, and the next run verifies it"


def _differences(before: Prediction, after: Prediction) -> list[str]:
    found = []
    for words, one, two in (
        ("the memory map", before.kernel_map, after.kernel_map),
        ("the DAX regions", before.dax_regions, after.dax_regions),
        ("the regions of dmemfs", before.dmem_regions, after.dmem_regions),
    ):
        if one != two:
            lost = [f"[{r[0]:#x}, {r[1]:#x})" for r in one if r not in two]
            new = [f"[{r[0]:#x}, {r[1]:#x})" for r in two if r not in one]
            found.append(
                f"{words} lose {', '.join(lost[:4]) or 'nothing'} and get {', '.join(new[:4]) or 'nothing'}"
            )
    if before.hugepages != after.hugepages:
        found.append("other numbers of huge pages")
    known = {note.message for note in before.warnings}
    return found + [note.message for note in after.warnings if note.message not in known]
