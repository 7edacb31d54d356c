# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the suite on the controller, in a pytest of its own: no configuration or plugin of the surroundings counts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ansible_collections.carveout.memory.plugins.module_utils._host.text import printable

_SUITE = Path(__file__).with_name("test_host.py")
_PLUGIN = "ansible_collections.carveout.memory.plugins.plugin_utils.testinfra_plugin"
#: What would bring in options and plugins of the surroundings.
_FOREIGN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
#: What would be more than a name in a URL, a pattern, a list, or a file's path.
_NOT_IN_NAMES = re.compile(r"[\s/\\,?#*\[\]\x00-\x1f\x7f]")
#: Seconds; a host that answers needs a few.
_TIMEOUT = 900


class SuiteError(Exception):
    """The suite could not be run; the message says why."""


@dataclass(frozen=True)
class SuiteResult:
    """``passed`` only where every test of every host ran and passed; ``failures`` are the messages, each once."""

    passed: bool
    tests: int
    failures: tuple[str, ...]
    hosts: Mapping[str, Any]
    output: str


def run_suite(
    inventory: Mapping[str, Any],
    layouts: Mapping[str, Any] | None,
    *,
    committed: bool = False,
    force_ansible: bool = False,
    junit: str = "",
) -> SuiteResult:
    """Verify hosts.

    ``inventory`` gives each host's connection variables by name, literal; it and ``layouts`` (layout JSON by host;
    None: the committed ones) are written where nobody else can read them. Raises :class:`SuiteError`.
    """
    for module in ("pytest", "testinfra"):
        if find_spec(module) is None:
            raise SuiteError(f"{module} is missing beside {sys.executable}: install pytest-testinfra there")
    if not inventory:
        raise SuiteError("no host to verify")
    for name in filter(_NOT_IN_NAMES.search, inventory):
        raise SuiteError(
            f"testinfra cannot take {name!a} as the name of a host; have another one in the inventory, and the "
            "address as its ansible_host"
        )
    with tempfile.TemporaryDirectory(prefix="carveout-verify-") as scratch:
        folder = Path(scratch)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        _write(folder / "inventory.json", {"all": {"hosts": dict(inventory)}})
        options = [f"--hosts={','.join(f'ansible://{name}' for name in inventory)}"]
        options.append(f"--ansible-inventory={folder / 'inventory.json'}")
        if layouts is not None:
            (folder / "layouts").mkdir()
            for name, layout in layouts.items():
                _write(folder / "layouts" / f"{name}.json", layout)
            options.append(f"--carveout-layouts={folder / 'layouts'}")
        if committed:
            options.append("--carveout-committed")
        if force_ansible:
            options.append("--force-ansible")
        if junit:
            options += [f"--junitxml={Path(junit).absolute()}", "-o", "junit_suite_name=carveout"]
        return _run(folder, options)


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def _run(folder: Path, options: list[str]) -> SuiteResult:
    report = folder / "report.json"
    argv = [
        *(
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-c",
            str(folder / "pytest.ini"),
            "--rootdir",
            str(_SUITE.parent),
        ),
        *("-p", "testinfra.plugin", "-p", _PLUGIN, "-p", "no:cacheprovider", "--import-mode=importlib"),
        *("-q", "--tb=short", f"--carveout-report={report}", *options, str(_SUITE)),
    ]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SuiteError(f"the hosts did not answer within {_TIMEOUT} s") from None
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SuiteError(f"the suite could not be run: {done.stdout.strip()[-3000:]}") from None
    tests = found["tests"]
    failures = [
        line for test in tests if test["outcome"] == "failed" for line in test["message"].splitlines()
    ]
    ran = [test for test in tests if test["outcome"] != "skipped"]
    if not ran and not failures:
        raise SuiteError(f"no test was run: {done.stdout.strip()[-3000:]}")
    # of a host's own words, what would do things to a terminal is written out
    failures = [printable(failure) for failure in failures]
    passed = done.returncode == 0
    if not passed and not failures:
        failures = done.stdout.strip().splitlines()[-20:]
    return SuiteResult(passed, len(ran), tuple(dict.fromkeys(failures)), found["hosts"], done.stdout)


def _environment() -> dict[str, str]:
    """Ours, with the collection importable and the programs of this Python's environment found first."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    root = next((p.parent for p in Path(__file__).parents if p.name == "ansible_collections"), None)
    paths = [str(root) if root else "", environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
