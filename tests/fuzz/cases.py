# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One case: files in the working directory and the arguments of one call, from a seed and a number."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from . import mutate, samples, taken_over

RELEASES = ("5.4.119", "5.10.0", "6.1.0-50-amd64", "6.12.117", "7.2.13")
NO_RELEASES = ("5.9.1", "0.0", "latest", "", "6.12;x", "9" * 200)


@dataclass
class Case:
    """``argv`` for the command; ``plan_at_fault`` where every error has to name a place in the plan.

    ``judged`` are the plan and the host of which the layout may take nothing but what is there.
    """

    kind: str
    argv: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    plan_at_fault: bool = False
    judged: tuple[Any, Any] | None = None

    def __str__(self) -> str:
        shown = "".join(
            f"\n--- {name}\n{data.decode('utf-8', 'backslashreplace')}" for name, data in self.files.items()
        )
        return f"{self.kind}: carveout {' '.join(map(ascii, self.argv))}{shown}"


@cache
def _host() -> dict[str, Any]:
    return samples.host()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def base_files() -> dict[str, bytes]:
    """What every case finds in its directory."""
    plain = {**_host(), "committed": None, "layouts": {}, "boot_arguments": ["quiet"], "foreign": []}
    return {
        "plan.yml": _bytes(json.dumps(samples.PLAN)),
        "host.json": _bytes(json.dumps(plain)),
        "carved.json": _bytes(json.dumps(_host())),
        "layout.json": _bytes(json.dumps(next(iter(_host()["layouts"].values())))),
        "dmesg.txt": _bytes(samples.DMESG),
        "hosts/a.json": _bytes(json.dumps(plain)),
        "hosts/b.json": b"{}",
    }


def make(seed: int, number: int) -> Case:
    chance = random.Random(f"{seed} {number}")
    case = chance.choices([maker for maker, _ in _MAKERS], [weight for _, weight in _MAKERS])[0](chance)
    if "--format" not in case.argv and chance.random() < 0.6:
        case.argv += ["--format", "json"]
    return case


def _plan(chance: random.Random) -> Case:
    text = mutate.json_text(mutate.mutated(samples.PLAN, chance), chance)
    host = chance.choice(("host.json", "host.json", "carved.json"))
    argv = ["plan", "x.yml", "--host", host] if chance.random() < 0.8 else ["check", "x.yml", "--host", host]
    return Case("plan", argv, {"x.yml": _bytes(text)}, plan_at_fault=True)


def _yaml(chance: random.Random) -> Case:
    data = samples.PLAN if chance.random() < 0.6 else mutate.mutated(samples.PLAN, chance)
    text = _bytes(mutate.yaml_text(data, chance))
    if chance.random() < 0.3:
        text = mutate.mangled(text, chance)
    argv = ["check", "x.yml"] if chance.random() < 0.5 else ["plan", "x.yml", "--host", "host.json"]
    return Case("yaml", argv, {"x.yml": text}, plan_at_fault=True)


def _host_data(chance: random.Random) -> Case:
    text = _bytes(mutate.json_text(mutate.mutated(_host(), chance), chance))
    if chance.random() < 0.1:
        text = mutate.mangled(text, chance)
    what = chance.random()
    if what < 0.5:
        argv = ["plan", "plan.yml", "--host", "x.json"]
        if chance.random() < 0.2:
            argv += ["--format", "svg"]
    elif what < 0.65:
        argv = ["verify", "--layout", "layout.json", "--host", "x.json"]
    elif what < 0.7:
        argv = ["check", "plan.yml", "--host", "x.json", "--host", "host.json"]
    elif what < 0.75:
        return Case("host", ["plan", "plan.yml", "--host", "hosts", "--out", "out"], {"hosts/x.json": text})
    else:
        argv = ["predict", "--host", "x.json", "--cmdline", mutate.command_line(chance)]
    return Case("host", argv, {"x.json": text})


