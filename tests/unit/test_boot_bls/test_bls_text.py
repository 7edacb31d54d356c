# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Spelling of arguments in entries and variables, GRUB's reading of both, and our runs within others' text."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._boot import bls_text
from ansible_collections.carveout.memory.plugins.module_utils._boot.bls_entries import (
    EntryFile,
    compare_versions,
    expand_value,
    in_order,
    read_entry,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.grubenv import (
    line_of,
    variables_of,
    with_variable,
)
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, NotPossible

LAYOUT = "carveout.layout=0123456789abcdef"


# What builds of GRUB from before rhboot's commit 4f8353a04 make of options (run with their own functions).
@pytest.mark.parametrize(
    ("options", "expanded"),
    [
        ("ro memmap=4G$12G quiet", "ro memmap=4Gquiet"),
        (r"ro memmap=4G\$12G quiet", "ro memmap=4G\\quiet"),
        ("ro memmap=4G%12G-1+2 quiet", "ro memmap=4G%12G-1+2 quiet"),
        ("$a memmap=1G!4G", "1 2 memmap=1G!4G"),
        ("ro $a $b quiet", "ro 1 2  quiet"),
        ("ro $none quiet", "ro quiet"),
        ("$none", None),
        ("ro $a x", "ro 1 2 "),  # a last word of one character is lost behind a variable
    ],
)
def test_variables_in_options(options: str, expanded: str | None) -> None:
    assert expand_value(options, {"a": "1 2", "b": ""}) == expanded


PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)


@given(st.lists(PRINTABLE | PRINTABLE.map('"{}"'.format), min_size=1, max_size=6), st.booleans())
@example(["memmap=1G$5G", "a;b|c&d<e>f{g}h#i(j)k`l*m?n[o]p~q^r"], True)
@example(['"a b"', "x=%@!,:.-+_/", "if", "fi"], False)
@settings(max_examples=500, deadline=None)
def test_what_is_encoded_arrives_or_is_refused(tokens: list[str], variable: bool) -> None:
    tokens = [LAYOUT, *tokens]
    try:
        text = bls_text.encode(tokens, variable=variable)
    except CarveoutError:
        odd = set("'\"\\") | (set() if variable else {"$"})
        assert any(odd & set(token) or split(token) != [token] for token in tokens)
        return
    assert bls_text.decode(text, variable=variable) == tokens
    # in its place behind a variable's value, and in front of another
    around = f"$kernelopts {text} $tuned_params"
    if not variable:
        expanded = expand_value(around, {"kernelopts": "root=/dev/x ro", "tuned_params": "nosmt"}) or ""
        assert bls_text.decode(expanded, variable=True) == ["root=/dev/x", "ro", *tokens, "nosmt"]


OTHERS = st.lists(st.sampled_from(["ro", "", "quiet", "$tuned_params", "x=y", "memory=1", "a\t"]), max_size=5)


@given(
    OTHERS, OTHERS, st.lists(st.sampled_from(["memmap=1G!4G", "hugepages=3", "other", "'a b'"]), max_size=3)
)
@settings(max_examples=300, deadline=None)
def test_our_run_goes_in_and_out_of_others_text_without_a_trace(
    before: list[str], after: list[str], tokens: list[str]
) -> None:
    others, run = " ".join(before), " ".join([LAYOUT, *tokens])
    added = bls_text.replace_run(others, [run], run)
    assert added == (f"{others} {run}" if others else run)
    assert bls_text.replace_run(added, [run], run) == added
    assert bls_text.replace_run(added, [run], "") == others
    # with words of others behind it, another run takes its place
    tail = " ".join(["quiet", *after])
    another = f"{LAYOUT} hugepages=7"
    assert bls_text.replace_run(f"{added} {tail}", [run], another) == (
        f"{others} {another} {tail}" if others else f"{another} {tail}"
    )


def test_a_run_that_nobody_knows_ends_where_the_memory_arguments_end() -> None:
    text = f"ro {LAYOUT} memmap=1G!4G 'memmap=1G$9G' quiet mem=4G"
    assert bls_text.replace_run(text, [], "") == "ro quiet mem=4G"
    assert bls_text.replace_run(f"{text} {LAYOUT}", [], "") == "ro quiet mem=4G"
    assert bls_text.replace_run(f"x{LAYOUT}", [], "") == f"x{LAYOUT}"


DEFAULTS = [
    ('A=1\nGRUB_CMDLINE_LINUX="quiet"  # why\nB=2\n', "quiet", True),
    ("GRUB_CMDLINE_LINUX='quiet x'\n", "quiet x", False),
    ('GRUB_CMDLINE_LINUX="a \\"b\\" $C \\$"', 'a \\"b\\" $C \\$', True),
    ('#GRUB_CMDLINE_LINUX="no"\nGRUB_CMDLINE_LINUX=""\nGRUB_CMDLINE_LINUX_DEFAULT="x"\n', "", True),
]


@pytest.mark.parametrize(("text", "value", "double"), DEFAULTS)
def test_where_the_value_of_the_settings_stands(text: str, value: str, double: bool) -> None:
    found = bls_text.defaults_of("/etc/default/grub", text)
    assert found is not None
    assert (text[found[0] : found[1]], found[2]) == (value, double)
    assert text[found[0] - 1] == ('"' if double else "'")


@pytest.mark.parametrize(
    "text",
    [
        "GRUB_CMDLINE_LINUX=quiet\n",
        'GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX b"\n',
        'GRUB_CMDLINE_LINUX="$(cat x)" B=1\n',
        'GRUB_CMDLINE_LINUX="`cat x`"\n',
        'export GRUB_CMDLINE_LINUX="a"\n',
    ],
)
def test_settings_that_cannot_be_edited_safely(text: str) -> None:
    with pytest.raises(NotPossible, match=r"/etc/default/grub, line [12]: GRUB_CMDLINE_LINUX has to be"):
        bls_text.defaults_of("/etc/default/grub", text)


