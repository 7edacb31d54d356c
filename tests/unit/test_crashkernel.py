# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What crashkernel= sets aside below and above 4 GiB, and which forms are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._arguments import split
from ansible_collections.carveout.memory.plugins.module_utils._model.crashkernel import crashkernel
from ansible_collections.carveout.memory.plugins.module_utils._ranges import RangeSet
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB, MIB

OLD, NEW, NEWEST = "6.1.0-50-amd64", "6.12.117+deb13-amd64", "7.2.12+deb14-amd64"
#: 6 GiB of RAM: 1 MiB to 3 GiB and 4 to 7 GiB.
RAM = RangeSet([(MIB, 3 * GIB), (4 * GIB, 7 * GIB)])
BOTH = (OLD, NEW)


def sizes(cmdline: str, release: str, ram: RangeSet = RAM) -> tuple[int, int]:
    """MiB below and above 4 GiB."""
    result = crashkernel(split(cmdline), ram, release)
    return result.low // MIB, result.high // MIB


@pytest.mark.parametrize(
    ("cmdline", "releases", "expected"),
    [
        ("quiet", BOTH, (0, 0)),
        ("crashkernel=256M", BOTH, (256, 0)),
        ("crashkernel=512M,high", BOTH, (256, 512)),
        ("crashkernel=512M,high crashkernel=128M,low", BOTH, (128, 512)),
        ("crashkernel=512M,high crashkernel=0,low", BOTH, (0, 512)),
        ("crashkernel=512M,high swiotlb=262144", BOTH, (520, 512)),
        # the last of a form counts, also behind -- and inside of a word
        ("crashkernel=128M crashkernel=192M", BOTH, (192, 0)),
        ("crashkernel=128M -- crashkernel=64M", BOTH, (64, 0)),
        ("crashkernel=128M xcrashkernel=64M", BOTH, (64, 0)),
        # ,high is for lines without a plain form; a wrong plain form ends it from 6.7 on
        ("crashkernel=512M,high crashkernel=128M", BOTH, (128, 0)),
        ("crashkernel=bad crashkernel=512M,high", (OLD,), (256, 512)),
        ("crashkernel=bad crashkernel=512M,high", (NEW,), (0, 0)),
        ("crashkernel=512M,high crashkernel=bad,low", (OLD,), (256, 512)),
        ("crashkernel=512M,high crashkernel=bad,low", (NEW,), (0, 0)),
        ("crashkernel=128M,low", BOTH, (0, 0)),
        # by the RAM there is, rounded up to 128 MiB
        ("crashkernel=1G-4G:128M,4G-:192M", BOTH, (192, 0)),
        ("crashkernel=1G-6G:128M,6G-:192M", BOTH, (192, 0)),
        ("crashkernel=1G-6G:128M,6G-:192M", ("5.10.0-32-amd64",), (128, 0)),
        ("crashkernel=64G-:192M", BOTH, (0, 0)),
        ("crashkernel=4G-2G:1M", BOTH, (0, 0)),
        ("crashkernel=1G-:64G", BOTH, (0, 0)),
        ("crashkernel=1G:64M", BOTH, (0, 0)),
        ("crashkernel=1G-:64M@512M", BOTH, (64, 0)),
        # at an address
        ("crashkernel=256M@1G", BOTH, (256, 0)),
        ("crashkernel=256M@1025M", (OLD,), (256, 0)),
        ("crashkernel=256M@1025M", (NEW,), (0, 0)),
        ("crashkernel=256M@5G", (OLD,), (256, 256)),
        ("crashkernel=256M@5G", (NEW,), (0, 256)),
        ("crashkernel=256M@3G", BOTH, (0, 0)),
        # more than there is in one piece
        ("crashkernel=2980M,high", BOTH, (256, 2980)),
        ("crashkernel=4G", BOTH, (0, 0)),
        ("crashkernel=8G", BOTH, (0, 0)),
        ("crashkernel=256Mx", BOTH, (0, 0)),
        ("crashkernel=auto", BOTH, (0, 0)),
        ('crashkernel="256M"', BOTH, (0, 0)),
    ],
)
def test_sizes(cmdline: str, releases: tuple[str, ...], expected: tuple[int, int]) -> None:
    for release in releases:
        assert sizes(cmdline, release) == expected, release


def test_above_4_gib_where_there_is_no_room_below() -> None:
    ram = RangeSet([(MIB, GIB), (4 * GIB, 20 * GIB)])
    assert sizes("crashkernel=2G", OLD, ram) == (256, 2048)
    assert sizes("crashkernel=2G", NEW, ram) == (256, 2048)
    assert sizes("crashkernel=2G crashkernel=64M,low", OLD, ram) == (64, 2048)
    # from 6.7 on ,low is not looked at without ,high
    assert sizes("crashkernel=2G crashkernel=64M,low", NEW, ram) == (256, 2048)
    # and below where there is none above
    low = RangeSet([(MIB, 3 * GIB)])
    assert sizes("crashkernel=256M,high", OLD, low) == sizes("crashkernel=256M,high", NEW, low) == (256, 0)


def test_memory_that_goes_on_being_used() -> None:
    line = split("crashkernel=512M,cma crashkernel=128M")
    newest = crashkernel(line, RAM, NEWEST)
    assert (newest.low, newest.cma) == (128 * MIB, 512 * MIB)
    assert crashkernel(split("crashkernel=128M crashkernel=512M,cma"), RAM, NEW).low == 0
    assert crashkernel(split("crashkernel=512M,cma"), RAM, NEWEST).ignored


def test_what_is_ignored_and_why() -> None:
    result = crashkernel(split("crashkernel=1M crashkernel=9M,low crashkernel=64Mx"), RAM, NEW)
    assert [i.argument for i in result.ignored] == ["crashkernel=1M", "crashkernel=64Mx"]
    full = crashkernel(["crashkernel=4G"], RAM, NEW)
    assert [w.code for w in full.warnings] == ["crashkernel-fails"]
    close = crashkernel(["crashkernel=2800M"], RAM, NEW)
    assert [w.code for w in close.warnings] == ["crashkernel-tight"]


@given(
    st.lists(
        st.text(alphabet="0123456789MGhighlowcma,:-@", max_size=16).map("crashkernel={}".format), max_size=4
    ),
    st.sampled_from((OLD, NEW, NEWEST)),
)
def test_any_values_come_to_no_more_than_there_is(tokens: list[str], release: str) -> None:
    result = crashkernel(tokens, RAM, release)
    assert 0 <= result.low <= 3 * GIB
    assert 0 <= result.high <= 3 * GIB
