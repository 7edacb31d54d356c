# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to spoil data and text."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import yaml

#: Put where the text shall be nested without end: what writes JSON could not.
DEEP = "nested without end"

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**32, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 10**30,
    -(10**40), 1.5, 4294967296.0, 1e308, float("inf"), float("-inf"), float("nan"), -0.0, "", " ", "rest",
    "1GiB", "900TiB", "1GB", "1.5GiB", "0.1KiB", "5%", "100%", "101%", "0%", "٣%", "٣GiB", "0", "-1", "1e9",
    "0x10", "dax", "reserved", "auto", "dmemfs", "vm-a", "a b", "../x", "/", "~", "x" * 5000, "9" * 5000,
    "0660", "\x00", "\x1b[2J", "\u2028", "\ud800", "\U0001f600", "é", "e\u0301", "\u202e", "\n", "a\nb", "'",
    '"', "\\", "%s", "{}", [], {}, [[]], [1], [1, 2, 3], [[0, 1, 1]], {"": 1}, {"size": "1GiB"}, {"0": "rest"},
    {"9999": "1GiB"}, [None], {"name": "x", "size": "rest"}, {"offset": 0, "size": "2MiB"}, 4096, 2 << 20,
    4 << 30, 1 << 52, "memmap=1G$5G", "--", "mem=0", "carveout.layout=0123456789abcdef", DEEP,
]  # fmt: skip
KEYS = [
    "x",
    "size",
    "0",
    "1",
    "01",
    "-1",
    "memory",
    "nodes",
    "",
    "\x07",
    "\ud800",
    "é",
    "version",
    "a" * 300,
    "__class__",
]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(data, dict):
        for key, value in data.items():
            found += places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            found += places(value, (*path, index))
    return found


