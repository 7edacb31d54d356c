# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others own on a host that boots by entry files, as RHEL 9 with TuneD has them: every byte and mode is there
after Carveout came, changed and went."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.tests.others import files

OURS = ("carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "dax_hmem.region_idle=1")
OTHER = ("carveout.layout=fedcba9876543210", "memmap=2G%5G-1+2")
ID = "0123456789abcdef0123456789abcdef"
NEW = "5.14.0-427.el9.x86_64"
ENTRY = f"boot/loader/entries/{ID}-{NEW}.conf"
#: The sources of arguments: they have ours while a layout is there.
SHARED = ("boot/loader/entries/", "boot/grub2/grubenv", "etc/default/grub", "etc/kernel/cmdline")


def listing(host: Any) -> dict[str, tuple[str, bytes]]:
    found = {}
    for path in sorted(host.root.rglob("*")):
        name = str(path.relative_to(host.root))
        if path.is_file() and not name.startswith("proc/"):
            found[name] = (stat.filemode(path.stat().st_mode), path.read_bytes())
    return found


def cycle(host: Any) -> list[dict[str, tuple[str, bytes]]]:
    """One layout, another, none; each booted."""
    seen = []
    for wanted in (OURS, OTHER, OTHER, None):
        host.change_to(wanted)
        host.boot()
        seen.append(listing(host))
    return seen


@pytest.fixture
def tuned(rhel9: Any) -> Any:
    """With TuneD's files, a comment in an entry, an entry of somebody else, and modes as installations have them."""
    rhel9.put("/etc/tuned/bootcmdline", files.BOOTCMDLINE)
    rhel9.put("/etc/grub.d/00_tuned", files.TUNED_SCRIPT)
    rhel9.put(
        "/boot/loader/entries/rescue-by-hand.conf", "title Rescue\nlinux /rescue\noptions root=LABEL=rescue\n"
    )
    entry = rhel9.root / ENTRY
    entry.write_text(f"# changed by hand, see ticket 4711\n{entry.read_text()}# the end, without a newline")
    for path, mode in (
        (ENTRY, 0o600),
        ("boot/grub2/grubenv", 0o600),
        ("etc/grub.d/00_tuned", 0o755),
        ("etc/default/grub", 0o640),
    ):
        (rhel9.root / path).chmod(mode)
    rhel9.boot()
    return rhel9


def test_tuned_and_hand_written_lines_stay(tuned: Any) -> None:
    bare = listing(tuned)
    *carved, after = cycle(tuned)
    for seen in carved:
        assert {p: what for p, what in seen.items() if not p.startswith(SHARED)} == {
            p: what for p, what in bare.items() if not p.startswith(SHARED)
        }
        assert {p: mode for p, (mode, _) in seen.items()} == {p: mode for p, (mode, _) in bare.items()}
        text = seen[ENTRY][1].decode()
        assert text.startswith("# changed by hand, see ticket 4711\n") and text.endswith(
            "# the end, without a newline"
        )
        assert " rhgb  quiet $tuned_params carveout.layout=" in text and " $tuned_initrd\n" in text
        # TuneD's variables and the choice of the entry; GRUB's block has a fixed length
        block = seen["boot/grub2/grubenv"][1].decode()
        assert "\ntuned_params=skew_tick=1 nosmt\n" in block and f"\nsaved_entry={ID}-{NEW}\n" in block
        assert len(block) == 1024
    assert "skew_tick=1 nosmt" in (tuned.read("/proc/cmdline") or "")
    assert after == bare


WORDS = st.text(st.sampled_from("abzAZ09=.,_-+:%@/ "), min_size=1, max_size=12)
LINES = st.one_of(
    st.builds(
        "# {}".format, st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
    ),
    st.builds("options {}".format, WORDS),
    st.builds("{} {}".format, st.sampled_from(["initrd", "grub_class", "devicetree", "x-unknown"]), WORDS),
    st.sampled_from(["", "   ", "\t", "options $kernelopts $tuned_params", "options\troot=/dev/vda1   ro"]),
)
ENTRIES = st.dictionaries(
    st.from_regex(r"[0-9a-z-]{1,8}\.conf(\.bak)?", fullmatch=True, alphabet=st.characters(codec="ascii")),
    st.tuples(st.lists(LINES, max_size=6), st.sampled_from(["\n", ""]), st.sampled_from([0o644, 0o600])),
    max_size=3,
)
VARIABLES = st.lists(
    st.builds("{}={}".format, st.from_regex(r"[a-z_]{1,8}", fullmatch=True), WORDS), max_size=4
)


@given(ENTRIES, VARIABLES)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_others_have_there_stays_byte_for_byte(
    rhel9: Any, tmp_path_factory: Any, entries: Any, variables: list[str]
) -> None:
    host = type(rhel9)(Path(tmp_path_factory.mktemp("host")))
    for name, (_, data) in listing(rhel9).items():
        host.put(f"/{name}", data.decode())
    host.environment(f"saved_entry={ID}-{NEW}", "tuned_params=skew_tick=1", *variables)
    for name, (lines, end, mode) in entries.items():
        path = f"boot/loader/entries/{name}"
        host.put(f"/{path}", "\n".join([f"title {name}", f"linux /vmlinuz-{name}", *lines]) + end)
        (host.root / path).chmod(mode)
    host.boot()
    bare = listing(host)
    try:
        *carved, after = cycle(host)
    except CarveoutError:
        host.change_to(None)
        assert listing(host) == bare
        return
    for seen in carved:
        assert {p: what for p, what in seen.items() if not p.startswith(SHARED)} == {
            p: what for p, what in bare.items() if not p.startswith(SHARED)
        }
    assert after == bare
