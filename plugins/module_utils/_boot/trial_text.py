# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The menu entry of a trial boot through GRUB's generated menu.

It stands in GRUB's own place for entries of the host, custom.cfg, which the menu reads at each boot: the
generated menu, and the default in it, stay byte for byte as they are.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._errors import CarveoutError
from .grub_encode import grub_word
from .grub_machine import LINUX_COMMANDS
from .grub_menu import BootEntry
from .grub_words import GrubScriptError, Token, loader_text, tokenise
from .grubenv import variables_of, with_variable

TRIAL_ID = "carveout-trial"
#: Set by ``grub-reboot``; the menu clears it before it boots (util/grub.d/00_header.in).
CHOICE = "next_entry"

_BEGIN = "# BEGIN Carveout trial: written by Carveout, gone when the trial is over"
_END = "# END Carveout trial"
_BLOCK = re.compile(rf"\n?{re.escape(_BEGIN)}\n[\s\S]*?{re.escape(_END)}\n")


def without_choice(path: str, text: str, ours: str = TRIAL_ID) -> str:
    """The environment block without our choice for the next boot; that of others stays, as does what is no block."""
    if variables_of(text).get(CHOICE) != ours:
        return text
    try:
        return with_variable(path, text, CHOICE, None)
    except CarveoutError:
        return text


def with_block(text: str | None, block: str) -> str:
    """The file with our block, instead of the one that it has."""
    rest = without_block(text)
    return block if rest is None else f"{rest}\n{block}"


def without_block(text: str | None) -> str | None:
    """The file as it was without our block, None where there was none."""
    if text is None:
        return None
    found = _BLOCK.search(text)
    if found is None:
        return text
    rest = text[: found.start()] + text[found.end() :]
    return None if not rest and text.startswith(_BEGIN) else rest


def entry_block(menu: str, entry: BootEntry, arguments: Sequence[str], layout_id: str) -> str:
    """Our entry: the commands of ``entry``, which stands in ``menu``, with other arguments for the kernel.

    ``arguments`` are words as GRUB's ``linux`` command is to get them. Raises :class:`GrubScriptError` where the
    entry is not laid out as generated ones are, one command a line.
    """
    lines = menu.split("\n")
    opening, closing = _span(menu, entry)
    by_line: dict[int, list[Token]] = {}
    for token in tokenise(menu):
        by_line.setdefault(token.line, []).append(token)
    body = []
    kernels = 0
    for number in range(opening + 1, closing):
        words = [token.text for token in by_line.get(number, []) if token.kind == "word"]
        command = words[0] if words else ""
        if command in LINUX_COMMANDS:
            kernels += 1
            body.append("\t" + " ".join([command, _quoted(entry.words[0]), *map(_quoted, arguments)]))
        elif command != "savedefault":
            body.append(lines[number - 1])
    if kernels != 1:
        raise GrubScriptError(
            opening, "the entry that boots by default does not start its kernel in one line"
        )
    options = ["--unrestricted"] if any(t.text == "--unrestricted" for t in by_line[opening]) else []
    head = " ".join(
        ["menuentry", f"'Carveout: trial of layout {layout_id}'", *options, "--id", TRIAL_ID, "{"]
    )
    return "\n".join([_BEGIN, head, *body, "}", _END, ""])


def _span(menu: str, entry: BootEntry) -> tuple[int, int]:
    """The lines of an entry's ``menuentry ... {`` and of its ``}``, each alone with nothing else behind it."""
    tokens = [token for token in tokenise(menu) if token.line >= entry.line > 0]
    title = entry.title.rpartition(">")[2]
    if len(tokens) < 2 or tokens[0].text != "menuentry" or "".join(p.text for p in tokens[1].pieces) != title:
        raise GrubScriptError(
            entry.line, f"the entry {entry.title!r} does not stand in the generated menu itself"
        )
    depth = opening = 0
    for before, token, after in zip(tokens, tokens[1:], tokens[2:]):
        if token.kind != "operator" or token.text not in "{}":
            continue
        depth += 1 if token.text == "{" else -1
        if depth == 1 and not opening and after.text == "\n":
            opening = token.line
        elif not depth and opening and before.text == after.text == "\n":
            return opening, token.line
        if not depth or not opening:
            break
    raise GrubScriptError(entry.line, f"the entry {entry.title!r} is not laid out one command a line")


def _quoted(word: str) -> str:
    """A word that means itself to GRUB, whatever is in it."""
    return "'" + word.replace("'", "'\\''") + "'"


def argument_words(arguments: Sequence[str]) -> list[str]:
    """Kernel arguments as the words that ``linux`` needs. Raises as :func:`grub_word` for what cannot arrive."""
    words = []
    for argument in arguments:
        grub_word(argument)
        words.append(argument.replace('"', ""))
    return words


def arguments_of(words: Sequence[str]) -> list[str]:
    """What the kernel is handed for each word."""
    return [loader_text([word]) for word in words]
