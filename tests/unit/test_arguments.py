# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line cut into tokens as lib/cmdline.c does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import (
    MEMORY_ARGUMENTS,
    carries,
    find_sequence,
    is_memory_argument,
    iterate,
    layout_id,
    parse,
    same_name,
    split,
    without_sequence,
)

SPACES = " \t\n\v\f\r\xa0"


def next_arg(args: str) -> tuple[str, str | None, str]:
    """lib/cmdline.c, next_arg, written down again index by index: parameter, value, what is left."""
    buffer = [*args, "\0"]
    base, in_quote, quoted, equals, i = 0, False, False, 0, 0
    if buffer[0] == '"':
        base, in_quote, quoted = 1, True, True
    while buffer[base + i] != "\0":
        char = buffer[base + i]
        if char in SPACES and not in_quote:
            break
        if equals == 0 and char == "=":
            equals = i
        if char == '"':
            in_quote = not in_quote
        i += 1
    start = base + equals + 1
    stop = buffer[base + i] == "\0"
    value = None
    if equals:
        buffer[base + equals] = "\0"
        if buffer[start] == '"':
            start += 1
            if buffer[base + i - 1] == '"':
                buffer[base + i - 1] = "\0"
    if quoted and i > 0 and buffer[base + i - 1] == '"':
        buffer[base + i - 1] = "\0"
    if not stop:
        buffer[base + i] = "\0"
    if equals:
        value = "".join(buffer[start:]).partition("\0")[0]
    name = "".join(buffer[base:]).partition("\0")[0]
    return name, value, "" if stop else args[base + i + 1 :].lstrip(SPACES)


def all_args(cmdline: str) -> list[tuple[str, str | None]]:
    rest = cmdline.lstrip(SPACES)
    found = []
    while rest:
        name, value, rest = next_arg(rest)
        found.append((name, value))
    return found


@given(st.text(alphabet='ab="- \t\xa0', max_size=24))
def test_tokens_against_the_kernels_own_way(cmdline: str) -> None:
    arguments = [parse(token) for token in split(cmdline)]
    assert [(a.name, a.value) for a in arguments] == all_args(cmdline)
    assert "".join(a.text for a in arguments if '"' not in cmdline) == (
        "".join(c for c in cmdline if c not in SPACES) if '"' not in cmdline else ""
    )


@given(st.text(alphabet='ab="- \t\xa0', max_size=24))
def test_tokens_joined_again_are_the_same_tokens(cmdline: str) -> None:
    tokens = split(cmdline)
    assert split(" ".join(tokens)) == tokens


@pytest.mark.parametrize(
    ("token", "name", "value"),
    [
        ("quiet", "quiet", None),
        ("a=", "a", ""),
        ("a=b=c", "a", "b=c"),
        ("=a", "=a", None),  # an = at the very start does not count
        ("==a", "=", "a"),
        ('a="b c"', "a", "b c"),
        ('a="b', "a", "b"),
        ('a="', "a", ""),
        ('a=b"', "a", 'b"'),
        ('"a=b c"', "a", "b c"),
        ('"a b"', "a b", None),
        ('""', "", None),
        ("memmap=1G$5G", "memmap", "1G$5G"),
        ("dax_hmem.region_idle=1", "dax_hmem.region_idle", "1"),
    ],
)
def test_names_and_values(token: str, name: str, value: str | None) -> None:
    assert parse(token) == (token, name, value)


def test_splitting() -> None:
    assert split('  a "b c"d  e="f g" \n h\0') == ["a", '"b c"d', 'e="f g"', "h"]
    assert split('a "b c') == ["a", '"b c']
    assert split("") == split(" \t ") == []


def test_nothing_is_read_after_two_dashes() -> None:
    assert [a.text for a in iterate(["a", "--b", "--=1", "--", "mem=4G"])] == ["a", "--b", "--=1"]


def test_the_last_layout_counts() -> None:
    assert layout_id(["carveout.layout=1", "carveout.layout=2", "quiet"]) == "2"
    assert layout_id(["carveout.layout=1", "--", "carveout.layout=2"]) == "1"
    assert layout_id(["quiet"]) is None


def test_memory_arguments() -> None:
    assert all(is_memory_argument(f"{name}=1") for name in MEMORY_ARGUMENTS)
    assert is_memory_argument("dax-hmem.region-idle=1")
    assert same_name("dax-hmem.region_idle", "dax_hmem.region-idle")
    assert not any(map(is_memory_argument, ["memtest=1", "quiet", "mem.x=1", "carveout.layout=1"]))


TOKENS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12)


@given(TOKENS, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4))
def test_finding_a_run(tokens: list[str], wanted: list[str]) -> None:
    places = [i for i in range(len(tokens)) if tokens[i : i + len(wanted)] == wanted]
    assert find_sequence(tokens, wanted) == (places[0] if places else -1)


@given(st.lists(st.lists(st.sampled_from("xyz"), max_size=3), min_size=1, max_size=4))
def test_taking_out_our_run_leaves_everything_else(parts: list[list[str]]) -> None:
    ours = ["carveout.layout=1", "x", "y"]
    line = list(parts[0])
    for part in parts[1:]:
        line += [*ours, *part]
    assert without_sequence(line, ours) == [token for part in parts for token in part]
    assert without_sequence(line, []) == line


def test_a_run_that_arises_by_taking_out_another_stays() -> None:
    assert without_sequence(["a", "a", "b", "b"], ["a", "b"]) == ["a", "b"]
    assert without_sequence(["a", "b", "a", "b", "a"], ["a", "b"]) == ["a"]
    assert find_sequence(["a"], []) == -1


def test_a_boot_may_carry_arguments_under_another_layouts_id() -> None:
    old, new = (
        ["carveout.layout=1", "memmap=1G%4G", "nokaslr"],
        ["carveout.layout=2", "memmap=1G%4G", "nokaslr"],
    )
    line = ["ro", *old, "hugepages=4"]
    assert carries(line, old, []) and carries(line, new, [new, old])
    assert not carries(line, new, [new])  # hugepages= might be ours
    assert not carries(line, [*new, "hugepages=4"], [old]) and not carries(line, new[:2], [old])
    assert not carries(["ro", *old[:2], "quiet", "nokaslr"], new, [old])
    assert not carries(["ro"], new, [old]) and not carries(line, [], [old]) and carries(["ro"], [], [])
