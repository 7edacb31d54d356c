# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to hold for a host to come up at all: enough memory for its kernel, and a line that it takes.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._arguments import COMMAND_LINE_SIZE, parse
from .._errors import NotPossible
from .._host.model import Host, MapEntry
from .._layout import Layout, LayoutWarning, Memory, Reservation
from .._model.crashkernel import CrashkernelResult, crashkernel
from .._model.sections import ram_of
from .._units import MIB, SECTION, align_down, align_up, approximate_size, format_size
from .nodes import NodePlan

#: Less than this beside its struct pages, and a distribution's kernel with its initrd and services
#: does not come up far enough to be reached.
MINIMUM_KERNEL = 512 * MIB
#: What the boot loader puts before the arguments (grub-core/loader/i386/linux.c, LINUX_IMAGE).
_BOOT_IMAGE = "BOOT_IMAGE"


def check_kernels_share(
    host: Host,
    total: Memory,
    maps: tuple[Sequence[MapEntry], Sequence[MapEntry]],
    nodes: Sequence[NodePlan],
    taken: Sequence[Reservation],
    huge: int,
) -> list[LayoutWarning]:
    """Raises :class:`NotPossible` where the kernel is left with less than it needs to come up.

    That is :data:`MINIMUM_KERNEL` (its image, the initrd and first services), its struct pages, and
    what others' ``crashkernel=`` takes of it, which has to find its room as without our arguments.
    ``maps`` are the kernel's without and with them, ``huge`` the bytes of huge pages, which are of its RAM but of
    no use to it.
    """
    before = after = CrashkernelResult()
    if any("crashkernel=" in token for token in host.foreign_tokens):
        before, after = (crashkernel(host.foreign_tokens, ram_of(entries), host.kernel) for entries in maps)
    wanted, got = before.low + before.high, after.low + after.high
    if wanted and not got and after.warnings:
        raise NotPossible.of(
            "kernel.memory",
            "crashkernel-does-not-fit",
            f"crashkernel= on the command line sets {format_size(wanted)} aside today; with this plan "
            f"{after.warnings[0].message}. Keep {format_size(wanted)} more in one piece for the kernel, or make "
            f"crashkernel= smaller{_nearest(wanted, nodes, taken)}",
        )
    left = total.kernel_after - total.struct_pages_after - got - huge
    if left < MINIMUM_KERNEL:
        # More RAM brings its own struct pages (a 64th), in whole sections.
        missing = MINIMUM_KERNEL - left
        missing = align_up(missing + missing // 32 + SECTION, SECTION)
        beside = "its struct pages" + (f" and the {format_size(got)} of crashkernel=" if got else "")
        beside += f" and {format_size(huge)} of huge pages" if huge else ""
        raise NotPossible.of(
            "kernel.memory",
            "kernel-left-with-too-little",
            f"the kernel would be left with {approximate_size(max(0, left))} beside {beside}; it needs at "
            f"least {format_size(MINIMUM_KERNEL)} to come up: {format_size(missing)} more, on all nodes together"
            f"{_nearest(missing, nodes, taken)}",
        )
    if got < wanted:
        text = (
            f"crashkernel= sets {format_size(got)} aside instead of {format_size(wanted)}, because it goes by how much "
            "RAM the kernel has; give it one size if the crash kernel needs more"
        )
        return [LayoutWarning("crashkernel-smaller", text)]
    return []


def _nearest(missing: int, nodes: Sequence[NodePlan], taken: Sequence[Reservation]) -> str:
    """The pool with the most memory on one node, smaller by what is missing."""
    sizes: dict[tuple[str, int], int] = {}
    for r in taken:
        sizes[r.pool, r.node] = sizes.get((r.pool, r.node), 0) + r.range.size
    for (pool, number), size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        node = next(n for n in nodes if n.node == number)
        demand = next(d for d in node.demands if d.pool == pool)
        less = align_down(size - missing, demand.align)
        if less > 0:
            return f"; nearest that fits: {node.path(pool)}: {format_size(less)}"
    return ""


def check_length(host: Host, layout: Layout) -> None:
    """Raises :class:`NotPossible` where the kernel does not take the whole command line.

    Counted are the arguments of others, ours, what the boot loader puts before them, and the NUL.
    """
    foreign = host.foreign_tokens
    image = _boot_image(host)
    line = " ".join([*image, *foreign, *layout.kernel_arguments]).encode()
    over = len(line) + 1 - COMMAND_LINE_SIZE
    if over <= 0:
        return
    ours = len(" ".join(layout.kernel_arguments).encode())
    shortest = sorted(len(a) + 1 for a in layout.arguments if a.startswith("memmap="))
    fewer = next((n for n in range(1, len(shortest)) if sum(shortest[:n]) >= over), None)
    less = ""
    if fewer:
        less = (
            f"{fewer} of its {len(layout.reservations)} reservations less would do (fewer pools or nodes, fixed sizes "
            "instead of the rest of a node with many holes), or "
        )
    longest = sorted((a for a in foreign if parse(a).name != _BOOT_IMAGE), key=lambda a: (-len(a), a))[:2]
    raise NotPossible.of(
        "pools",
        "command-line-too-long",
        f"the kernel's command line would be {len(line)} bytes, {ours} of them Carveout's; it takes "
        f"{COMMAND_LINE_SIZE - 1}: {over} too many; {less}fewer arguments of others are "
        f"needed{_named(longest)}",
    )


def _named(tokens: Sequence[str]) -> str:
    return (
        ", the longest of which are " + " and ".join(f"{t[:40]} ({len(t)} bytes)" for t in tokens)
        if tokens
        else ""
    )


def _boot_image(host: Host) -> list[str]:
    """The loader's own argument where the host's tokens are without it: GRUB's is the kernel's path."""
    if host.boot_arguments is None:
        return []
    words = [token for token in host.cmdline.split() if parse(token).name == _BOOT_IMAGE]
    if not words:
        return [f"{_BOOT_IMAGE}=/boot/vmlinuz-{host.kernel}"]
    return [words[0].replace(host.kernel_running, host.kernel) if host.kernel_running else words[0]]
