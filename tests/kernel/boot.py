# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot one kernel on one virtual machine and see what it made of its memory."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from . import packages
from .initrd import MARK, build, init_script
from .machine import Machine, qemu_arguments
from .observation import Observation, read_report
from .packages import Kernel

#: What comes first on every command line. ``quiet`` keeps the console short: the log is read at the end;
#: ``no_timer_check``: on a busy machine the emulated timer is found to be late, and the kernel gives up.
BASE = "console=ttyS0 earlyprintk=ttyS0 quiet panic=-1 no_timer_check"

#: Modules that are loaded, in this order; with parameters where they have some.
MODULES = ("device_dax", "dax_hmem")

#: Seconds of CPU after which a machine without a report counts as dead. A boot takes about 5.
TIMEOUT = 60.0

_DEAD = re.compile(rb"PANIC: early exception|Kernel panic|System halted|Out of memory and no killable")
_GRACE = 1.5
#: Seconds without work after which a machine counts as dead; a kernel that starts has always something to do.
_IDLE = 20.0
#: No boot may take longer than this many times its CPU time, however busy this machine is.
_LONGEST = 10
_TICKS = os.sysconf("SC_CLK_TCK")


@cache
def _busybox() -> bytes:
    return packages.busybox()


def boot(
    kernel: Kernel,
    cmdline: str,
    machine: Machine | None = None,
    *,
    modules: Sequence[str] = MODULES,
    files: Sequence[str] = (),
    commands: str = "",
    timeout: float = TIMEOUT,
) -> Observation:
    """Boot, and return what was seen; a kernel that dies or hangs is an observation too.

    ``cmdline`` follows :data:`BASE`. ``modules`` are those to load, of the kernel's drivers/dax and drivers/nvdimm
    ("dax_hmem region_idle=1"; names as the files', with ``_``). ``files``: more files (patterns of a shell) for
    ``Observation.files``. ``commands``: a shell's text, run last; its output is ``sections["commands"]``.
    """
    machine = machine or Machine()
    whole = f"{BASE} {cmdline}".rstrip()
    with tempfile.TemporaryDirectory(prefix="carveout-kernel-") as folder:
        initrd, console = Path(folder, "initrd"), Path(folder, "console")
        names = [words.split()[0] for words in modules]
        contents = {name: kernel.modules[name].read_bytes() for name in names}
        initrd.write_bytes(build(_busybox(), contents, init_script(modules, files, commands)))
        console.touch()
        started = time.monotonic()
        ended = _run(qemu_arguments(machine, kernel.image, initrd, whole, console), console, timeout)
        seconds = time.monotonic() - started
        text = console.read_text(encoding="utf-8", errors="replace")
    booted = f"\n{MARK} done" in text
    sections, files_seen, tables = read_report(text)
    return Observation(
        kernel.release,
        machine,
        whole,
        booted,
        "" if booted else ended,
        seconds,
        text,
        sections,
        files_seen,
        tables,
    )


def _run(argv: Sequence[str], console: Path, timeout: float) -> str:
    """Run QEMU to its end, and say how it ended."""
    # the machine goes with whoever started it, however that ends
    bound = ["setpriv", "--pdeathsig", "KILL", *argv]
    with subprocess.Popen(
        bound, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as qemu:
        try:
            words = _watch(qemu, console, timeout)
        finally:
            qemu.kill()
        output = qemu.communicate()[0].decode(errors="replace").strip()
    if qemu.returncode > 0:
        raise RuntimeError(f"QEMU ended with status {qemu.returncode}: {output}")
    return words


def _watch(qemu: subprocess.Popen[bytes], console: Path, timeout: float) -> str:
    """Wait until QEMU ends or its kernel is dead. Time is QEMU's own: the machine may be busy with other things."""
    started = worked = time.monotonic()
    longest = _LONGEST * timeout
    before = seen = 0.0
    dying = ""
    while True:
        try:
            qemu.wait(0.1)
            return dying or "the kernel restarted the machine"
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        cpu = _cpu_seconds(qemu.pid)
        wanted = cpu + _waited_seconds(qemu.pid)
        if wanted - before >= 0.5:
            before, worked = wanted, now
        data = console.read_bytes()
        dead = _DEAD.search(data) if len(data) != seen else None
        seen = len(data)
        if dead and not dying:
            dying = f"the kernel died: {dead[0].decode()}"
            timeout = min(timeout, cpu + _GRACE)
            started = now - longest + 5 * _GRACE
        if cpu > timeout:
            return dying or f"no end within {timeout:.0f} s of CPU"
        if now - worked > _IDLE or now - started > longest:
            return dying or "the kernel hangs: it does nothing"


def _cpu_seconds(pid: int) -> float:
    """CPU time that a process has had."""
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _waited_seconds(pid: int) -> float:
    """Time that a process's threads wanted a CPU and had none: it is the machine that is busy, not the kernel idle."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(path.read_text(encoding="ascii").split()[1])
    return total / 1e9
