# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual machines on the carved host, each with all of its memory in one device or mount of the plan.

QEMU gets the options that ``carveout plan --format tenants`` prints. What the guest wrote is then looked for from the
host, in the file that QEMU has open.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.kernel import initrd, packages

from . import bundle, payload
from .host import Host, lab_plan, must, wait_for

#: Distance of the words that the payload writes. An emulated host needs a second for some 5,000 of them.
STEP = 64 << 10
#: What the firmware may keep at the end of a guest's memory.
_FIRMWARE_KEEPS = 1 << 20
#: Seconds for the payload, and for Linux, in a guest that is emulated by an emulated machine.
_PAYLOAD_LIMIT, _LINUX_LIMIT = 240.0, 900.0
#: The device that Linux boots in, and how much of it is filled with pages that begin with a text.
_LINUX_DEVICE, _FILLED_MIB = "vm-d", 32
_LOOKER = Path(__file__).with_name("guest_memory.py")
_DONE = re.compile("@@@ done")
_BASE = (
    "-accel tcg,thread=single -cpu qemu64 -smp 1 -machine pc,usb=off,vmport=off,hpet=off -nodefaults "
    "-no-user-config -vga none -display none -no-reboot"
)


class Use(NamedTuple):
    """A device or a mount, and QEMU's options for a guest in it."""

    name: str
    path: str
    size: int
    options: tuple[str, ...]


def uses(text: str) -> Iterator[Use]:
    """What ``carveout plan --format tenants`` says, block by block."""
    for block in text.split("\n\n"):
        lines = re.findall(r"^      (-.*?)(?: \\)?$", block, re.MULTILINE)
        options = tuple(word for line in lines for word in shlex.split(line))
        fields = dict(field.split("=", 1) for field in options[options.index("-object") + 1].split(",")[1:])
        yield Use(block.split(":", 1)[0], fields["mem-path"], int(fields["size"]), options)


class Guest:
    """A QEMU on the host that stays until the block ends."""

    def __init__(self, host: Host, use: Use, kernel: str) -> None:
        self._host, self._console = host, f"{bundle.FOLDER}/console"
        words = [bundle.PROGRAM, *_BASE.split(), *use.options, "-serial", f"file:{self._console}"]
        host.run("rm", "-f", self._console)
        self._pid = host.background(f"{shlex.join(words)} {kernel} >{bundle.FOLDER}/log 2>&1")

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self._host.run("kill", "-9", str(self._pid), check=False)
        wait_for("QEMU's end", 30, lambda: not self._runs())

    def said(self, last: re.Pattern[str], limit: float) -> str:
        """Its console, as soon as ``last`` is there; TenantError where that takes too long or QEMU ends."""

        def look() -> str:
            text = self._host.run("cat", self._console, check=False)
            done = last.search(text) is not None
            must(done or self._runs(), f"QEMU ended: {self._log()}\n{text[-2000:]}")
            return text if done else ""

        return str(wait_for("the guest's last word", limit, look))

    def pages(self, use: Use, *words: object) -> dict[str, int]:
        """What guest_memory.py finds."""
        found: dict[str, int] = self._host.script(
            _LOOKER, str(self._pid), use.path, str(use.size), *map(str, words)
        )
        return found

    def _runs(self) -> bool:
        state = self._host.run("sh", "-c", f"cut -d' ' -f3 /proc/{self._pid}/stat 2>/dev/null", check=False)
        return state.strip() not in ("", "Z")

    def _log(self) -> str:
        return self._host.run("cat", f"{bundle.FOLDER}/log", check=False).strip()


def run(host: Host) -> None:
    """A tiny guest in every device and mount, Linux in one; TenantError where one is not as it has to be."""
    plan = lab_plan()
    found = list(uses(host.tenants_text(plan)))
    host.send(bundle.bundle())
    for number, use in enumerate(found):
        _tiny(host, use, seed=0x5EED0000 + number)
    _linux(host, next(use for use in found if use.name == _LINUX_DEVICE))
    host.verify()


def _tiny(host: Host, use: Use, seed: int) -> None:
    started = time.monotonic()
    image = f"{bundle.FOLDER}/payload"
    host.send({image: (payload.image(seed, STEP), 0o644)})
    with Guest(host, use, f"-kernel {image}") as guest:
        report = payload.read_report(guest.said(payload.REPORT, _PAYLOAD_LIMIT))
        seen = guest.pages(use, "words", seed, payload.FIRST, report.end, STEP)
    must(report.wrong == 0, f"{use.name}: the guest read {report.wrong} words that it had not written")
    missing = use.size - report.end
    must(0 <= missing <= _FIRMWARE_KEEPS, f"{use.name}: the guest saw {report.end} of {use.size} bytes")
    must(
        seen["wrong"] == 0 and seen["compared"] > 0, f"{use.name}: the host sees {seen} of the guest's words"
    )
    print(
        f"ok  {use.name}: a guest of {use.size >> 20} MiB wrote and read {seen['compared']} words; the host sees "
        f"each in {use.path} ({time.monotonic() - started:.0f} s)",
        flush=True,
    )


def _linux(host: Host, use: Use) -> None:
    """Debian's kernel, with an initrd that fills files with pages that begin with a text of this run."""
    started = time.monotonic()
    kernel = packages.kernel("6.12")
    text = f"carveout-{time.time_ns()}"
    host.send(
        {
            f"{bundle.FOLDER}/vmlinuz": (kernel.image.read_bytes(), 0o644),
            f"{bundle.FOLDER}/initrd": (initrd.build(packages.busybox(), {}, _init(text)), 0o644),
        }
    )
    line = "console=ttyS0 quiet panic=-1 no_timer_check nokaslr"
    words = f"-kernel {bundle.FOLDER}/vmlinuz -initrd {bundle.FOLDER}/initrd -append {shlex.quote(line)}"
    with Guest(host, use, words) as guest:
        said = guest.said(_DONE, _LINUX_LIMIT)
        pages = guest.pages(use, "pages", text)["pages"]
    total = int(re.search(r"MemTotal: +(\d+) kB", said)[1]) >> 10  # type: ignore[index]
    release = re.search(r"Linux version (\S+)", said)
    must(
        release is not None and release[1] == kernel.release, f"{use.name}: another kernel said {said[:300]}"
    )
    must(0.7 * use.size < total << 20 < use.size, f"{use.name}: Linux has {total} MiB of {use.size >> 20}")
    wanted = _FILLED_MIB << 20 >> 12
    must(pages >= wanted, f"{use.name}: the host sees {pages} of {wanted} pages that Linux wrote")
    print(
        f"ok  {use.name}: Linux {kernel.release} booted in it, MemTotal {total} MiB; the host sees {pages} pages of "
        f"its files in {use.path} ({time.monotonic() - started:.0f} s)",
        flush=True,
    )


def _init(text: str) -> str:
    lines = [
        "#!/bin/busybox sh",
        "/bin/busybox --install -s /bin",
        "export PATH=/bin",
        "mount -t proc proc /proc",
        "mount -t devtmpfs dev /dev",
        "exec > /dev/ttyS0 2>&1",
        "cat /proc/version; grep MemTotal /proc/meminfo",
        # a page that begins with the text, doubled until there is enough
        f"echo {text} > /a; dd if=/a of=/page bs=4096 conv=sync 2>/dev/null",
        "cp /page /many; n=4096",
        f"while [ $n -lt {_FILLED_MIB << 20} ]; do cat /many /many > /b; mv /b /many; n=$((n * 2)); done",
        "echo '@@@ done'",
        "sleep 100000",
        "",
    ]
    return "\n".join(lines)
