# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a GRUB script far enough to know its menu, and what an entry hands to the kernel.

Commands that only load modules, find disks or draw are taken to succeed. Loops and calls are
bounded: a menu is read from a host that is not trusted.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Callable

from .grub_script import Command, For, Function, If, Statement, While, parse
from .grub_test import evaluate
from .grub_words import GrubScriptError, Piece, expand
from .grubenv import variables_of

#: Commands run for one menu; a generated one with 20 kernels needs about a thousand.
MAX_STEPS = 200_000
MAX_CALLS = 50

PREFIX = "/boot/grub"
#: Environment that GRUB 2.06 and later start a menu with (grub-core/normal/main.c).
FEATURES = (
    "feature_chainloader_bpb", "feature_ntldr", "feature_platform_search_hint",
    "feature_default_font_path", "feature_all_video_module", "feature_menuentry_id",
    "feature_menuentry_options", "feature_200_final", "feature_nativedisk_cmd",
    "feature_timeout_style",
)  # fmt: skip
LINUX_COMMANDS = ("linux", "linux16", "linuxefi")
#: Commands that make or replace a menu in a way that this reader does not follow.
OTHER_MENUS = (
    "blscfg",
    "blsuki",
    "configfile",
    "legacy_configfile",
    "syslinux_configfile",
    "normal",
    "bls_import",
)

ReadFile = Callable[[str], "str | None"]
#: The entries that ``blscfg`` makes of the files of the Boot Loader Specification, given GRUB's variables.
MakeEntries = Callable[[Mapping[str, str]], "Sequence[Entry]"]


@dataclass(frozen=True)
class Entry:
    """A menu entry or submenu: ``arguments`` are its title and what follows, ``line`` is where it begins."""

    title: str
    id: str
    arguments: tuple[str, ...]
    body: tuple[Statement, ...]
    submenu: bool
    line: int = 0


class _Return(Exception):
    """``return`` in a function."""


class _LoopEnd(Exception):
    def __init__(self, again: bool) -> None:
        self.again = again


