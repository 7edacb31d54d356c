# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Our arguments within texts that hold others' too, on a host whose GRUB boots by entry files.

Only the characters of our run are put in or taken out; every other byte stays. That is why these texts are not
changed by ``grubby``: it drops arguments of others that have a name of ours (every ``memmap=``), and splits and joins
all others at blanks.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._arguments import LAYOUT_ARGUMENT, is_memory_argument, split
from .._errors import InvalidInput, NotPossible
from .bls_entries import expand_value
from .grub_encode import check_one_argument, grub_word
from .grub_words import expand, loader_text, tokenise
from .ownership import common_start

_OPTIONS = re.compile(r"^[ \t]*options[ \t]+(\S.*)$", re.MULTILINE)
_DEFAULTS_NAME = "GRUB_CMDLINE_LINUX"
_ASSIGNMENT = re.compile(rf"^[ \t]*(?:export[ \t]+)?{_DEFAULTS_NAME}\+?=", re.MULTILINE)
_QUOTED = re.compile(
    rf"^[ \t]*{_DEFAULTS_NAME}=(?:\"((?:[^\"\\`]|\\[\s\S])*)\"|'([^']*)')[ \t]*(?:#.*)?$", re.MULTILINE
)


def encode(tokens: Sequence[str], *, variable: bool = False) -> str:
    """The text that hands ``tokens`` to the kernel, in an entry's options or in a GRUB variable they refer to.

    Raises :class:`InvalidInput` for what is no argument, :class:`NotPossible` for what GRUB cannot hand to a kernel.
    A ``$`` is possible only in a variable: in an entry some builds of GRUB drop it however it is written.
    """
    for token in tokens:
        if "$" in token and not variable:
            raise NotPossible.of(
                "arguments",
                "argument-not-encodable",
                f"the argument {token} cannot reach the kernel through a boot entry of GRUB: its blscfg takes what"
                " follows the $ for a variable's name, escaped or not; memmap=SIZE%START-1+2 does without it",
            )
    return " ".join(grub_word(token) for token in tokens)


def encode_raw(tokens: Sequence[str]) -> str:
    """The text that hands ``tokens`` to the kernel through systemd-boot, which changes nothing in it.

    Raises :class:`InvalidInput` for what is no argument, :class:`NotPossible` for what is not printable ASCII.
    """
    for token in tokens:
        check_one_argument(token)
        if token.count('"') % 2:
            raise InvalidInput.of(
                "arguments", "argument-invalid", f"{token!r} has a double quote that is not closed"
            )
    return " ".join(tokens)


def decode(text: str, *, variable: bool = False) -> list[str]:
    """The arguments that a text leads to, variables that it refers to left out. Raises ValueError as GRUB's lexer."""
    source = text if variable else expand_value(text, {}) or ""
    return split(loader_text(expand([token.pieces for token in tokenise(source)], lambda name: [""])))


def replace_run(value: str, known: Sequence[str], wanted: str) -> str:
    """``value`` with our run replaced by ``wanted``, or added at its end, or taken out where ``wanted`` is empty.

    ``known`` are texts of runs that may be ours; what is ours in ``value`` is told as :func:`owned_runs` does.
    """
    places = []
    for found in reversed(list(re.finditer(rf"(?:(?<=[ \t])|\A)['\"]?{re.escape(LAYOUT_ARGUMENT)}=", value))):
        start, end = found.start(), _end_of_run(value, found.start(), known)
        if start:
            start -= 1
        elif end < len(value):
            end += 1
        value = value[:start] + value[end:]
        places.append(start)
    if not wanted:
        return value
    place = places[-1] if places else len(value)
    if place:
        return f"{value[:place]} {wanted}{value[place:]}"
    return f"{wanted} {value}" if value else wanted


def without_words(value: str, words: str) -> str:
    """``value`` without each place where ``words`` stand as whole ones, and the blank before them."""
    return re.sub(rf"(?:(?:\A|[ \t]){re.escape(words)})(?=[ \t]|\Z)", "", value) if words else value


def _end_of_run(value: str, start: int, known: Sequence[str]) -> int:
    words = [(word.group(), start + word.end()) for word in re.finditer(r"[^ \t]+", value[start:])]
    texts = [text for text, _ in words]
    lengths = [common_start(texts, run.split()) for run in known if run.split()[:1] == texts[:1]]
    count = max(lengths, default=1)
    while not lengths and count < len(words) and is_memory_argument(texts[count].strip("'\"")):
        count += 1
    return words[count - 1][1]


def options_of(path: str, text: str) -> tuple[int, int]:
    """Where the value of an entry's one line ``options`` stands. Raises :class:`NotPossible` for none or several."""
    found = list(_OPTIONS.finditer(text))
    if len(found) != 1:
        raise NotPossible.of(
            "boot",
            "boot-entry-unusual",
            f"{path} has {len(found) or 'no'} lines `options` with a value, Carveout can write to exactly one",
        )
    return found[0].span(1)


def command_line_of(text: str) -> tuple[int, int]:
    """Where the last line of /etc/kernel/cmdline with arguments stands; an empty file ends with it."""
    lines = [
        line for line in re.finditer(r"^.+$", text, re.MULTILINE) if not re.match(r"\s*(#|$)", line.group())
    ]
    return lines[-1].span() if lines else (0, 0)


def defaults_of(path: str, text: str) -> tuple[int, int, bool] | None:
    """Where the value of GRUB_CMDLINE_LINUX stands in /etc/default/grub, and whether in double quotes.

    None where it is not assigned. Raises :class:`NotPossible` where that is done in a way that cannot be edited safely.
    """
    lines = [text.count("\n", 0, found.start()) + 1 for found in _ASSIGNMENT.finditer(text)]
    quoted = list(_QUOTED.finditer(text))
    if not lines:
        return None
    if len(lines) > 1 or len(quoted) != 1:
        raise NotPossible.of(
            "boot",
            "boot-configuration-unparsable",
            f"{path}, line {lines[-1]}: {_DEFAULTS_NAME} has to be assigned once and as one text in quotes,"
            f' {_DEFAULTS_NAME}="...", for Carveout to add to it',
        )
    double = quoted[0].group(1) is not None
    return (*quoted[0].span(1 if double else 2), double)


def shell_text(words: str, double: bool) -> str:
    """Words as they stand between quotes in sh. Raises :class:`NotPossible` where they cannot stand there."""
    if double:
        return re.sub(r'([\\"$`])', r"\\\1", words)
    if "'" in words:
        raise NotPossible.of(
            "boot",
            "boot-configuration-unparsable",
            f"the value of {_DEFAULTS_NAME} stands in single quotes and cannot hold {words}: use double quotes",
        )
    return words
