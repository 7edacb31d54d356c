# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial boot through GRUB with entry files: an entry file of our own, and ``next_entry`` in grubenv.

The menus of Fedora and RHEL take the choice back as Debian's does (util/grub.d/00_header.in), and so does none whose
menu was made without it. What else these menus decide by their environment (12_menu_auto_hide, 10_reset_boot_success,
08_fallback_counting of greenboot) is run by our reader, which has to find the trial chosen.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._arguments import TRIAL_ARGUMENT, parse, split
from .._system import System
from .._system_tools import permissions
from . import bls_text
from .bls import Blscfg, environment, next_boot
from .bls_entries import ENTRIES
from .bls_files import TRIAL_ID, Files
from .bls_places import KERNELOPTS, REFERENCE, Place
from .change import FileEdit, default_entry, plan_change
from .grub_menu import BootEntry
from .grub_words import GrubScriptError
from .grubenv import variables_of, with_variable
from .reading import names_in, read_text
from .trial_entry import entry_text, with_tail
from .trial_environment import check_environment
from .trial_loader import INSTEAD, Trial, not_as_meant, put_file, refused
from .trial_text import CHOICE, without_choice

ENTRY = f"{ENTRIES}/{TRIAL_ID}.conf"


@dataclass(frozen=True)
class EntryMenu:
    """GRUB whose menu at ``menu`` runs ``blscfg``, as :class:`TrialLoader`."""

    menu: str

    def plan(self, system: System, wanted: Sequence[str], extra: Sequence[str], kernel: str) -> Trial:
        state = Blscfg(self.menu).read(system)
        if state.problem:
            raise refused(f"a trial boot is not possible here: {state.problem}; {INSTEAD}")
        files, block = Files(system), environment(system, self.menu)
        check_environment(system, self.menu, files.text(self.menu) or "", block, _tools(system))
        variables = read_text(system, block) or ""
        others = variables_of(without_choice(block, variables, TRIAL_ID)).get(CHOICE)
        if others:
            raise refused(
                f"{block} has another entry chosen for the next boot, {others}: let it boot, or take the choice back by"
                f" `{_tools(system)}-editenv {block} unset {CHOICE}`"
            )
        default = next_boot(system, self.menu, files)
        source = f"{ENTRIES}/{default_entry(state, kernel) if kernel else default.id}.conf"
        text = files.text(source) or ""
        start, end = bls_text.options_of(source, text)
        value = REFERENCE.sub(lambda _: _expansion(block, variables), text[start:end])
        place = Place(source, value, value)
        options = place.changed_to(wanted, [state.owned, *state.stored])
        options = with_tail(options, place.encode([TRIAL_ARGUMENT, *extra]))
        entry = entry_text(source, text, options, parse(wanted[0]).value or "")
        chosen = with_variable(block, variables, CHOICE, TRIAL_ID)
        trial = self._trial(system, entry, block, chosen, default)
        plan_change(state, wanted, [], arguments=trial.arguments, kernel=kernel)
        return trial

    def _trial(self, system: System, entry: str, block: str, chosen: str, default: BootEntry) -> Trial:
        """The trial, where GRUB would read of it what is meant."""
        unchosen = with_variable(block, chosen, CHOICE, None)
        try:
            with_entry, next_one = (
                next_boot(system, self.menu, Files(system, {ENTRY: entry, block: text}), trial=True)
                for text in (unchosen, chosen)
            )
        except GrubScriptError as error:
            raise refused(f"{self.menu} with an entry for the trial: {error}; {INSTEAD}") from None
        if next_one.id != TRIAL_ID:
            raise refused(
                f"{self.menu} does not heed the choice for one boot: {next_one.title!r} would boot, not the trial's"
                f" entry in {ENTRIES}; {INSTEAD}"
            )
        if _told(with_entry) != _told(default):
            raise refused(
                f"with an entry for the trial {with_entry.title!r} would be the default, not {default.title!r}; choose"
                f" that by `{_tools(system)}-set-default {default.id}`, or {INSTEAD}"
            )
        files = (
            FileEdit(ENTRY, read_text(system, ENTRY), entry, 0o644),
            FileEdit(block, read_text(system, block), chosen, permissions(system, block, 0o600)),
        )
        return Trial(files, tuple(split(next_one.arguments)), _told(default))

    def put(self, system: System, edit: FileEdit) -> None:
        put_file(system, edit)

    def check(self, system: System, trial: Trial) -> None:
        block = environment(system, self.menu)
        unchosen = without_choice(block, read_text(system, block) or "", TRIAL_ID)
        try:
            default, chosen = (
                next_boot(system, self.menu, Files(system, changed), trial=True)
                for changed in ({block: unchosen}, {})
            )
        except GrubScriptError as error:
            raise not_as_meant(f"{self.menu} with the trial's entry: {error}") from None
        right = chosen.id == TRIAL_ID and tuple(split(chosen.arguments)) == trial.arguments
        if not right or _told(default) != trial.default:
            raise not_as_meant(
                f"the entries are not as meant: {chosen.title!r} boots next with {chosen.arguments}, the default is"
                f" {default.title!r}"
            )

    def leftovers(self, system: System) -> list[FileEdit]:
        block = environment(system, self.menu)
        variables = read_text(system, block)
        after = None if variables is None else without_choice(block, variables, TRIAL_ID)
        return [
            FileEdit(block, variables, after, permissions(system, block, 0o600)),
            FileEdit(ENTRY, read_text(system, ENTRY), None),
        ]


def _told(entry: BootEntry) -> tuple[str, str]:
    return entry.id, entry.command_line


def _tools(system: System) -> str:
    """How the names of this GRUB's programs begin."""
    programs = {*names_in(system, "/usr/sbin"), *names_in(system, "/usr/bin")}
    return "grub2" if "grub2-probe" in programs else "grub"


def _expansion(block: str, variables: str) -> str:
    """What the reference to kernelopts stands for: an entry has to have it in full to have other arguments."""
    value = variables_of(variables).get(KERNELOPTS, "")
    if "$" in value:
        raise refused(
            f"{KERNELOPTS} in {block} holds a `$`, which an entry of its own for the trial cannot have; {INSTEAD}"
        )
    return " " + value
