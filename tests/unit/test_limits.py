# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to hold for a host to come up: a line that the kernel takes whole, and memory for the kernel."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from small_hosts import make_host, make_plan

from ansible_collections.carveout.memory.plugins.module_utils._errors import NotPossible, Problem
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB

HOST = make_host([(0, 3 * GIB, 1), (4 * GIB, 12 * GIB, 1)], [(0, 0, 12 * GIB)])
POOLS = {"a": {"mechanism": "reserved", "nodes": {"0": "4GiB"}}}


def refused(host: Host, kernel: str = "1GiB", pools: dict[str, Any] | None = None) -> Problem:
    with pytest.raises(NotPossible) as caught:
        make_layout(make_plan(kernel, pools or POOLS), host)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("cmdline", "tokens", "image"),
    [
        # what runs now, the boot loader's own argument included
        ("BOOT_IMAGE=/vmlinuz-6.12.107 ro", None, ""),
        # the tokens of the entry that boots next are without it
        ("BOOT_IMAGE=/vmlinuz-6.12.107 ro", ("ro",), "BOOT_IMAGE=/vmlinuz-6.12.107"),
        ("", ("ro",), "BOOT_IMAGE=/boot/vmlinuz-6.12.107"),
    ],
)
def test_the_whole_line_is_counted(cmdline: str, tokens: tuple[str, ...] | None, image: str) -> None:
    host = dataclasses.replace(HOST, cmdline=cmdline, boot_arguments=tokens)
    ours = len(" ".join(make_layout(make_plan("1GiB", POOLS), host).kernel_arguments))
    there = len(" ".join([image, *tokens]) if tokens is not None else cmdline)
    # The kernel takes 2048 bytes with the NUL: there is room for this much, a blank on each side.
    room = 2047 - there - ours - 2

    def with_word(length: int) -> Host:
        if tokens is None:
            return dataclasses.replace(host, cmdline=f"{cmdline} {'x' * length}")
        return dataclasses.replace(host, boot_arguments=(*tokens, "x" * length))

    assert make_layout(make_plan("1GiB", POOLS), with_word(room))
    problem = refused(with_word(room + 3))
    assert problem.code == "command-line-too-long"
    assert f"would be 2050 bytes, {ours} of them Carveout's; it takes 2047: 3 too many" in problem.message
    # Without its only reservation nothing would be left of the plan.
    assert "3 too many; fewer arguments of others are needed, the longest of which are" in problem.message
    assert problem.message.endswith(f"{'x' * 40} ({room + 3} bytes) and {'ro'} (2 bytes)")


def test_how_many_reservations_less_would_do() -> None:
    pools = {f"p{n}": {"mechanism": "reserved", "nodes": {"0": "128MiB"}, "align": "2MiB"} for n in range(9)}
    layout = make_layout(make_plan("1GiB", pools), HOST)
    there = 2048 - len(" ".join(layout.kernel_arguments)) - 1 + 24
    problem = refused(dataclasses.replace(HOST, cmdline="x" * there), pools=pools)
    assert "25 too many; 2 of its 9 reservations less would do (fewer pools" in problem.message


def test_another_kernel_that_boots_next_has_another_path() -> None:
    host = dataclasses.replace(
        HOST,
        cmdline="BOOT_IMAGE=/vmlinuz-6.12.107 ro",
        boot_arguments=("ro", "x" * 1900),
        kernel_default="6.12.107",
    )
    longer = dataclasses.replace(host, kernel_default="6.12.117+deb13-amd64")
    lengths = [
        int(re.findall(r"would be (\d+) bytes", refused(each, pools={**POOLS, **MORE}).message)[0])
        for each in (host, longer)
    ]
    assert lengths[1] - lengths[0] == len("6.12.117+deb13-amd64") - len("6.12.107")


MORE = {f"p{n}": {"mechanism": "reserved", "nodes": {"0": "128MiB"}} for n in range(8)}


@pytest.mark.parametrize(
    ("crash", "says"),
    [
        ("", "left with 252 MiB beside its struct pages; it needs at least 512MiB"),
        (
            " crashkernel=128M",
            "left with 124 MiB beside its struct pages and the 128MiB of crashkernel=; it needs",
        ),
    ],
)
def test_too_little_for_the_kernel(crash: str, says: str) -> None:
    host = make_host([(0, 256 * 1048576, 1), (4 * GIB, 8 * GIB, 1)], [(0, 0, 8 * GIB)], cmdline=f"ro{crash}")
    problem = refused(host, "0", {"a": {"mechanism": "reserved", "nodes": {"0": "4GiB"}}})
    assert (problem.path, problem.code) == ("kernel.memory", "kernel-left-with-too-little")
    assert says in problem.message
    _, _, nearest = problem.message.partition("nearest that fits: pools.a.nodes.0: ")
    assert make_layout(make_plan("0", {"a": {"mechanism": "reserved", "nodes": {"0": nearest}}}), host)


def test_the_crash_kernel_finds_its_room() -> None:
    """6 GiB in one piece are there only above 4 GiB."""
    host = dataclasses.replace(HOST, cmdline="crashkernel=6G,high")
    pools = {"a": {"mechanism": "reserved", "nodes": {"0": "4GiB"}}}
    problem = refused(host, "1GiB", pools)
    assert (problem.path, problem.code) == ("kernel.memory", "crashkernel-does-not-fit")
    assert (
        "sets 6.25GiB aside today; with this plan there is no RAM for crashkernel= of 6 GiB"
        in problem.message
    )
    assert make_layout(make_plan("1GiB", {"a": {"mechanism": "reserved", "nodes": {"0": "1GiB"}}}), host)


def test_the_crash_kernel_that_goes_by_the_amount_of_ram() -> None:
    host = dataclasses.replace(HOST, cmdline="crashkernel=1G-6G:128M,6G-:512M")
    (warning,) = make_layout(
        make_plan("1GiB", {"a": {"mechanism": "reserved", "nodes": {"0": "7GiB"}}}), host
    ).warnings
    assert warning.code == "crashkernel-smaller"
    assert warning.message.startswith("crashkernel= sets 128MiB aside instead of 512MiB")
