# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which entry of a menu boots next, and with what; the file in test_boot_data was booted and its /proc/cmdline kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import find_sequence, split
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_encode import encode, shell_value
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import BootEntry, next_entry
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_words import GrubScriptError
from ansible_collections.carveout.memory.plugins.module_utils._boot.grubenv import variables_of

DATA = Path(__file__).parent / "test_boot_data"
ADVANCED = "gnulinux-advanced-9dea0115-9323-4e9f-8f0a-5e941f9ae704"
RECOVERY = "gnulinux-6.12.117+deb13-amd64-recovery-9dea0115-9323-4e9f-8f0a-5e941f9ae704"


def booted(menu: str, grubenv: str = "", **files: str) -> BootEntry:
    """The next entry of a menu with this environment block and these files beside it."""
    tree = {"/boot/grub/grubenv": f"# GRUB Environment Block\n{grubenv}\n########"}
    tree.update((f"/boot/grub/{name}.cfg", text) for name, text in files.items())
    return next_entry(menu, tree.get)


def menu(default: str) -> str:
    return f'''
        if [ -s $prefix/grubenv ]; then
          load_env
        fi
        if [ "${{next_entry}}" ] ; then
          set default="${{next_entry}}"
        else
          set default="{default}"
        fi
        menuentry 'First' --class linux --id 'first' {{ linux /boot/vmlinuz-1.0 ro }}
        submenu 'More > here' --id=more {{
          menuentry 'Old' --unrestricted --id old {{ linux /boot/vmlinuz-0.9.efi.signed ro old }}
          submenu Deep {{ menuentry Deepest --users "" {{ linuxefi /vmlinuz single }} }}
        }}
        menuentry Other {{ chainloader +1; }}
    '''


def test_what_was_booted_is_what_was_predicted() -> None:
    entry = booted((DATA / "debian13.cfg").read_text())
    real = (DATA / "debian13.cmdline").read_text().rstrip("\n")
    # which disk GRUB was started from is not to be known from the running system
    assert entry.command_line == real.replace("(hd0,msdos1)/boot/grub", "/boot/grub")
    assert entry.kernel == "6.12.117+deb13-amd64"
    assert entry.title == "Debian GNU/Linux"


def test_the_line_that_was_booted_is_the_one_that_is_encoded_today() -> None:
    real = split((DATA / "debian13.cmdline").read_text())
    ours = real[real.index("carveout.layout=0123456789abcdef") :]
    assert len(ours) == 60
    written = shell_value(encode(ours)).strip()
    assert written in (DATA / "debian13.cfg").read_text()
    assert find_sequence(split(booted((DATA / "debian13.cfg").read_text()).arguments), ours) == len(real) - 61


@pytest.mark.parametrize(
    "default", [f"1>{RECOVERY}", f"{ADVANCED}>{RECOVERY}", "1>1", "Advanced options for Debian GNU/Linux>1"]
)
def test_grub_reboot_into_the_recovery_entry(default: str) -> None:
    entry = booted((DATA / "debian13.cfg").read_text(), f"next_entry={default}")
    assert "single" in split(entry.arguments)
    assert "carveout.layout=0123456789abcdef" not in split(entry.arguments)
    assert entry.title.endswith("(recovery mode)")


@pytest.mark.parametrize(
    ("default", "title"),
    [
        ("0", "First"),
        ("", "First"),
        ("first", "First"),
        ("First", "First"),
        ("nothing of the kind", "First"),
        ("99", "First"),
        ("1", "More > here>Old"),
        ("1>0", "More > here>Old"),
        ("0x1>0", "More > here>Old"),
        ("more>old", "More > here>Old"),
        ("More >> here>Old", "More > here>Old"),
        ("more>Deep>Deepest", "More > here>Deep>Deepest"),
        ("1>1>0", "More > here>Deep>Deepest"),
        ("1>1", "More > here>Deep>Deepest"),
    ],
)
def test_the_default_is_chosen_as_grub_does(default: str, title: str) -> None:
    assert booted(menu(default)).title == title
    assert booted(menu("0"), f"next_entry={default}").title == title


def test_releases_come_from_the_images_names() -> None:
    assert booted(menu("0")).kernel == "1.0"
    assert booted(menu("1")).kernel == "0.9"
    assert booted(menu("1>1")).kernel == ""


def test_an_entry_that_starts_something_else_is_an_error() -> None:
    with pytest.raises(GrubScriptError, match="'Other' that boots next starts no Linux kernel"):
        booted(menu("2"))


