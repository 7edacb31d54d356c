# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial boot through systemd-boot: an entry file of our own, and the firmware variable that chooses it once.

Nothing that decides about later boots is touched: systemd-boot removes the one-shot variable before it boots
(boot.c, config_load_defaults) and does not note such a boot as the last one for ``@saved`` (save_selected_entry). Our
file has no counter, so no tries are counted, and no sort key, so it is behind all entries that have one.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from .._arguments import TRIAL_ARGUMENT, parse, split
from .._errors import CarveoutError
from .._system import System
from .._system_tools import permissions
from . import bls_text, sdboot
from .bls_files import Files
from .bls_places import Place
from .change import FileEdit, default_entry, plan_change
from .reading import names_in, read_text
from .sdboot import ONE_SHOT, ROOTS, TRIAL_FILE, VARIABLE, SystemdBoot, entries_of, next_path
from .sdboot_order import SdEntry
from .trial_entry import entry_text, with_tail
from .trial_loader import INSTEAD, Trial, not_as_meant, put_file, refused

CHOICE = VARIABLE.format(ONE_SHOT)
_VARIABLES = posixpath.dirname(VARIABLE)
#: EFI_LOADER_FEATURE_ENTRY_ONESHOT (src/fundamental/efivars-fundamental.h).
_FEATURE = 1 << 3


class OneShot:
    """systemd-boot, as :class:`TrialLoader`."""

    def plan(self, system: System, wanted: Sequence[str], extra: Sequence[str], kernel: str) -> Trial:
        state = SystemdBoot().read(system)
        if state.problem:
            raise refused(f"a trial boot is not possible here: {state.problem}; {INSTEAD}")
        _check_choice(system)
        files = Files(system)
        entries = entries_of(system, files)
        source = next_path(system, files, entries, "")
        default = _told(files, entries, source)
        if kernel:
            name = default_entry(state, kernel)
            source = next(path for path, entry in entries.items() if entry.id == name)
        text = files.text(source) or ""
        start, end = bls_text.options_of(source, text)
        place = Place(source, text[start:end], text[start:end], raw=True)
        options = place.changed_to(wanted, [state.owned, *state.stored])
        options = with_tail(options, place.encode([TRIAL_ARGUMENT, *extra]))
        path = posixpath.join(posixpath.dirname(source), TRIAL_FILE)
        entry = entry_text(source, text, options, parse(wanted[0]).value or "")
        edits = (
            FileEdit(path, read_text(system, path), entry, permissions(system, source, 0o644)),
            FileEdit(CHOICE, sdboot.variable(system, ONE_SHOT) or None, TRIAL_FILE),
        )
        trial = Trial(edits, tuple(split(options)), default)
        plan_change(state, wanted, [], arguments=trial.arguments, kernel=kernel)
        problem = _problem(system, Files(system, {path: entry}), trial, TRIAL_FILE)
        if problem:
            raise refused(f"{problem}; choose the default by `bootctl set-default`, or {INSTEAD}")
        return trial

    def put(self, system: System, edit: FileEdit) -> None:
        if edit.path != CHOICE:
            put_file(system, edit)
            return
        # bootctl knows how such variables are written: they are protected from being changed by accident
        done = system.run(["bootctl", "set-oneshot", edit.after or ""])
        if done.status != 0:
            said = (done.stderr or done.stdout).strip().replace("\n", " / ")
            raise CarveoutError.of(
                "boot", "trial-failed", f"`bootctl set-oneshot {edit.after or chr(39) * 2}` failed: {said}"
            )

    def check(self, system: System, trial: Trial) -> None:
        chosen = sdboot.variable(system, ONE_SHOT)
        problem = _problem(system, Files(system), trial, chosen)
        if problem:
            raise not_as_meant(problem)

    def leftovers(self, system: System) -> list[FileEdit]:
        chosen = sdboot.variable(system, ONE_SHOT)
        edits = [FileEdit(CHOICE, TRIAL_FILE, None)] if chosen == TRIAL_FILE else []
        paths = [f"{root}/loader/entries/{TRIAL_FILE}" for root in ROOTS]
        return [*edits, *(FileEdit(path, read_text(system, path), None) for path in paths)]


def _check_choice(system: System) -> None:
    """Raise :class:`NotPossible` where no entry can be chosen for one boot."""
    features = (read_text(system, VARIABLE.format("LoaderFeatures")) or "").encode("utf-8", "surrogateescape")
    if not int.from_bytes(features[4:12], "little") & _FEATURE:
        raise refused(f"this systemd-boot knows no choice for one boot only: update it, or {INSTEAD}")
    mounts = [line.split(" ") for line in (read_text(system, "/proc/mounts") or "").split("\n")]
    options = [words[3].split(",") for words in mounts if words[1:2] == [_VARIABLES] and len(words) > 3]
    if not options or "ro" in options[-1]:
        raise refused(
            f"the firmware's variables in {_VARIABLES} cannot be written, so systemd-boot cannot be told what to boot"
            f" once: mount it for writing (mount -o remount,rw {_VARIABLES}), or {INSTEAD}"
        )
    if "bootctl" not in names_in(system, "/usr/bin"):
        raise refused(
            f"the program bootctl is missing, by which systemd-boot is told what to boot once: install it, or {INSTEAD}"
        )
    others = sdboot.variable(system, ONE_SHOT)
    if others not in ("", TRIAL_FILE):
        raise refused(
            f"another entry is chosen for the next boot, {others}: let it boot, or take the choice back by"
            " `bootctl set-oneshot ''`"
        )


def _problem(system: System, files: Files, trial: Trial, chosen: str) -> str:
    """What the loader would read otherwise than meant with that choice for one boot; empty where nothing is."""
    entries = entries_of(system, files, trial=True)
    path = next_path(system, files, entries, chosen)
    arguments = split(_told(files, entries, path)[1])
    if not path or posixpath.basename(path) != TRIAL_FILE or tuple(arguments) != trial.arguments:
        return f"{path} would boot next with {' '.join(arguments)}, not the trial"
    default = next_path(system, files, entries, "")
    if _told(files, entries, default) != trial.default:
        return f"with the trial's entry in the menu {default} would be the default"
    return ""


def _told(files: Files, entries: dict[str, SdEntry], path: str) -> tuple[str, str]:
    """The name of an entry and its arguments."""
    if not path:
        return "", ""
    fields = entries[path].file.fields
    return entries[path].id, " ".join(value for name, value in fields if name == "options")