def _command_line(chance: random.Random) -> Case:
    argv = [
        "predict",
        "--host",
        chance.choice(("host.json", "carved.json")),
        "--cmdline",
        mutate.command_line(chance),
    ]
    if chance.random() < 0.5:
        argv += ["--kernel", chance.choice(RELEASES if chance.random() < 0.9 else NO_RELEASES)]
    return Case("command line", argv)


def _booted(chance: random.Random) -> Case:
    """The line stands on the host already: the planner has to live with it, or to refuse."""
    line = mutate.command_line(chance)
    host = {**_host(), "boot_arguments": None, "cmdline": line}
    if chance.random() < 0.5:
        host = {**host, "boot_arguments": line.split(), "cmdline": ""}
    command = ["verify", "--layout", "layout.json"] if chance.random() < 0.2 else ["plan", "plan.yml"]
    return Case("booted line", [*command, "--host", "x.json"], {"x.json": _bytes(json.dumps(host))})


def _layout(chance: random.Random) -> Case:
    layout = next(iter(_host()["layouts"].values()))
    text = _bytes(mutate.json_text(mutate.mutated(layout, chance), chance))
    if chance.random() < 0.6:
        argv = ["plan", "plan.yml", "--host", "host.json", "--previous", "x.json"]
    else:
        argv = ["verify", "--layout", "x.json", "--host", "carved.json"]
    return Case("layout", argv, {"x.json": text})


def _log(chance: random.Random) -> Case:
    data = _bytes(samples.DMESG)
    if chance.random() < 0.5:
        lines = samples.DMESG.splitlines()
        chance.shuffle(lines)
        lines = lines[: chance.randint(0, 8)] + chance.choices(lines, k=chance.randint(0, 4))
        data = _bytes("\n".join(lines))
    return Case("log", ["host", "--dmesg", "x", "--format", "json"], {"x": mutate.mangled(data, chance)})


def _arguments(chance: random.Random) -> Case:
    words = [
        "plan", "check", "verify", "predict", "host", "plan.yml", "host.json", "layout.json", "hosts", "out",
        "gone", ".", "", "--host", "--host", "--out", "--previous", "--kernel", "--replan", "--format", "json",
        "text", "svg", "--jobs", "2", "-1", "--cmdline", "mem=1G", "--layout", "--committed", "--dmesg",
        "dmesg.txt", "--help", "--version", "-x", "--", "\x00", "\ud800", "é", "a" * 5000, "~nobody",
        "--host=host.json", "--jobs=99999999999999999999", "=", "-",
    ]  # fmt: skip
    start = {
        "plan": ["plan", "plan.yml", "--host", "host.json"],
        "many": ["plan", "plan.yml", "--host", "hosts", "--out", "out"],
        "check": ["check", "plan.yml", "--host", "hosts"],
        "predict": ["predict", "--host", "host.json", "--cmdline", "mem=1G"],
        "verify": ["verify", "--layout", "layout.json", "--host", "carved.json"],
        "host": ["host", "--dmesg", "dmesg.txt"],
        "none": [],
    }  # fmt: skip
    argv = list(chance.choice(list(start.values())))
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(argv))
        if chance.random() < 0.6 or at == len(argv):
            argv.insert(at, chance.choice(words))
        elif chance.random() < 0.5:
            argv[at] = chance.choice(words)
        else:
            del argv[at]
    if "-" in argv and "--dmesg" in argv:
        argv.remove("-")  # that is standard input
    return Case("arguments", argv)


def _taken_over(chance: random.Random) -> Case:
    """A host that lies, and forges what it stores: the layout is what the plan says, or it is refused."""
    plan, host = taken_over.make(chance)
    files = {"p.yml": _bytes(json.dumps(plan)), "x.json": _bytes(json.dumps(host))}
    return Case(
        "taken over", ["plan", "p.yml", "--host", "x.json", "--format", "json"], files, judged=(plan, host)
    )


_MAKERS: list[tuple[Callable[[random.Random], Case], int]] = [
    (_plan, 26), (_yaml, 14), (_host_data, 22), (_command_line, 18), (_booted, 6), (_layout, 6), (_log, 4),
    (_arguments, 4), (_taken_over, 12),
]  # fmt: skip
