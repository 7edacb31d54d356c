# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much of a host the services get that Carveout installs there."""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._boot import trial_switch
from ansible_collections.carveout.memory.plugins.module_utils._host_files import HEADER, unit_texts
from ansible_collections.carveout.memory.plugins.module_utils._mounts import DMEMFS, Mount, service_texts

#: systemd's figure for a service times ten: 0 is best, 100 a service without any limit.
LIMIT = 30

UNITS = {
    **{posixpath.basename(path): text for path, text in unit_texts().items() if path.endswith(".service")},
    **service_texts([Mount("guests", DMEMFS, "/mnt/files", 2 << 20, 1 << 30)], HEADER, "carveout.target"),
    trial_switch.SERVICE: trial_switch.unit_text(trial_switch.HEADER, 900),
}


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def test_all_services_are_looked_at() -> None:
    assert sorted(UNITS) == [
        "carveout-dax.service",
        "carveout-dmemfs-owner.service",
        "carveout-dmemfs.service",
        "carveout-trial.service",
    ]


@pytest.mark.parametrize("name", sorted(UNITS))
def test_exposure_as_systemd_judges_it(name: str, analyze: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(UNITS[name])
    argv = [analyze, "security", "--offline=true", f"--threshold={LIMIT}", "--no-pager", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert re.search(rf"exposure level for {re.escape(name)}: [0-9.]+ ", done.stdout), done.stderr
    assert done.returncode == 0, done.stdout


def test_a_service_without_limits_would_be_noticed(analyze: str, tmp_path: Path) -> None:
    path = tmp_path / "open.service"
    path.write_text("[Service]\nExecStart=/bin/true\n")
    argv = [analyze, "security", "--offline=true", f"--threshold={LIMIT}", "--no-pager", str(path)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
