# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Words of GRUB's script language, and the encoder: against what booted machines showed, and against a real sh."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_encode import (
    VARIABLE,
    decode,
    encode,
    shell_value,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_words import (
    GrubScriptError,
    expand,
    loader_text,
    tokenise,
)
from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, NotPossible


def arrives(grub: str, **variables: str) -> str:
    """What /proc/cmdline shows of words in grub.cfg."""
    pieces = [token.pieces for token in tokenise(grub)]
    return loader_text(expand(pieces, lambda name: [variables.get(name, "")]))


def sourced(value: str) -> str:
    """What a real sh reads from ``VARIABLE=value``, with nothing in the variable before."""
    script = f'{VARIABLE}={value}\nprintf %s "${VARIABLE}"'
    done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


# Text in /etc/default/grub, what 10_linux prints into grub.cfg, /proc/cmdline: each was booted (GRUB 2.06).
QUOTING = [
    (r'"memmap=512M\\\$4G"', r"memmap=512M\$4G", "memmap=512M$4G"),
    (r"'memmap=512M\$4G'", r"memmap=512M\$4G", "memmap=512M$4G"),
    ("\"memmap='512M\\$4G'\"", "memmap='512M$4G'", "memmap=512M$4G"),
    (r'"memmap=512M\$4G"', "memmap=512M$4G", "memmap=512MG"),
    (r'"memmap=512M$4G"', "memmap=512MG", "memmap=512MG"),
    (r'"memmap=512M\$0x100000000"', "memmap=512M$0x100000000", "memmap=512Mx100000000"),
    ('"memmap=512M%4G-1+2"', "memmap=512M%4G-1+2", "memmap=512M%4G-1+2"),
    ('"memmap=512M%4G-1+2,256M%5G-1+2"', "memmap=512M%4G-1+2,256M%5G-1+2", "memmap=512M%4G-1+2,256M%5G-1+2"),
    ('"memmap=512M!4G"', "memmap=512M!4G", "memmap=512M!4G"),
]


@pytest.mark.parametrize(("default", "menu", "kernel"), QUOTING)
def test_quoting_that_was_booted(default: str, menu: str, kernel: str) -> None:
    assert sourced(default) == menu
    assert arrives(menu) == kernel
    if default != '"memmap=512M$4G"':  # `$4` is the shell's to expand
        assert shell_value(default) == menu
        assert decode(default) == [kernel]


# Words in grub.cfg and what /proc/cmdline showed (GRUB 2.12, Debian 13); all are in test_boot_data as well.
WORDS = [
    (r"a\\b", r"a\\b"),
    (r'"a\\b"', r"a\\b"),
    (r'"a\b"', r"a\\b"),
    (r"'a\b'", r"a\\b"),
    (r"a\*b", "a*b"),
    (r"x=$nope", "x="),
    ("\"q 'r'\"", "\"q \\'r\\'\""),
    ("""'d"q'""", r"d\"q"),
    (r"a\ b", '"a b"'),
    ("x=\"\" '' y", "x=  y"),
    ('a"b c"d', '"ab cd"'),
    (r"\"x\"", r"\"x\""),
    ("/boot/grub/zf*", "/boot/grub/zf*"),
    ("a#b", "a#b"),
    (r'"a$nope\$b"', "a$b"),
    ("'a\\x20b'", r"a\\x20b"),
]


@pytest.mark.parametrize(("menu", "kernel"), WORDS)
def test_words_that_were_booted(menu: str, kernel: str) -> None:
    assert arrives(menu) == kernel


def test_an_unquoted_variable_is_split_into_words_and_a_quoted_one_is_not() -> None:
    assert arrives("x=$v", v="a  b ") == "x=a b"
    assert arrives('x="$v"', v="a  b ") == '"x=a  b "'
    assert arrives("a ${v} b", v="") == "a b"
    assert arrives('a "${v}" b', v="") == "a  b"


def test_a_comment_starts_only_where_a_word_could() -> None:
    assert arrives("a #b c") == "a"
    assert arrives("a '#b' c") == "a #b c"
    assert arrives("a\\\nb c") == "ab c"


@pytest.mark.parametrize("text", ["a $ b", 'a "$-"', "'open", 'open"', "a${", "$(x)"])
def test_what_grub_cannot_read_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(GrubScriptError, match=r"^line 2: "):
        list(tokenise("\n" + text))


ANY = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="'\"\\")
SOME = st.text(st.one_of(ANY, st.just(" ")))
SPACED = st.tuples(SOME, SOME).map(" ".join)
TOKENS = st.one_of(st.text(ANY, min_size=1), SPACED.map(lambda text: f'"{text}"'))


@settings(deadline=None)
@given(st.lists(TOKENS))
@example(
    [
        "$HOME",
        "`id`",
        "$(reboot)",
        "%s%n",
        ";",
        "#x",
        "*",
        "{",
        "}",
        "&&",
        "|",
        "<a>",
        "~",
        "!",
        "time",
        "if",
        "[[",
    ]
)
@example(['" "', '"a  b"', '"$x ;#"'])
def test_whatever_is_encoded_decodes_to_itself(tokens: list[str]) -> None:
    assert decode(encode(tokens)) == tokens


@settings(max_examples=50, deadline=None)
@given(st.lists(TOKENS, min_size=1))
def test_a_real_shell_reads_what_the_decoder_reads(tokens: list[str]) -> None:
    value = encode(tokens)
    assert sourced(value) == shell_value(value)
    assert split(arrives(sourced(value))) == tokens


@settings(deadline=None)
@given(st.text(max_size=20))
def test_a_token_arrives_unchanged_or_is_refused_by_name(token: str) -> None:
    try:
        value = encode([token])
    except (InvalidInput, NotPossible) as error:
        assert token in str(error) or repr(token) in str(error)
    else:
        assert decode(value) == [token]


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("a'b", "backslash before '"),
        ("a\\b", r"backslash before \\"),
        ("a\\x20b", r"backslash before \\"),
        ('a"b"', 'backslash before "'),
        ('"a"', 'backslash before "'),
        ('name="a b"', 'write "name=a b"'),
        ('"a\' b"', "backslash before '"),
        ("ä", "printable ASCII"),
        ("a\x01", "printable ASCII"),
        ('"a\tb"', "printable ASCII"),
    ],
)
def test_what_the_loader_would_change_is_refused(token: str, said: str) -> None:
    with pytest.raises(NotPossible, match=said) as error:
        encode(["quiet", token])
    assert token in str(error.value) or repr(token) in str(error.value)
    assert error.value.problems[0].code == "argument-not-encodable"


@pytest.mark.parametrize("token", ["", "a b", " a", "a\n", "a\xa0b", '"a b" c'])
def test_what_is_not_one_argument_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="not one kernel argument"):
        encode([token])


@pytest.mark.parametrize(
    "value", ["$OTHER", "`date`", '"$(date)"', "a b", '"open', "'open", "a;b", "${x:-y}"]
)
def test_a_value_that_needs_a_shell_is_not_guessed(value: str) -> None:
    with pytest.raises(ValueError, match=r"shell|closed"):
        decode(value)


def test_a_value_that_ends_grubs_command_is_not_guessed() -> None:
    with pytest.raises(GrubScriptError, match="ends GRUB's command"):
        decode("'a; b'")


def test_references_to_the_variable_itself_are_left_out() -> None:
    assert decode(f'"${VARIABLE} a ${{{VARIABLE}}} b"') == ["a", "b"]
