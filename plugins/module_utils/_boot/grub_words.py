# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Words of GRUB's script language, and what its Linux loader makes of them.

Modelled on grub-core/script/yylex.l (what a word is), script/execute.c and argv.c (what it expands
to) and lib/cmdline.c (what the kernel is handed), and corrected by what GRUB 2.12 of Debian 13 showed
in /proc/cmdline.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple

#: What the loader puts before the path of the image (include/grub/lib/cmdline.h, LINUX_IMAGE).
LINUX_IMAGE = "BOOT_IMAGE="

#: Characters that the words of one command may grow to; a kernel reads 2047.
MAX_SIZE = 1 << 20


class GrubScriptError(ValueError):
    """A text that GRUB's script language does not allow, with the line it happens in."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}")


class Piece(NamedTuple):
    """Part of a word. ``kind``: text, var, or quoted-var (which is not split into words)."""

    kind: str
    text: str


class Token(NamedTuple):
    """``kind``: word or operator. ``text`` is as written; ``pieces`` are what a word is made of."""

    kind: str
    text: str
    pieces: tuple[Piece, ...]
    line: int


#: Values of a variable: one for most, several for ``$@``; the flag tells whether it is unquoted.
Lookup = Callable[[str], Sequence[str]]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#*@]"
_VARIABLE = re.compile(rf"\$(?:({_NAME})|\{{({_NAME})\}})")
_WORD = re.compile(
    r"(?:[^{}|&$;<> \t\n'\"\\]"  # a plain character
    r'|"(?:\\[\s\S]|[^\\"])*"'
    r"|'[^']*'"
    r"|\\[\s\S]"
    rf"|{_VARIABLE.pattern})+"
)
_OPERATOR = re.compile(r"\|\||&&|;;|[\n|&;<>{}]")
_BLANKS = re.compile(r"(?:[ \t]|#[^\n]*)+")
_ANY_SPACE = re.compile(r"[ \t\n\v\f\r]+")


def tokenise(source: str) -> Iterator[Token]:
    """The tokens of a script. Raises :class:`GrubScriptError` where GRUB's lexer gives up."""
    position, line = 0, 1
    while position < len(source):
        blanks = _BLANKS.match(source, position)
        if blanks:
            position = blanks.end()
            continue
        operator = _OPERATOR.match(source, position)
        found = operator or _WORD.match(source, position)
        if not found:
            raise GrubScriptError(line, f"GRUB cannot read {source[position : position + 20]!r}")
        text = found.group()
        yield Token("operator" if operator else "word", text, () if operator else _pieces(text, line), line)
        line += text.count("\n")
        position = found.end()


def _pieces(word: str, line: int) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    position = 0
    while position < len(word):
        char = word[position]
        if char == "'":
            end = word.index("'", position + 1)
            pieces.append(Piece("text", word[position + 1 : end]))
            position = end + 1
        elif char == '"':
            position = _double_quoted(word, position + 1, line, pieces)
        elif char == "$":
            position = _variable(word, position, line, "var", pieces)
        elif char == "\\":
            escaped = word[position + 1]
            if escaped != "\n":
                pieces.append(Piece("text", escaped))
            position += 2
        else:
            pieces.append(Piece("text", char))
            position += 1
    return tuple(pieces)


def _variable(word: str, position: int, line: int, kind: str, pieces: list[Piece]) -> int:
    found = _VARIABLE.match(word, position)
    if not found:
        raise GrubScriptError(line, f"a `$` that names no variable in {word!r}")
    pieces.append(Piece(kind, found.group(1) or found.group(2)))
    return found.end()


def _double_quoted(word: str, position: int, line: int, pieces: list[Piece]) -> int:
    pieces.append(Piece("text", ""))  # an empty pair of quotes is a word too
    while word[position] != '"':
        char = word[position]
        if char == "$":
            position = _variable(word, position, line, "quoted-var", pieces)
        elif char == "\\" and word[position + 1] in '$\\"\n':
            if word[position + 1] != "\n":
                pieces.append(Piece("text", word[position + 1]))
            position += 2
        else:
            pieces.append(Piece("text", char))
            position += 1
    return position + 1


class _Arguments:
    """``grub_script_argv``: a new argument exists only once something was appended to it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._open = False
        self._size = 0

    def next(self) -> None:
        self._open = False

    def append(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_SIZE:
            raise GrubScriptError(0, "a command grows without bounds")
        if self._open:
            self.words[-1] += text
        else:
            self.words.append(text)
            self._open = True


def expand(words: Sequence[Sequence[Piece]], lookup: Lookup) -> list[str]:
    """The arguments that words become. Unknown variables are empty; file names are not matched."""
    arguments = _Arguments()
    for word in words:
        arguments.next()
        for piece in word:
            if piece.kind == "text":
                arguments.append(piece.text)
            else:
                _append_values(arguments, lookup(piece.text), piece.kind == "var")
    return arguments.words


def _append_values(arguments: _Arguments, values: Sequence[str], split: bool) -> None:
    for index, value in enumerate(values):
        if index:
            arguments.next()
        if not value:
            continue
        parts = _ANY_SPACE.split(value) if split else [value]
        if len(parts) > 1 and not parts[-1]:
            del parts[-1]
        for number, part in enumerate(parts):
            if number:
                arguments.next()
            arguments.append(part)


def loader_text(words: Sequence[str]) -> str:
    """The words as ``grub_create_loader_cmdline`` joins them.

    A backslash goes before each ``\\``, ``'`` and ``"``, double quotes go around a word with a space
    in it, one space between words.
    """
    texts = (re.sub(r"""([\\'"])""", r"\\\1", word) for word in words)
    return " ".join(f'"{text}"' if " " in text else text for text in texts)


def command_line(words: Sequence[str]) -> str:
    """/proc/cmdline of a kernel started by ``linux`` with these words: the image, then arguments."""
    return LINUX_IMAGE + loader_text(words)
