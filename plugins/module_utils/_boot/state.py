# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a boot loader will do at the next boot, whatever loader it is.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._host.model import ForeignArgument


@dataclass(frozen=True)
class LoaderState:
    """The boot loader of a host as it stands.

    ``kind`` is ``grub`` (a drop-in and a generated menu), ``grub-bls`` (entry files of the Boot Loader
    Specification), ``systemd-boot``, or empty where the loader is none that Carveout can write to.
    ``problem`` says why nothing can be changed, empty where it can. ``unparsable`` says which file
    of the configuration augeas could not read: new arguments are then refused, removal is not.
    ``drop_in_text`` is None where our file does not exist. ``owned`` are the tokens that our
    drop-in (or the first text of others with a run of ours) holds.
    ``boot_arguments`` are the tokens that the kernel of the entry that boots next gets, ours
    included, without the loader's own ``BOOT_IMAGE=``; None where there is no such entry to read.
    ``entry`` is that entry's title, ``command_line`` its whole command line as /proc/cmdline will
    show it, ``kernel`` its kernel's release (empty where the image's name holds none). ``kernels``
    are the releases that entries start, each with what names its entry as the default.
    ``running`` are the tokens of /proc/cmdline, ``running_kernel`` is the running release.
    ``stored`` are the argument lists of the layouts stored on the host. ``regenerate`` is the
    command that makes the text for the file ``menu`` anew, empty where none is needed. ``trial`` tells a trial
    boot that was prepared from every other one, empty where none is.
    """

    kind: str
    problem: str = ""
    unparsable: str = ""
    drop_in: str = ""
    drop_in_text: str | None = None
    owned: tuple[str, ...] = ()
    boot_arguments: tuple[str, ...] | None = None
    entry: str = ""
    command_line: str = ""
    kernel: str = ""
    kernels: tuple[tuple[str, str], ...] = ()
    running: tuple[str, ...] = ()
    running_kernel: str = ""
    stored: tuple[tuple[str, ...], ...] = ()
    foreign: tuple[ForeignArgument, ...] = ()
    regenerate: tuple[str, ...] = ()
    menu: str = ""
    trial: str = ""

    def to_json(self) -> dict[str, Any]:
        """The snapshot's ``state.loader``; the other facts have places of their own in it."""
        return {
            "kind": self.kind,
            "problem": "; ".join(text for text in (self.problem, self.unparsable) if text),
            "drop_in": self.drop_in,
            "drop_in_text": self.drop_in_text or "",
            "owned": list(self.owned),
            "trial": self.trial,
        }
