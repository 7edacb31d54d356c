# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to change so that the next boot has our arguments, or none of them.

Pure: nothing here touches a host.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .._arguments import COMMAND_LINE_SIZE, LAYOUT_ARGUMENT, carries, find_sequence, layout_id, parse
from .._errors import InvalidInput, NotPossible
from .._layout import LAYOUT_ID
from .ownership import Owned, owned_runs, without_owned
from .state import LoaderState


@dataclass(frozen=True)
class FileEdit:
    """A file's text before and after, None where there is no such file. ``mode`` are its permissions."""

    path: str
    before: str | None
    after: str | None
    mode: int = 0o644

    @property
    def changed(self) -> bool:
        return self.before != self.after

    @property
    def action(self) -> str:
        return f"{'remove' if self.after is None else 'write'} {self.path}"


@dataclass(frozen=True)
class Change:
    """From the state as read to the one that is wanted.

    ``wanted`` are our arguments, none for removal. ``files`` are what has to be written for that, in
    order. ``arguments`` is the predicted command line of the next entry, ours included; ``rests``
    are the lists that may remain of it without ours: more than one only where a run of ours stands
    there whose end is not known. ``kernel`` is the release that the next entry has to start, empty
    where that is not ours to say.
    """

    state: LoaderState
    wanted: tuple[str, ...]
    files: tuple[FileEdit, ...]
    arguments: tuple[str, ...]
    rests: tuple[tuple[str, ...], ...]
    changed: bool
    kernel: str = ""

    @property
    def actions(self) -> list[str]:
        """The steps, in order, as they would be done by hand."""
        if not self.changed:
            return []
        steps = [file.action for file in self.files if file.changed]
        if self.state.regenerate:
            steps += [f"run {' '.join(self.state.regenerate)}", f"write {self.state.menu}"]
        return steps

    @property
    def reboot_required(self) -> bool:
        """Whether the running kernel was started with something else than what is wanted.

        Another layout's ID with the same arguments behind it is nothing else: what differs then are devices, which
        are changed in the running system.
        """
        running = self.state.running
        if self.kernel and self.kernel != self.state.running_kernel:
            return True
        twice = running.count(f"{LAYOUT_ARGUMENT}={layout_id(running)}") > 1
        return twice or not carries(running, self.wanted, self.state.stored)

    @property
    def diff(self) -> list[dict[str, str]]:
        """The files, and the entry's arguments one a line, before and after."""
        arguments = self.arguments if self.changed else self.state.boot_arguments or ()
        texts = [
            *((file.path, file.before or "", file.after or "") for file in self.files),
            (
                f"boot entry {self.state.entry}",
                "".join(f"{token}\n" for token in self.state.boot_arguments or ()),
                "".join(f"{token}\n" for token in arguments),
            ),
        ]
        return [
            {"before_header": header, "before": before, "after_header": header, "after": after}
            for header, before, after in texts
        ]

    def problem_of(self, after: LoaderState) -> str:
        """What is wrong with the entry that boots next after the change; empty where nothing is."""
        if after.boot_arguments is None:
            return "it cannot be read any more"
        if self.kernel and after.kernel != self.kernel:
            return f"it starts the kernel {after.kernel or 'of unknown release'} and not {self.kernel}"
        rest = list(after.boot_arguments)
        if self.wanted:
            index = find_sequence(rest, self.wanted)
            if index < 0:
                return f"it does not hold the {len(self.wanted)} wanted arguments as one unbroken run"
            del rest[index : index + len(self.wanted)]
        if any(parse(token).name == LAYOUT_ARGUMENT for token in rest):
            return f"it holds another {LAYOUT_ARGUMENT}= that Carveout does not write"
        if tuple(rest) not in self.rests:
            return (
                f"its other arguments changed: {_difference(self.rests[0], rest)} (so it is where others edited"
                " the settings and never generated the menu; the next run finds it up to date)"
            )
        return ""


