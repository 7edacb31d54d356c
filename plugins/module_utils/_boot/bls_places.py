# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The texts in which arguments have to stand so that every entry has them, and those of later kernels too.

* the options of each entry file, unless they are ``$kernelopts``;
* that variable in grubenv (RHEL 8: the entries of new kernels come with their packages and refer to it);
* /etc/kernel/cmdline, where it exists (RHEL 9 and Fedora: kernel-install makes new entries of it);
* GRUB_CMDLINE_LINUX in /etc/default/grub, where it is assigned (grub2-mkconfig can make all of the above of it).

The rescue entry stays as it is: it boots without reservations.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .._arguments import LAYOUT_ARGUMENT, split
from .._errors import NotPossible
from . import bls_text
from .bls_entries import EntryFile
from .grubenv import variables_of, with_variable
from .ownership import owned_runs

COMMAND_LINE = "/etc/kernel/cmdline"
DEFAULTS = "/etc/default/grub"
KERNELOPTS = "kernelopts"
REFERENCE = re.compile(rf"(?:^|[ \t])\${KERNELOPTS}(?![A-Za-z0-9_])")


@dataclass(frozen=True)
class Place:
    """``value`` is the text that holds arguments.

    It stands at ``start`` in the file ``path`` whose text is ``text``, or is the variable ``name`` of a grubenv.
    ``quotes`` are those of sh around it, empty where it is not sh that reads it. ``raw`` is a place whose text
    systemd-boot hands to the kernel as it is.
    """

    path: str
    text: str
    value: str
    start: int = 0
    name: str = ""
    quotes: str = ""
    raw: bool = False

    def encode(self, tokens: Sequence[str]) -> str:
        """The text of arguments as it has to stand here. Raises as :func:`bls_text.encode`."""
        if self.raw:
            return bls_text.encode_raw(tokens)
        words = bls_text.encode(tokens, variable=bool(self.name))
        return bls_text.shell_text(words, self.quotes == '"') if self.quotes else words

    def owned(self, runs: Sequence[Sequence[str]]) -> tuple[str, ...]:
        """Our arguments as they stand here, none where there are none or they cannot be read."""
        if LAYOUT_ARGUMENT not in self.value:
            return ()
        try:
            tokens = split(self.value) if self.raw else bls_text.decode(self.value, variable=bool(self.name))
        except ValueError:
            tokens = self.value.split()
        return next((tuple(tokens[run.start : run.end]) for run in owned_runs(tokens, runs)), ())

    def changed_to(
        self, wanted: Sequence[str], runs: Sequence[Sequence[str]], tail: Sequence[str] = ()
    ) -> str:
        """The file's text with our run replaced by ``wanted``, none for removal; ``runs`` are known to be ours.

        ``tail`` is what only a trial has: it is taken out.
        """
        known = []
        for run in (wanted, *runs):
            try:
                known.append(self.encode(run))
            except NotPossible:
                continue  # what cannot be written here does not stand here
        value = bls_text.without_words(self.value, self.encode(tail) if tail else "")
        value = bls_text.replace_run(value, known, self.encode(wanted))
        if self.name:
            return with_variable(self.path, self.text, self.name, value)
        return self.text[: self.start] + value + self.text[self.start + len(self.value) :]


def places_of(
    read: Callable[[str], str | None], entries: Mapping[str, EntryFile], environment: str
) -> list[Place]:
    """The places on a host, in the order in which they are to be written.

    /etc/kernel/cmdline comes after /etc/default/grub: kernel-install takes it as outdated where it is older.
    ``entries`` are the entry files by their paths. Raises :class:`NotPossible` where one cannot be written to.
    """
    places = []
    defaults = read(DEFAULTS)
    span = bls_text.defaults_of(DEFAULTS, defaults) if defaults is not None else None
    if defaults is not None and span:
        start, end, double = span
        places.append(Place(DEFAULTS, defaults, defaults[start:end], start, quotes='"' if double else "'"))
    line = read(COMMAND_LINE)
    if line is not None:
        start, end = bls_text.command_line_of(line)
        places.append(Place(COMMAND_LINE, line, line[start:end], start))
    referred = []
    for path, entry in entries.items():
        if entry.value("linux") is None:
            continue
        if REFERENCE.search(entry.value("options") or ""):
            referred.append(path)
        elif not entry.rescue:
            text = read(path) or ""
            start, end = bls_text.options_of(path, text)
            places.append(Place(path, text, text[start:end], start))
    block = read(environment) or ""
    value = variables_of(block).get(KERNELOPTS)
    if value is not None and (referred or line is None):
        places.append(Place(environment, block, value, name=KERNELOPTS))
    elif referred:
        raise NotPossible.of(
            "boot",
            "boot-entry-unusual",
            f"{referred[0]} takes its arguments from the variable {KERNELOPTS}, which {environment} does not hold:"
            f" set it to them by grub2-editenv - set '{KERNELOPTS}=...'",
        )
    return places


def owned_arguments(
    arguments: Sequence[str], places: Sequence[Place], stored: Sequence[Sequence[str]]
) -> tuple[str, ...]:
    """Our arguments: as a stored layout has them, or else where the fewest of others' can stand behind them."""
    known = [tuple(arguments[run.start : run.end]) for run in owned_runs(arguments, stored) if run.known]
    found = [run for run in (place.owned(stored) for place in places) if run]
    return known[0] if known else min(found, key=len, default=())
