#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wheel alone: a clean environment that has nothing else of Carveout plans for a real host.

Builds the wheel, installs it with its dependencies (versions as in requirements.lock) into a new environment, and runs
``ansible-playbook carveout.memory.site --check`` and the command ``carveout`` there, from a folder that is no checkout.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def constraints(lock: str) -> str:
    """The versions of a lock file without its hashes: pip takes hashes for all packages or for none."""
    return "\n".join(re.findall(r"^[A-Za-z0-9_.\[\]-]+==[^\\\n]+", lock, re.MULTILINE)) + "\n"


def run(words: list[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    print("+", *words, flush=True)
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout)
        sys.exit(f"FAILED with status {done.returncode}: {words[0]}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inventory", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--plan", type=Path, default=ROOT / "plans" / "lab.yml")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carveout-wheel-") as temporary:
        folder = Path(temporary)
        wheels = folder / "wheels"
        run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, ROOT], folder)
        (wheel,) = wheels.glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        bin_folder = folder / "venv" / "bin"
        pinned = folder / "constraints.txt"
        pinned.write_text(
            constraints((ROOT / "requirements.lock").read_text(encoding="utf-8")), encoding="utf-8"
        )
        run([bin_folder / "pip", "install", "--quiet", "--constraint", pinned, wheel], folder)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "PYTHON", "MOLECULE_"))
        }
        environment |= {"PATH": f"{bin_folder}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        away = folder / "elsewhere"
        away.mkdir()
        said = run(
            [
                bin_folder / "ansible-playbook", "-i", options.inventory.resolve(), "--limit", options.host,
                "-e", f"carveout_plan={options.plan.resolve()}", "carveout.memory.site", "--check",
            ],
            away, environment,
        )  # fmt: skip
        print(said[said.index("PLAY RECAP") :])
        if not re.search(rf"^{re.escape(options.host)} .*failed=0", said, re.MULTILINE):
            sys.exit("FAILED: the host is not in the recap")
        print(run([bin_folder / "carveout", "check", options.plan.resolve()], away, environment), end="")
        print(run([bin_folder / "carveout", "--version"], away, environment), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
