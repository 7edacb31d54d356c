# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same mappings again: after kexec into the same kernel, and after the power was cut.

kexec is called by the very lines of docs/tenants.md.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from .host import ROOT, Host, TenantError, must

_MARKS = Path(__file__).with_name("marks.py")
#: /proc/sys/kernel/bootloader_type where kexec_file_load loaded the kernel (arch/x86/kernel/kexec-bzimage64.c).
_KEXEC_FILE = "208"


def kexec(host: Host) -> None:
    """kexec, and everything is where it was, what was in it included."""
    _install_kexec(host)
    _look_at_legacy(host)
    before, text = host.devices(), f"before kexec {time.time_ns()}"
    marks = host.script(_MARKS, "write", text)
    started, boot = time.monotonic(), host.boot_id()
    # the login may end before the command has
    host.run("sh", "-ec", documented_lines(), check=False)
    host.await_reboot(boot)
    took = time.monotonic() - started
    loader = host.run("cat", "/proc/sys/kernel/bootloader_type").strip()
    must(loader == _KEXEC_FILE, f"the kernel was started by loader {loader}, not by kexec -s")
    must(
        host.script(_MARKS, "read") == marks, "kexec: the devices do not hold what was written in them before"
    )
    _compare(host, before, "kexec")
    print(
        f"ok  kexec: {len(before)} devices as before, with what was in them; verified ({took:.0f} s)",
        flush=True,
    )


def power_cut(host: Host) -> None:
    """No power, and everything is where it was; what was in it is gone."""
    before, text = host.devices(), f"before the cut {time.time_ns()}"
    host.script(_MARKS, "write", text)
    started = time.monotonic()
    host.run("sync")
    host.cut_power()
    host.await_devices()
    took = time.monotonic() - started
    left = [
        name for name, found in host.script(_MARKS, "read").items() if any(text in mark for mark in found)
    ]
    must(not left, f"the power was not cut: {', '.join(left)} still hold what was written in them before")
    _compare(host, before, "the power cut")
    print(
        f"ok  power cut: {len(before)} devices as before, empty; verified ({took:.0f} s)",
        flush=True,
    )


def documented_lines() -> str:
    """The shell's lines for kexec that docs/tenants.md gives."""
    text = (ROOT / "docs" / "tenants.md").read_text(encoding="utf-8")
    found = re.search(r"^```\n((?:(?!```).*\n)*systemctl kexec\n)```$", text, re.MULTILINE)
    if found is None:
        raise TenantError("docs/tenants.md gives no lines for kexec")
    return found[1]


def _install_kexec(host: Host) -> None:
    if not host.run("sh", "-c", "command -v kexec", check=False):
        host.run("sh", "-ec", (
            "export DEBIAN_FRONTEND=noninteractive; apt-get -qq -o Acquire::Languages=none update;"
            "apt-get -qq install --no-install-recommends kexec-tools"
        ), limit=900)  # fmt: skip


def _look_at_legacy(host: Host) -> None:
    """The older call is judged by the host's program: what it really loads, and what it would be bad to load."""
    load = """
        kexec -d -c -l /boot/vmlinuz-$(uname -r) --initrd=/boot/initrd.img-$(uname -r) \\
            --command-line="$(cat /proc/cmdline)" 2>&1
        kexec -u
    """
    said = _judged(host, host.run("sh", "-c", load))
    # where the program puts the kernel is its version's affair
    refused = "kexec would write its segment" in said and said.endswith("status 3")
    must(refused or said.endswith("carves out\nstatus 0"), f"kexec -c -l was not judged: {said}")
    print(f"    kexec -c -l: {said.splitlines()[0]}", flush=True)
    start = min(device["extents"][0][0] for device in host.devices().values())
    said = _judged(host, f"segment[0].mem   = {start:#x}\nsegment[0].memsz = 0x1000\n")
    must(
        f"[{start:#x}, {start + 4096:#x}) into" in said and said.endswith("status 3"), f"not refused: {said}"
    )


def _judged(host: Host, text: str) -> str:
    program = "python3 -B /usr/lib/carveout/carveout-*.pyz kexec 2>&1; echo status $?"
    return host.run("sh", "-c", program, stdin=text.encode()).strip()


def _compare(host: Host, before: dict[str, Any], what: str) -> None:
    after = host.devices()
    different = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    must(
        not different,
        f"{what}: "
        + "; ".join(f"{name} was {before.get(name)}, is {after.get(name)}" for name in sorted(different)),
    )
    host.verify()
