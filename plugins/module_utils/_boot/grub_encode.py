# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernel arguments written so that they arrive in /proc/cmdline as they are.

Three readers stand between our drop-in and the kernel: sh, when grub-mkconfig sources the file;
GRUB, whose script the arguments are printed into as they are (10_linux, a here document); and
GRUB's Linux loader, which joins words again (lib/cmdline.c). The way here is back to front.

The loader decides what can arrive at all. It puts a backslash before every ``'``, ``"`` and ``\\``,
and double quotes around each word with a space in it. So an argument with blanks arrives if it is
quoted as a whole (``"name=a b"``), and no other quote and no backslash ever reaches the kernel
unharmed.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._arguments import split
from .._errors import InvalidInput, NotPossible
from .grub_words import GrubScriptError, expand, loader_text, tokenise

VARIABLE = "GRUB_CMDLINE_LINUX_DEFAULT"

#: A word that means itself to GRUB without quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.@!%,:=+/-]+")
#: Words of the language itself; GRUB takes most of them as arguments, but not all (parser.y).
_RESERVED = frozenset(
    [
        "case",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "for",
        "function",
        "if",
        "in",
        "select",
        "then",
        "time",
        "until",
        "while",
    ]
)
#: A `$` with anything else behind it means itself to sh.
_EXPANSION = re.compile(r"\$[A-Za-z0-9_{(@*#?$!-]")
_REFERENCE = re.compile(rf"\$(?:{VARIABLE}\b|\{{{VARIABLE}\}})")


def encode(tokens: Sequence[str]) -> str:
    """The value that adds ``tokens`` to the variable, as sh text in double quotes.

    Raises :class:`InvalidInput` for what is no argument, :class:`NotPossible` for what GRUB cannot
    hand to a kernel.
    """
    words = [grub_word(token) for token in tokens]
    text = re.sub(r'([\\"$`])', r"\\\1", " ".join(words))
    return f'"${VARIABLE} {text}"'


def check_one_argument(token: str) -> None:
    """Raises :class:`InvalidInput` for what is not one argument, :class:`NotPossible` for what is not ASCII."""
    if split(token) != [token]:
        raise InvalidInput.of(
            "arguments",
            "argument-invalid",
            f"{token!r} is not one kernel argument: blanks need double quotes around the whole"
            f' argument ("name=a b")',
        )
    strange = re.search(r"[^ -~]", token)
    if strange:
        raise NotPossible.of(
            "arguments",
            "argument-not-encodable",
            f"the argument {token!r} cannot be relied on to reach the kernel unchanged: boot loaders are only known to"
            f" pass printable ASCII, not {strange.group()!r}",
        )


def grub_word(token: str) -> str:
    """The argument as a word of GRUB's script language. Raises as ``encode``."""
    check_one_argument(token)
    word = token
    if " " in token:
        if not (token.startswith('"') and token.endswith('"') and token.count('"') == 2):
            raise _impossible(
                token, f'puts double quotes around the whole argument: write "{token.replace(chr(34), "")}"'
            )
        word = token[1:-1]
    for char in word:
        if char in "'\"\\":
            raise _impossible(token, f"puts a backslash before {char}")
    return word if _PLAIN.fullmatch(word) and word not in _RESERVED else f"'{word}'"


def _impossible(token: str, reason: str) -> NotPossible:
    return NotPossible.of(
        "arguments",
        "argument-not-encodable",
        f"the argument {token} cannot reach the kernel through GRUB unchanged: its loader {reason}",
    )


def decode(text: str) -> list[str]:
    """The kernel arguments that a value written for sh leads to, references to the variable left out.

    The inverse of :func:`encode`, and as far as it goes for what others wrote. Raises
    :class:`ValueError` where the value needs a shell to be known.
    """
    pieces = []
    for token in tokenise(shell_value(text)):
        if token.kind == "operator":
            raise GrubScriptError(token.line, f"{token.text!r} ends GRUB's command")
        pieces.append(token.pieces)
    return split(loader_text(expand(pieces, lambda name: [""])))


def shell_value(text: str) -> str:
    """What sh makes of the right side of an assignment.

    References to GRUB_CMDLINE_LINUX_DEFAULT are left out. Raises :class:`ValueError` for any other
    expansion, and for what is not one word.
    """
    result = ""
    position = 0
    quoted = False
    while position < len(text):
        char = text[position]
        reference = _REFERENCE.match(text, position)
        if reference:
            position = reference.end()
            continue
        if char == "'" and not quoted:
            end = text.find("'", position + 1)
            if end < 0:
                raise ValueError("a quote is not closed")
            result += text[position + 1 : end]
            position = end + 1
            continue
        if char == '"':
            quoted = not quoted
        elif char == "\\" and position + 1 < len(text):
            position += 1
            if text[position] == "\n":
                pass
            elif quoted and text[position] not in '$`"\\':
                result += "\\" + text[position]
            else:
                result += text[position]
        elif char == "`" or _EXPANSION.match(text, position) or (not quoted and char in " \t\n;&|<>()"):
            raise ValueError(f"{char!r} at {position} needs a shell to be understood")
        else:
            result += char
        position += 1
    if quoted:
        raise ValueError("a quote is not closed")
    return result
