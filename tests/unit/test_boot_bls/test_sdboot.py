# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts of systemd-boot: which entry boots, what is written, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._boot.bls_text import encode_raw
from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import needs_augeas
from ansible_collections.carveout.memory.plugins.module_utils._boot.sdboot_order import (
    SdEntry,
    compare_versions,
    in_order,
    read_entry,
)
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError, NotPossible

OURS = ("carveout.layout=0123456789abcdef", "memmap=1G$5G", 'x="a b"')
TEXT = " ".join(OURS)
ENTRIES = "/efi/loader/entries"


def variable(host: Any, name: str, value: str) -> None:
    path = host.root / f"sys/firmware/efi/efivars/{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\6\0\0\0" + value.encode("utf-16-le") + b"\0\0")


def entry(host: Any, name: str, release: str, options: str = "root=UUID=1  ro quiet", more: str = "") -> None:
    host.put(
        f"{ENTRIES}/{name}",
        f"# kernel-install\ntitle      Debian\nversion    {release}\n{more}options    {options} \n"
        f"linux      /m/{release}/linux\ninitrd     /m/{release}/initrd.img\n",
    )


@pytest.fixture
def host(empty: Any) -> Any:
    variable(empty, "LoaderInfo", "systemd-boot 257.9-1")
    for release in ("6.12.90", "6.12.107"):
        entry(empty, f"m-{release}.conf", release, more="sort-key   debian\nmachine-id m\n")
    empty.put("/efi/loader/loader.conf", "timeout 3\n#default x\n")
    empty.put("/etc/kernel/cmdline", "# by the administrator\nroot=UUID=1 ro quiet\n")
    # a GRUB that is left from before does not count
    empty.put("/boot/grub2/grub.cfg", "blscfg\n")
    empty.put("/etc/carveout/layouts/a.json", json.dumps({"kernel_arguments": OURS}))
    empty.boot()
    return empty


def test_present_again_and_absent_leaves_every_byte_as_it_was(host: Any) -> None:
    untouched = host.files()
    assert not needs_augeas(host)
    change = host.change_to(OURS)
    assert change.actions == [
        "write /etc/kernel/cmdline",
        f"write {ENTRIES}/m-6.12.107.conf",
        f"write {ENTRIES}/m-6.12.90.conf",
    ]
    assert f"options    root=UUID=1  ro quiet  {TEXT}\n" in host.read(f"{ENTRIES}/m-6.12.90.conf")
    assert host.read("/etc/kernel/cmdline") == f"# by the administrator\nroot=UUID=1 ro quiet {TEXT}\n"
    state = host.state()
    assert (state.kind, state.problem, state.kernel, state.owned) == ("systemd-boot", "", "6.12.107", OURS)
    assert state.boot_arguments == ("root=UUID=1", "ro", "quiet", *OURS)
    assert not host.change_to(OURS).changed
    host.change_to(None)
    assert host.files() == untouched


def test_foreign_arguments_are_told_with_file_and_line(host: Any) -> None:
    entry(host, "m-6.12.107.conf", "6.12.107", "ro hugepages=3", "sort-key debian\n")
    host.change_to(OURS)
    foreign = [(f.argument, f.file, f.line) for f in host.state().foreign]
    assert foreign == [("hugepages=3", f"{ENTRIES}/m-6.12.107.conf", 5)]


def test_who_chooses_what_boots(host: Any) -> None:
    assert host.state().kernel == "6.12.107"
    host.put("/efi/loader/loader.conf", "default m-6.12.9*\n")
    assert host.state().kernel == "6.12.90"
    variable(host, "LoaderEntryDefault", "M-6.12.107.conf")
    assert host.state().kernel == "6.12.107"
    variable(host, "LoaderEntryOneShot", "m-6.12.90.conf")
    assert host.state().kernel == "6.12.90"
    for name in ("LoaderEntryOneShot", "LoaderEntryDefault"):
        variable(host, name, "gone.conf")
    host.put("/efi/loader/loader.conf", "default @saved\n")
    variable(host, "LoaderEntryLastBooted", "m-6.12.90.conf")
    assert host.state().kernel == "6.12.90"


def test_a_kernel_that_boots_anyway_and_one_that_does_not(host: Any) -> None:
    host.change_to(OURS, "6.12.107")
    with pytest.raises(NotPossible, match=r"choose it by `bootctl set-default m-6\.12\.90\.conf`"):
        host.plan(OURS, "6.12.90")
    with pytest.raises(NotPossible, match=r"starts the kernel 7: .*6\.12\.107, 6\.12\.90\)"):
        host.plan(OURS, "7")


REFUSED = {
    "unified": ("/efi/EFI/Linux/a.efi", "", "is a unified kernel image"),
    "doubled": ("/boot/loader/entries/x.conf", "linux /x\n", "there are entries in /efi/.* and /boot/"),
    "options": (f"{ENTRIES}/n.conf", "linux /x\noptions a\noptions b\n", "has 2 lines `options`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_before_anything_is_written(host: Any, name: str) -> None:
    path, text, message = REFUSED[name]
    host.put(path, text)
    before = host.files()
    with pytest.raises(NotPossible, match=message):
        host.change_to(OURS)
    assert host.files() == before


def test_a_host_without_entries_is_refused(host: Any) -> None:
    for path in (host.root / "efi/loader/entries").iterdir():
        path.unlink()
    assert host.state().boot_arguments is None
    with pytest.raises(NotPossible, match="no entry in loader/entries of /efi, /boot/efi, /boot"):
        host.plan(OURS)


def test_keys_values_and_counters() -> None:
    counted = read_entry("M-1+3-2.conf", '# x\n\n title  A B \r\noptions "a b"\nlinux\t/x\nempty \n')
    assert (counted.id, counted.exhausted) == ("m-1.conf", False)
    assert counted.file.fields == (("title", "A B"), ("options", "a b"), ("linux", "/x"))
    assert read_entry("m-1+0-3.conf", "").exhausted


def made(name: str, **fields: str) -> SdEntry:
    return read_entry(name, "".join(f"{key.replace('_', '-')} {value}\n" for key, value in fields.items()))


def test_the_order_of_the_menu() -> None:
    entries = {
        "no key": made("z-9.conf"),
        "older": made("b.conf", sort_key="a", machine_id="m", version="6.9"),
        "newer": made("a.conf", sort_key="a", machine_id="m", version="6.10"),
        "other key": made("c.conf", sort_key="b", version="7"),
        "no tries": made("d+0.conf", sort_key="a", version="9"),
        "no key, newer": made("z-10.conf"),
    }
    assert in_order(entries) == ["newer", "older", "other key", "no key, newer", "no key", "no tries"]


def test_versions_compare_as_systemd_compares_them() -> None:
    # the ladder of systemd's own tests and of the specification of versions
    ladder = ["~", "", "123~rc1-1", "123", "123-a", "123-a.1", "123-a1", "123-1", "123-1.1", "123^post1", "123.a-1",
              "123.1-1", "123a-1", "124-1"]  # fmt: skip
    for index, older in enumerate(ladder):
        assert compare_versions(older, older) == 0
        for newer in ladder[index + 1 :]:
            assert (compare_versions(older, newer), compare_versions(newer, older)) == (-1, 1), (older, newer)


@given(st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1), min_size=1))
@settings(max_examples=300, deadline=None)
def test_what_is_encoded_arrives_or_is_refused(tokens: list[str]) -> None:
    try:
        text = encode_raw(tokens)
    except CarveoutError:
        assert any(split(token) != [token] or token.count('"') % 2 for token in tokens)
        return
    assert split(text) == tokens
