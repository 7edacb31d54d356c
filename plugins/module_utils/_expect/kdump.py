# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""That a crash kernel does not inherit the arguments that carve memory out of the host.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from .._arguments import parse
from .._host.model import Host
from .._layout import Layout
from .files import SUBJECT
from .model import Expectation, judge, section


def crash_kernel(layout: Layout, host: Host) -> list[Expectation]:
    """One for each kdump program that the host has; nothing where the layout asks for no arguments."""
    ours = {parse(argument).name for argument in layout.kernel_arguments}
    result = []
    for config, inherited in sorted(section(host, "kdump").items()) if ours else ():
        names = ", ".join(f"{name}=" for name in inherited if name in ours)
        fact = f"the crash kernel that {config} describes inherits {names or 'none of the arguments'}"
        ending = (
            "; of its little memory it would make what the host makes of all its own. Deploying again writes what "
            "keeps it from that; where the file gives the crash kernel a command line of its own, take them out there"
        )
        result.append(
            judge(
                SUBJECT,
                f"crash kernel of {config}",
                "pools",
                fact,
                "none",
                names or "none",
                not names,
                ending,
            )
        )
    return result