def mutated(data: Any, chance: random.Random) -> Any:
    """One to four values replaced, removed, doubled, renamed, or moved elsewhere."""
    data = copy.deepcopy(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        every = places(data)
        if not every:
            break
        path = chance.choice(every)
        inner = data
        for part in path[:-1]:
            inner = inner[part]
        _change(data, inner, path[-1], every, chance)
    return data


def _change(data: Any, inner: Any, key: Any, every: list[tuple[Any, ...]], chance: random.Random) -> None:
    what = chance.random()
    if what < 0.4:
        inner[key] = copy.deepcopy(chance.choice(ODD))
    elif what < 0.5:
        inner[key] = near(inner[key], chance)
    elif what < 0.6:
        del inner[key]
    elif what < 0.75 and isinstance(inner, dict):
        inner[chance.choice(KEYS)] = inner[key]
    elif what < 0.85 and isinstance(inner, list):
        inner.insert(chance.randint(0, len(inner)), copy.deepcopy(inner[key]))
    elif what < 0.855 and isinstance(inner, list):
        inner[key:key] = [inner[key]] * 500
    else:
        other = data
        for part in chance.choice(every):
            if isinstance(other, (dict, list)):
                other = other[part]
        inner[key] = copy.deepcopy(other)


def near(value: Any, chance: random.Random) -> Any:
    """Nearly the same: the most dangerous of all wrong values."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return chance.choice([value + 1, value - 1, -value, value * 2, value << 20, float(value), str(value)])
    if isinstance(value, str) and value:
        at = chance.randrange(len(value))
        return chance.choice(
            [
                value[:at] + value[at + 1 :],
                value[:at] + chance.choice("0 .-_\u00e9A\x00%") + value[at:],
                value.upper(),
                [value],
            ]
        )
    return [value]


def json_text(data: Any, chance: random.Random) -> str:
    """Written down, sometimes with a key twice, cut off, or nested without end."""
    text = json.dumps(data)
    if DEEP in text:
        depth = chance.choice((13, 21, 100, 1000, 20_000))
        opening, closing = chance.choice((("[", "]"), ('{"a":', "}")))
        text = text.replace(json.dumps(DEEP), opening * depth + "1" * (opening != "[") + closing * depth, 1)
    what = chance.random()
    if what < 0.03:
        text = text[: chance.randrange(len(text) + 1)]
    elif what < 0.06 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + ", " + text[1:]
    elif what < 0.08:
        text += chance.choice(("x", "{}", "\x00", ",", "\ufeff"))
    return text


YAML_TRICKS = [
    "&a ", "*a", "*b", "<<: *a", "!!int ", "!!int x", "!!float .nan", "!!float x", "!!bool maybe", "!!null x",
    "!!binary x", "!!binary =", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp x",
    "!!timestamp 2001-99-99", "2001-01-01", "2001-13-45", "12:30:45", "0660", "0o17", "0b2", "0x", "1_000",
    ".inf", "-.inf", ".nan", "~", "yes", "NO", "=", "<<", "!!python/object/apply:os.system [id]",
    "!!python/name:os.system", "!x ", "!<tag:yaml.org,2002:str> 1", "!", "!!", "! 1", "? [a]\n: b",
    "? {a: b}\n: c", "--- \n", "\n---\n", "\n...\n", "%YAML 9.9\n---\n", "%TAG ! x\n---\n", "\t", "\r", "\x00",
    "\x85", "\u2028", "\ufeff", "|\n  x\n", ">-\n x\n", "|9\n x", "\"\\x\"", '"\\ud800"', '"\\U00110000"', "'",
    '"', "{", "}", "[", "]", ",", ": ", "- ", "# ", "#", "[[[[[[[[[[[[[[[[[[", "{a: {a: {a: ", "@", "`", "%",
    "&", "*", "9" * 5000, "\U0001f600", "[&a [*a]]", "&a {x: *a}",
]  # fmt: skip
#: Nine lists of ten aliases each: a thousand million values.
BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'x, x'}]\n" for i in range(10))


def yaml_text(data: Any, chance: random.Random) -> str:
    """The same as JSON or as YAML, with tricks of YAML's put in somewhere."""
    try:
        text = yaml.safe_dump(data, allow_unicode=chance.random() < 0.5)
    except (yaml.YAMLError, RecursionError):
        text = json.dumps(data)
    for _ in range(chance.randint(0, 3)):
        at = chance.choice([i for i, c in enumerate(text) if c in " \n:"] or [0]) + 1
        trick = chance.choice(YAML_TRICKS)
        end = text.find("\n", at) if chance.random() < 0.4 else at
        text = text[:at] + trick + text[max(end, at) :]
    if chance.random() < 0.02:
        text = BOMB + text
    return text


_BYTES = [b"\n", b": ", b"- ", b'"', b"{", b"]", b"0", b"\xff", b"\x00", b"99999999", b"\xc3"]


def mangled(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut out, doubled or put in."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(found) + 1)
        what = chance.random()
        if what < 0.4 and at < len(found):
            found[at] = chance.randrange(256)
        elif what < 0.6:
            del found[at : at + chance.randint(1, 40)]
        elif what < 0.7:
            found[at:at] = found[chance.randrange(len(found) + 1) :][: chance.randint(1, 200)]
        elif what < 0.73:
            del found[at:]
        else:
            found[at:at] = chance.choice(
                [b"\n", b": ", b"- ", b'"', b"{", b"]", b"0", b"\xff", b"\x00", b"99999999", b"\xc3"]
            )
    return bytes(found)


_NAMES = [
    "memmap", "mem", "dmem", "hugepages", "hugepagesz", "default_hugepagesz", "hugetlb_free_vmemmap",
    "hugetlb_cma", "crashkernel", "efi_fake_mem", "reserve_mem", "memhp_default_state", "numa",
    "dax_hmem.region_idle", "nokaslr", "kaslr", "movablecore", "kernelcore", "cma", "quiet", "carveout.layout",
    "x", "Memmap", "mem-map", "--", "", "root", "numa_balancing", "initrd", "hugetlb-free-vmemmap",
    "novmemmap", "no_hash_pointers", "efi", "acpi", "nosmp", "la57", "no5lvl",
]  # fmt: skip
_NUMBERS = [
    "0", "1", "2", "4", "12", "16", "64", "017", "08", "0x", "0x10", "0X1f", "0xg", "0x100000000",
    "4294967296", "18446744073709551615", "18446744073709551616", "99999999999999999999999",
    "0xfffffffffffff000", "0xffffffffffffffff", "", "-1", "+1", "1.5", "007", "1e3", "４", "0xefffffff",
]  # fmt: skip
_WORDS = [
    "exactmap", "off", "on", "nohmat", "fake=4", "fake=2U", "high", "low", "auto", "online", "Y", "2M", "1G",
    "512M", "0:2", "0:2,1:4", "nosoftreserve", "512M-2G:64M", "2G-:1G@16M", "1G,high", "\u00e9", "\x00",
    "\xa0", '"', '"a b"', "=", "==",
]  # fmt: skip


def _number(chance: random.Random) -> str:
    return chance.choice(_NUMBERS) + chance.choice(
        ("", "", "K", "M", "G", "G", "g", "T", "P", "E", "e", "B", "GB", "%")
    )


def _value(chance: random.Random) -> str:
    if chance.random() < 0.2:
        return chance.choice(_WORDS)
    text = _number(chance)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        text += chance.choice("@#$!%,-+:;@$%!") + _number(chance)
    return text


def command_line(chance: random.Random) -> str:
    """Arguments about memory: right, wrong, and absurd."""
    tokens = []
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8, 60))):
        name = chance.choice(_NAMES[:9] if chance.random() < 0.75 else _NAMES)
        values = ",".join(_value(chance) for _ in range(chance.choice((1, 1, 1, 2, 4))))
        tokens.append(name if chance.random() < 0.06 else f"{name}={values}")
    text = chance.choice((" ", " ", "  ", "\t", "\n")).join(tokens)
    if chance.random() < 0.1:
        at = chance.randrange(len(text) + 1)
        text = (
            text[:at]
            + chance.choice(('"', "\x00", "\ud800", " -- ", "\x1b", "\u2028", "=" * 300))
            + text[at:]
        )
    return text if chance.random() < 0.99 else text * 200
