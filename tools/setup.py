#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Set up a checkout: Debian packages, then `.venv` with the locked Python packages and Carveout, editable.

Needs only Python and its standard library. Runs again at no cost: what is there already is left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "carveout-setup.stamp"
LOG = VENV / "carveout-setup.log"
PACKAGES = ROOT / "tools" / "system-packages.txt"
LOCK = ROOT / "requirements.lock"
# When one of these changes, the environment has to be brought up to date
INPUTS = (LOCK, ROOT / "pyproject.toml", ROOT / "plugins" / "module_utils" / "_version.py")
OLDEST_PYTHON = (3, 11)
# Off a terminal a long step says this often that it still lives
HEARTBEAT_SECONDS = 15


class SetupError(Exception):
    """What the person at the keyboard has to do next."""


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Show a step while it runs, and how long it took; on a terminal with a running clock."""
    start, end = ("\r", "") if sys.stdout.isatty() else ("", "\n")
    started = time.monotonic()
    over = threading.Event()

    def elapsed() -> str:
        return f"{start}setup: {text} ({time.monotonic() - started:.0f} s)"

    def tick() -> None:
        while not over.wait(1 if sys.stdout.isatty() else HEARTBEAT_SECONDS):
            print(f"{elapsed()} ...", end=end, flush=True)

    print(f"setup: {text} ...", end=end, flush=True)
    clock = threading.Thread(target=tick, daemon=True)
    clock.start()
    ended = "failed"
    try:
        yield
        ended = "done"
    finally:
        over.set()
        clock.join()
        print(f"{elapsed()} {ended}", flush=True)


def run(*argv: str, log: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command without input, its output kept aside; where it fails, its last lines say why."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", env=env, cwd=ROOT, check=False,
    )  # fmt: skip
    if log is not None:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"$ {' '.join(argv)}\n{done.stdout}")
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-15:])
        raise SetupError(f"'{' '.join(argv)}' ended with status {done.returncode}:\n  {tail}")


def wanted_packages() -> list[str]:
    """The names in tools/system-packages.txt."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    return [name for name in (line.partition("#")[0].strip() for line in lines) if name]


def missing_packages() -> list[str]:
    """The wanted Debian packages that are not installed."""
    wanted = wanted_packages()
    if shutil.which("dpkg-query") is None:
        raise SetupError(
            "this is not a Debian system (no dpkg-query). Install what these Debian packages hold,\n"
            f"  {' '.join(wanted)}\n"
            "then run 'python3 tools/setup.py --skip-system-packages'."
        )
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted]
    # its status is 1 where it does not know one of the names: then that one is missing, which is what we ask
    answer = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def privilege(command: str) -> list[str]:
    """What to put before a command so that it runs as root: nothing, or sudo."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is not None:
        silent = subprocess.run(
            ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if silent.returncode == 0:
            return ["sudo", "-n"]
        # ask for the password here, before the running clock writes over the question
        if sys.stdin.isatty() and subprocess.run(["sudo", "-v"], check=False).returncode == 0:
            return ["sudo", "-n"]
    raise SetupError(
        "Debian packages are missing, and this is neither root nor someone whom sudo lets in.\n"
        f"Have root run\n  {command}\nand start again."
    )


def install_system_packages() -> None:
    """Install the wanted Debian packages that are missing."""
    missing = missing_packages()
    if not missing:
        return
    as_root = privilege(f"apt-get update && apt-get install --no-install-recommends {' '.join(missing)}")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]
    with step("refreshing the list of Debian packages"):
        run(*apt, "update")
    with step(f"installing Debian packages: {' '.join(missing)}"):
        run(*apt, "install", "--yes", "--no-install-recommends", *missing)


def fingerprint() -> str:
    """What the environment was made from; a moved checkout or another Python makes another one."""
    digest = hashlib.sha256(f"{ROOT}\n{Path(sys.executable).resolve()}\n{sys.version}\n".encode())
    for path in INPUTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fits(python: Path) -> bool:
    """Whether the environment at hand was made at this place by this Python; else pip cannot mend it."""
    if not python.exists():
        return False
    config = VENV / "pyvenv.cfg"
    settings = dict(line.split(" = ", 1) for line in config.read_text().splitlines() if " = " in line)
    scripts = VENV / "bin" / "activate"
    return (
        settings.get("version") == ".".join(map(str, sys.version_info[:3]))
        and Path(settings.get("home", "")).resolve() == Path(sys.executable).resolve().parent
        and str(VENV) in scripts.read_text()
    )


def install_python_packages() -> None:
    """Make or mend `.venv`."""
    want = fingerprint()
    python = VENV / "bin" / "python"
    if python.exists() and STAMP.exists() and STAMP.read_text() == want:
        return
    STAMP.unlink(missing_ok=True)
    if not fits(python):
        with step(f"making .venv with Python {sys.version.split()[0]}"):
            run(sys.executable, "-m", "venv", "--clear", str(VENV))
    # pip reads neither a password nor an answer, and a PYTHONPATH would hide what is missing
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env.update(PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    pip = [str(python), "-m", "pip", "install", "--progress-bar", "off"]
    editable = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", str(ROOT)]
    with step("installing Python packages from requirements.lock"):
        run(*pip, "--require-hashes", "--requirement", str(LOCK), log=LOG, env=env)
    with step("installing carveout, editable"):
        run(*pip, *editable, log=LOG, env=env)
    STAMP.write_text(want)


def main() -> int:
    """Set up the checkout; 0 where it is ready, 1 with a message where a person has to do something."""
    parser = argparse.ArgumentParser(description="Set up this checkout of Carveout.")
    parser.add_argument("--skip-system-packages", action="store_true", help="leave Debian packages alone")
    options = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        print(f"setup: Python {oldest} or newer is needed; this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    checkout = os.open(ROOT, os.O_RDONLY)
    try:
        # two at once would make the same environment over each other
        fcntl.flock(checkout, fcntl.LOCK_EX)
        if not options.skip_system_packages:
            install_system_packages()
        install_python_packages()
    except (SetupError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: stopped; run it again to go on", file=sys.stderr)
        return 1
    finally:
        os.close(checkout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
