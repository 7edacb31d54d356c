# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a boot loader has to be able to do for a trial boot.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .._errors import CarveoutError, NotPossible
from .._system import System
from .change import FileEdit

#: What works where a trial does not.
INSTEAD = "set policy.trial_boot: false to have the arguments made permanent at once"


@dataclass(frozen=True)
class Trial:
    """A trial that can be begun.

    ``files`` are what the loader needs: the entry, and last the choice of it for one boot. ``arguments`` is what its
    kernel gets. ``default`` tells the entry that has to stay the default: its name and its command line.
    """

    files: tuple[FileEdit, ...]
    arguments: tuple[str, ...]
    default: tuple[str, str]


class TrialLoader(Protocol):
    """A boot loader that can boot an entry of our own once, and takes the choice of it back by itself."""

    def plan(self, system: System, wanted: Sequence[str], extra: Sequence[str], kernel: str) -> Trial:
        """The next boot with ``wanted`` and, behind ``carveout.trial``, with ``extra``. Changes nothing.

        ``kernel`` is the release to boot, empty for that of the default entry. Raises :class:`InvalidInput` and
        :class:`NotPossible`.
        """

    def put(self, system: System, edit: FileEdit) -> None:
        """Make one of the changes that :meth:`plan` or :meth:`leftovers` gave.

        Raises OSError and :class:`CarveoutError`.
        """

    def check(self, system: System, trial: Trial) -> None:
        """Raise :class:`CarveoutError` where the loader would read anything else than what is meant."""

    def leftovers(self, system: System) -> list[FileEdit]:
        """What a trial has on the host, as changes that take it away; the choice of it first."""


def put_file(system: System, edit: FileEdit) -> None:
    """Make a change of a file."""
    if edit.after is None:
        system.remove_boot(edit.path)
    else:
        system.write_boot(edit.path, edit.after, edit.mode)


def refused(message: str) -> NotPossible:
    """That no trial is possible here, with the place in the plan that asks for it."""
    return NotPossible.of("policy.trial_boot", "trial-boot-impossible", message)


def not_as_meant(message: str) -> CarveoutError:
    """That what was written is read as something else."""
    return CarveoutError.of("boot", "trial-failed", message)
