# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GRUB's script language read into commands (grub-core/script/parser.y).

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from .grub_words import GrubScriptError, Piece, Token, tokenise

#: Blocks within blocks: a generated menu needs four.
MAX_DEPTH = 50


@dataclass(frozen=True)
class Command:
    """Words, and the ``{ ... }`` that follows them, if any."""

    words: tuple[tuple[Piece, ...], ...]
    block: tuple[Statement, ...] | None
    line: int


@dataclass(frozen=True)
class If:
    """``if`` and its ``elif`` as (condition, then) in order, and ``else``."""

    branches: tuple[tuple[tuple[Statement, ...], tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True)
class For:
    name: str
    words: tuple[tuple[Piece, ...], ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class While:
    """``while``, or ``until`` where ``until`` is set."""

    until: bool
    condition: tuple[Statement, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Function:
    name: str
    body: tuple[Statement, ...]


Statement = Union[Command, If, For, While, Function]


def parse(source: str) -> tuple[Statement, ...]:
    """The statements of a script. Raises :class:`GrubScriptError` where GRUB would not take it."""
    parser = _Parser(list(tokenise(source)))
    statements = parser.statements(())
    if parser.current is not None:
        raise parser.unexpected()
    return statements


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    @property
    def current(self) -> Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def unexpected(self) -> GrubScriptError:
        token = self.current
        if token is None:
            return GrubScriptError(self._tokens[-1].line if self._tokens else 1, "unexpected end")
        return GrubScriptError(token.line, f"unexpected {token.text!r}")

    def _is(self, kind: str, *texts: str) -> bool:
        token = self.current
        return token is not None and token.kind == kind and token.text in texts

    def _take(self, kind: str, *texts: str) -> Token:
        token = self.current
        if token is None or token.kind != kind or (texts and token.text not in texts):
            raise self.unexpected()
        self._position += 1
        return token

    def _skip_delimiters(self) -> None:
        while self._is("operator", "\n", ";"):
            self._position += 1

    def statements(self, ends: tuple[str, ...]) -> tuple[Statement, ...]:
        """Statements up to one of ``ends`` (reserved words or ``}``) or the end of the text."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise GrubScriptError(self.current.line if self.current else 1, "too many nested blocks")
        found: list[Statement] = []
        self._skip_delimiters()
        while self.current is not None and not (
            self._is("word", *ends) or ("}" in ends and self._is("operator", "}"))
        ):
            found.append(self._statement())
            if self.current is not None and not self._is("operator", "\n", ";", "}"):
                raise self.unexpected()
            self._skip_delimiters()
        self._depth -= 1
        return tuple(found)

    def _statement(self) -> Statement:
        token = self._take("word")
        if token.text == "if":
            return self._if()
        if token.text == "for":
            return self._for()
        if token.text in ("while", "until"):
            condition = self.statements(("do",))
            self._take("word", "do")
            return While(token.text == "until", condition, self._up_to("done"))
        if token.text == "function":
            name = self._take("word").text
            self._skip_delimiters()
            return Function(name, self._block())
        words = [token.pieces]
        while self.current is not None and self.current.kind == "word":
            words.append(self._take("word").pieces)
        block = self._block() if self._is("operator", "{") else None
        return Command(tuple(words), block, token.line)

    def _up_to(self, end: str) -> tuple[Statement, ...]:
        body = self.statements((end,))
        self._take("word", end)
        return body

    def _block(self) -> tuple[Statement, ...]:
        self._take("operator", "{")
        body = self.statements(("}",))
        self._take("operator", "}")
        return body

    def _if(self) -> If:
        branches = []
        otherwise: tuple[Statement, ...] = ()
        while True:
            condition = self.statements(("then",))
            self._take("word", "then")
            branches.append((condition, self.statements(("elif", "else", "fi"))))
            end = self._take("word", "elif", "else", "fi").text
            if end == "else":
                otherwise = self._up_to("fi")
            if end != "elif":
                return If(tuple(branches), otherwise)

    def _for(self) -> For:
        name = self._take("word").text
        self._take("word", "in")
        words = []
        while self.current is not None and self.current.kind == "word":
            words.append(self._take("word").pieces)
        self._skip_delimiters()
        self._take("word", "do")
        return For(name, tuple(words), self._up_to("done"))