def test_settings_without_arguments_are_left_alone() -> None:
    assert bls_text.defaults_of("/etc/default/grub", "GRUB_TIMEOUT=1\n") is None


def test_words_in_single_quotes_of_sh() -> None:
    assert bls_text.shell_text("memmap=1G!4G", False) == "memmap=1G!4G"
    assert bls_text.shell_text("'a$b\\'", True) == "'a\\$b\\\\'"
    with pytest.raises(NotPossible, match="stands in single quotes"):
        bls_text.shell_text("'a b'", False)


# rpm's rules, as blscfg has them: the newer one first.
@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("4.18.0-553", "4.18.0-80"),
        ("5.14.0", "5.14.0~rc1"),
        ("1.10", "1.9"),
        ("1.0010", "1.9"),
        ("2a", "a2"),
        ("6.1+debug", "6.1"),
        ("6.1.1", "6.1+debug"),
        ("b", "a"),
        ("1.0.1", "1.0"),
    ],
)
def test_versions_compare_as_rpm_compares_them(newer: str, older: str) -> None:
    assert (compare_versions(newer, older), compare_versions(older, newer)) == (1, -1)
    assert compare_versions(newer, newer) == 0


def test_entries_stand_newest_first_and_equal_names_once() -> None:
    names = ["m-0-rescue", "m-4.18.0-80.el8", "m-4.18.0-553.el8", "m-4.18.00-80.el8"]
    ordered = [entry.id for entry in in_order(EntryFile(name, ()) for name in names)]
    assert ordered == ["m-4.18.0-553.el8", "m-4.18.0-80.el8", "m-0-rescue"]


def test_an_entry_file_is_read_up_to_the_first_line_without_a_value() -> None:
    entry = read_entry(
        "a", "# x\n  title  Some Linux\r\nlinux\t/vmlinuz-1\noptions ro  quiet\n\noptions lost\n"
    )
    assert entry.fields == (("title", "Some Linux"), ("linux", "/vmlinuz-1"), ("options", "ro  quiet"))


SIGNATURE = "# GRUB Environment Block\n"
NAMES = st.sampled_from(["kernelopts", "saved_entry", "a", "b"])
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.just("\n"), max_size=20)


@given(st.lists(st.tuples(NAMES, VALUES | st.none()), max_size=8))
@settings(max_examples=200, deadline=None)
def test_an_environment_block_holds_what_was_set(steps: list[tuple[str, str | None]]) -> None:
    block, expected = SIGNATURE.ljust(1024, "#"), dict[str, str]()
    for name, value in steps:
        block = with_variable("grubenv", block, name, value)
        expected.pop(name, None)
        if value is not None:
            expected[name] = value
        assert len(block) == 1024
        assert variables_of(block) == expected


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_an_environment_block_left_as_it_was_is_the_same(value: str) -> None:
    block = with_variable("grubenv", SIGNATURE.ljust(1024, "#"), "a", value)
    changed = with_variable("grubenv", block, "b", "2")
    assert with_variable("grubenv", changed, "b", None) == block
    assert line_of(changed, "b") == 3 + value.count("\n")
    assert line_of(changed, "c") == 0


def test_a_block_that_is_none_or_too_small() -> None:
    with pytest.raises(NotPossible, match="is no GRUB environment block"):
        with_variable("grubenv", "", "a", "1")
    with pytest.raises(NotPossible, match="has room for 1024 bytes, with a as it has to be it would be 1028"):
        with_variable("grubenv", SIGNATURE.ljust(1024, "#"), "a", "x" * 1000)


@given(st.lists(st.tuples(NAMES, st.text("aZ09 =$\\'\"#%!;\n", max_size=12)), max_size=4))
@settings(max_examples=25, deadline=None)
def test_grubs_own_tool_reads_what_was_written(pairs: list[tuple[str, str]]) -> None:
    tool = shutil.which("grub-editenv")
    if tool is None:
        pytest.skip("grub-editenv is not installed (package grub-common)")
    assume(all(value for _, value in pairs))
    block = SIGNATURE.ljust(1024, "#")
    for name, value in pairs:
        block = with_variable("grubenv", block, name, value)
    with tempfile.NamedTemporaryFile("w", newline="") as file:
        file.write(block)
        file.flush()
        with_tool = subprocess.run([tool, file.name, "list"], capture_output=True, text=True, check=True)
    assert with_tool.stdout == "".join(f"{name}={value}\n" for name, value in variables_of(block).items())


def test_grubs_own_tool_writes_the_same_bytes(tmp_path: Path) -> None:
    tool = shutil.which("grub-editenv")
    if tool is None:
        pytest.skip("grub-editenv is not installed (package grub-common)")
    path = tmp_path / "grubenv"
    subprocess.run([tool, path, "create"], check=True)
    ours = path.read_text()
    for name, value in [
        ("saved_entry", "x-5.14"),
        ("kernelopts", "root=/dev/a ro 'memmap=1G$4G' a\\b"),
        ("saved_entry", "y"),
    ]:
        subprocess.run([tool, path, "set", f"{name}={value}"], check=True)
        ours = with_variable("grubenv", ours, name, value)
        assert path.read_text() == ours
    subprocess.run([tool, path, "unset", "saved_entry"], check=True)
    assert path.read_text() == with_variable("grubenv", ours, "saved_entry", None)