@dataclass
class Machine:
    """``files`` reads a file of the host by its path, None where it cannot be read.

    ``prefix`` is GRUB's directory on the host; ``bls`` makes the entries of ``blscfg``, None where that command is
    not followed.
    """

    files: ReadFile
    prefix: str = PREFIX
    bls: MakeEntries | None = None
    variables: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    functions: dict[str, tuple[Statement, ...]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    linux: list[str] | None = None
    elsewhere: str = ""
    _scope: tuple[str, ...] = ()
    _calls: int = 0
    _steps: int = 0

    @classmethod
    def fresh(
        cls, files: ReadFile, platform: str, prefix: str = PREFIX, bls: MakeEntries | None = None
    ) -> Machine:
        variables = {"prefix": prefix, "config_directory": prefix, "root": "", "grub_platform": platform}
        variables.update((feature, "y") for feature in FEATURES)
        return cls(files, prefix, bls, variables, exported=set(variables))

    def nested(self) -> Machine:
        """The machine for a submenu: only exported variables go in (grub_env_context_open)."""
        kept = {name: value for name, value in self.variables.items() if name in self.exported}
        return Machine(
            self.files,
            self.prefix,
            self.bls,
            kept,
            set(self.exported),
            dict(self.functions),
            _steps=self._steps,
        )

    def copy(self) -> Machine:
        """The machine as an entry finds it, left as it is by what the entry does; without the menu."""
        return replace(
            self, variables=dict(self.variables), exported=set(self.exported), entries=[], linux=None
        )

    def run(self, body: Sequence[Statement], arguments: tuple[str, ...] = ()) -> None:
        """Run statements with the positional arguments ``$1``, ``$2``...

        Raises :class:`GrubScriptError` where they do not end.
        """
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise GrubScriptError(0, "functions call each other without end")
        outer, self._scope = self._scope, arguments
        try:
            self._block(body)
        except _Return:
            pass
        except _LoopEnd:
            raise GrubScriptError(0, "break or continue outside of a loop") from None
        finally:
            self._scope = outer
            self._calls -= 1

    def _lookup(self, name: str) -> Sequence[str]:
        if name == "#":
            return [str(len(self._scope))]
        if name == "*":
            return [" ".join(self._scope)]
        if name == "@":
            return self._scope
        if name.isdigit():
            index = int(name[:6]) - 1
            return [self._scope[index]] if 0 <= index < len(self._scope) else []
        return [self.variables.get(name, "")]

    def _expand(self, words: Sequence[Sequence[Piece]]) -> list[str]:
        return expand(words, self._lookup)

    def _succeeded(self) -> bool:
        return self.variables.get("?", "0") == "0"

    def _block(self, body: Sequence[Statement]) -> None:
        for statement in body:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise GrubScriptError(0, "the script does not end")
            self._statement(statement)

    def _statement(self, statement: Statement) -> None:
        if isinstance(statement, Command):
            self._command(statement)
        elif isinstance(statement, Function):
            self.functions[statement.name] = statement.body
        elif isinstance(statement, If):
            for condition, then in statement.branches:
                self._block(condition)
                if self._succeeded():
                    self._block(then)
                    return
            self._block(statement.otherwise)
        elif isinstance(statement, For):
            for word in self._expand(statement.words):
                self.variables[statement.name] = word
                if not self._loop(statement.body):
                    return
        else:
            self._while(statement)

    def _while(self, statement: While) -> None:
        while True:
            self._block(statement.condition)
            self._steps += 1
            if self._succeeded() == statement.until or not self._loop(statement.body):
                return

    def _loop(self, body: Sequence[Statement]) -> bool:
        try:
            self._block(body)
        except _LoopEnd as end:
            return end.again
        return True

    def _command(self, command: Command) -> None:
        words = self._expand(command.words)
        if not words:
            return
        inverted = words[0] == "!" and len(words) > 1
        if inverted:
            words = words[1:]
        success = self._builtin(words[0], words[1:], command)
        self.variables["?"] = "0" if success != inverted else "1"

    def _builtin(self, name: str, arguments: list[str], command: Command) -> bool:
        if name in ("menuentry", "submenu"):
            self._add_entry(name == "submenu", arguments, command)
        elif name in LINUX_COMMANDS:
            self.linux = arguments
        elif name == "set":
            if arguments and "=" in arguments[0]:
                variable, _, value = arguments[0].partition("=")
                self.variables[variable] = value
        elif name == "unset":
            for variable in arguments:
                self.variables.pop(variable, None)
        elif name == "export":
            self.exported.update(arguments)
        elif name == "load_env":
            self._load_env(arguments)
        elif name in ("[", "test"):
            return evaluate(arguments[:-1] if name == "[" else arguments, self._file)
        elif name in ("false", "true"):
            return name == "true"
        elif name in ("source", "."):
            self._source(arguments)
        elif name == "return":
            if arguments:
                self.variables["?"] = arguments[0]
            raise _Return
        elif name in ("break", "continue"):
            raise _LoopEnd(name == "continue")
        elif name == "blscfg" and self.bls is not None:
            self.entries.extend(self.bls(self.variables))
        elif name in OTHER_MENUS:
            self.elsewhere = name
        elif name in self.functions:
            self.run(self.functions[name], tuple(arguments))
            return self._succeeded()
        elif "=" in name:
            variable, _, value = name.partition("=")
            self.variables[variable] = value
        return True

    def _add_entry(self, submenu: bool, arguments: list[str], command: Command) -> None:
        titles: list[str] = []
        identity = ""
        rest = iter(arguments)
        for argument in rest:
            option, equals, value = argument.partition("=")
            if titles and titles[0] == "--":
                titles.append(argument)
            elif option in ("--class", "--users", "--hotkey", "--source", "--id"):
                value = value if equals else next(rest, "")
                identity = value if option == "--id" else identity
            elif argument != "--unrestricted":
                titles.append(argument)
        if titles and titles[0] == "--":
            del titles[0]
        title = titles[0] if titles else ""
        body = command.block or ()
        self.entries.append(Entry(title, identity or title, tuple(titles), body, submenu, command.line))

    def _file(self, path: str) -> str | None:
        # "(hd0,gpt2)/boot/..." and "/boot/...": whichever disk, it is this host's
        _, _, after = path.rpartition(")")
        return self.files(after) if after.startswith(self.prefix + "/") else None

    def _load_env(self, arguments: list[str]) -> None:
        path = self.variables.get("prefix", "") + "/grubenv"
        wanted: list[str] = []
        rest = iter(arguments)
        for argument in rest:
            if argument in ("-f", "--file"):
                path = next(rest, "")
            elif argument.startswith("--file="):
                path = argument[len("--file=") :]
            elif not argument.startswith("-"):
                wanted.append(argument)
        block = variables_of(self._file(path) or "")
        self.variables.update((n, v) for n, v in block.items() if not wanted or n in wanted)

    def _source(self, arguments: list[str]) -> None:
        text = self._file(arguments[0]) if arguments else None
        if text is not None:
            self._calls += 1
            if self._calls > MAX_CALLS:
                raise GrubScriptError(0, "files source each other without end")
            self._block(parse(text))
            self._calls -= 1