def plan_change(
    state: LoaderState,
    wanted: Sequence[str],
    files: Sequence[FileEdit],
    *,
    arguments: Sequence[str] | None = None,
    kernel: str = "",
) -> Change:
    """The change that leads to ``wanted``, none for removal; ``files`` are the loader's edits for it.

    ``arguments`` is the command line that the loader predicts; by default ours are taken to stand where they stood,
    or at the end. Raises :class:`NotPossible` where the host cannot do it.
    """
    if state.problem and not _nothing_of_ours(state, wanted):
        raise NotPossible.of("boot", "boot-loader-unsupported", state.problem)
    if wanted and state.unparsable:
        raise NotPossible.of("boot", "boot-configuration-unparsable", state.unparsable)
    before = list(state.boot_arguments or ())
    owned = owned_runs(before, [wanted, state.owned, *state.stored])
    if arguments is None:
        rest = without_owned(before, owned)
        start = owned[0].start if owned else len(before)
        arguments = (*rest[:start], *wanted, *rest[start:])
    if wanted:
        _check_reaches_kernel(state, arguments, max(find_sequence(arguments, wanted), 0))
    change = Change(
        state, tuple(wanted), tuple(files), tuple(arguments), _rests(before, owned), False, kernel
    )
    wrong = state.boot_arguments is not None and bool(change.problem_of(state))
    return replace(change, changed=wrong or any(file.changed for file in files))


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises :class:`InvalidInput` where a list is not one that a layout can have."""
    first = parse(arguments[0]) if arguments else None
    if first is None or first.name != LAYOUT_ARGUMENT or not LAYOUT_ID.fullmatch(first.value or ""):
        raise InvalidInput.of(
            "arguments",
            "arguments-without-layout",
            f"the first argument has to be {LAYOUT_ARGUMENT}= with a layout's ID of 16 hexadecimal"
            " digits: give the kernel_arguments of a layout as they are",
        )
    for token in arguments[1:]:
        name = parse(token).name
        if name == LAYOUT_ARGUMENT or name == "--":
            raise InvalidInput.of(
                "arguments", "argument-invalid", f"{token} can only stand first or not at all in a layout"
            )


def default_entry(state: LoaderState, kernel: str) -> str:
    """What names the entry of a kernel as the default. Raises :class:`NotPossible` where there is none."""
    found = next((name for release, name in state.kernels if release == kernel), None)
    if found is None:
        there = ", ".join(sorted({release for release, _ in state.kernels})) or "none"
        raise NotPossible.of(
            "boot.kernel",
            "kernel-without-entry",
            f"no boot entry starts the kernel {kernel}: install its package (kernels with an entry: {there})",
        )
    return found


def _nothing_of_ours(state: LoaderState, wanted: Sequence[str]) -> bool:
    there = layout_id(state.boot_arguments or ()) is not None
    return not wanted and state.drop_in_text is None and not state.owned and not there


def _rests(before: Sequence[str], owned: Sequence[Owned]) -> tuple[tuple[str, ...], ...]:
    best = tuple(without_owned(before, owned))
    unknown = [run for run in owned if not run.known]
    if not unknown:
        return (best,)
    known = [run for run in owned if run.known]
    others = [
        tuple(without_owned(before, [*known, Owned(unknown[0].start, end, False), *unknown[1:]]))
        for end in range(unknown[0].start + 1, len(before) + 1)
    ]
    return (best, *others)


def _check_reaches_kernel(state: LoaderState, arguments: Sequence[str], start: int) -> None:
    if any(parse(token).name == "--" for token in arguments[:start]):
        raise NotPossible.of(
            "boot",
            "arguments-ended",
            f"the entry {state.entry!r} holds `--`: the kernel reads no argument behind it, and that is"
            " where Carveout's would stand. Move what follows `--` to the service that reads it",
        )
    image = re.match(r"\S*", state.command_line)
    line = " ".join([image.group() if image else "", *arguments])
    size = len(line.encode("utf-8", "surrogateescape"))
    if size > COMMAND_LINE_SIZE - 1:
        raise NotPossible.of(
            "boot",
            "command-line-too-long",
            f"the command line of {state.entry!r} would be {size} bytes long, the kernel reads"
            f" {COMMAND_LINE_SIZE - 1}: a layout with fewer reservations, or fewer other arguments, would fit",
        )


def _difference(before: Sequence[str], after: Sequence[str]) -> str:
    rest = list(after)
    gone = []
    for token in before:
        if token in rest:
            rest.remove(token)
        else:
            gone.append(token)
    parts = []
    if gone:
        parts.append(f"{' '.join(gone)} gone")
    if rest:
        parts.append(f"{' '.join(rest)} new")
    return ", ".join(parts) or f"their order is now {' '.join(after)}"