def test_only_exported_variables_reach_a_submenu() -> None:
    text = "a=1; export a; b=2; submenu S { menuentry E { linux /k $a $b } }"
    assert booted(text).arguments == "1"


def test_functions_loops_and_conditions() -> None:
    text = """
        function pick { if [ "$1" = b -o "$1" = c ]; then chosen_$1=x; picked=$1; return; fi; picked=none; }
        for name in a b; do pick $name; found="$found$name:$picked "; done
        n=xxx
        while [ "$n" != x ]; do if [ "$n" = xxx ]; then n=xx; elif true; then n=x; else n=y; fi; done
        until ! false; do n=never; done
        menuentry E { if ! [ x$n = xy ]; then linux /k $found $n $#; else linux /k wrong; fi }
    """
    assert booted(text).arguments == "a:none b:b x 1"


def test_files_beside_the_menu_are_followed() -> None:
    text = "if [ -f $prefix/custom.cfg ]; then source ${config_directory}/custom.cfg; fi; menuentry B { linux /b }"
    assert booted(text).title == "B"
    assert booted(text, custom="menuentry A { linux /a }").title == "A"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the menu is empty"),
        ("insmod blscfg\nblscfg", "made by `blscfg`"),
        ("menuentry A { configfile /x.cfg }", "starts no Linux kernel"),
        ("menuentry A { linux", "unexpected end"),
        ("if true; then\n}", "line 2: unexpected"),
        ("menuentry 'A {", "line 1: GRUB cannot read"),
        ("while true; do true; done", "does not end"),
        ("function f { f; }; f", "without end"),
        ("break", "outside of a loop"),
        ("a=xxxxxxxx; while true; do a=$a$a; done", "without bounds"),
        ("submenu a {" * 60 + "}" * 60, "too many nested"),
    ],
)
def test_menus_that_cannot_be_followed(text: str, said: str) -> None:
    with pytest.raises(GrubScriptError, match=said):
        booted(text)


PARTS = st.sampled_from(
    [
        *[
            "menuentry",
            "submenu",
            "A",
            "{",
            "}",
            "if",
            "then",
            "else",
            "fi",
            "for",
            "x",
            "in",
            "do",
            "done",
            "while",
            "until",
            "function",
            "f",
            "set",
            "linux",
        ],
        *[";", "&", "|", "'", '"', "$x", "${x}", "$", "\\", "#", "[", "]"],
        "\n",
        " ",
        "x=1",
        "--id",
        "break",
        "return",
        "default",
        ">",
        "load_env",
        "source",
        "/boot/grub/a.cfg",
    ]
)


@settings(deadline=None)
@given(st.lists(PARTS, max_size=40).map(" ".join), st.text(max_size=20))
def test_no_menu_however_broken_does_more_than_fail(text: str, default: str) -> None:
    for full in (text, f"{text}\nmenuentry A {{ linux {text} }}"):
        try:
            entry = booted(full, f"default={default}", a=text)
        except GrubScriptError:
            continue
        assert split(entry.command_line)[0].startswith(("BOOT_IMAGE=", '"BOOT_IMAGE='))


def test_a_file_that_sources_itself_is_an_error() -> None:
    with pytest.raises(GrubScriptError, match="without end"):
        booted("source /boot/grub/a.cfg", a="source /boot/grub/a.cfg")


def test_the_environment_block_protects_characters_by_a_backslash() -> None:
    assert variables_of("# GRUB Environment Block\na=1\nb=x\\\ny\\\\z\n####") == {
        "a": "1",
        "b": "x\ny\\z",
    }


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("", False), ("x", True), ('""', False), ("! x", False), ("-z ''", True), ("-n ''", False),
        ("a = a", True), ("a == b", False), ("a != b", True), ("a < b", True),
        ("2 -lt 10", True), ("2 -ge 10", False), ("x -eq 0", True),
        ("a = b -o c = c", True), ("a = a -a c = d", False), ("( a = b ) -o ! ( c = d )", True),
        ("-e /boot/grub/grubenv", True), ("-f (hd0,1)/boot/grub/nothing", False), ("-d /boot/grub/grubenv", False),
        ("-f /etc/passwd", False),
    ],
)  # fmt: skip
def test_conditions(condition: str, holds: bool) -> None:
    quoted = condition.replace("<", "'<'").replace("(", "'('").replace(")", "')'")
    text = f"if [ {quoted} ]; then r=yes; else r=no; fi; menuentry E {{ linux /k $r }}"
    assert booted(text).arguments == ("yes" if holds else "no")
