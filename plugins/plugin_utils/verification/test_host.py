# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is the host as its layout says? First by the shared expectations, then by raw reads."""

from __future__ import annotations

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._expectations import SUBJECTS, expectations
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.collect import Evidence
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.raw_checks import (
    check_command_line,
    check_device_files,
    check_huge_pages,
    check_memory_map,
    check_own_files,
    check_total,
    check_touched,
)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_expectations(carveout_evidence: Evidence, subject: str, pytestconfig: pytest.Config) -> None:
    evidence, trouble = carveout_evidence, ""
    try:
        found = expectations(
            evidence.layout, evidence.host, committed=pytestconfig.getoption("--carveout-committed")
        )
    except CarveoutError as error:
        trouble = f"{evidence.name}: {error}"
    if trouble:
        pytest.fail(trouble, pytrace=False)
    mine = [expectation for expectation in found if expectation.subject == subject]
    if not mine:
        pytest.skip(f"the layout and the host say nothing of: {subject}")
    _fail_on([expectation.message for expectation in mine if not expectation.met])


def test_raw_command_line(carveout_evidence: Evidence) -> None:
    _fail_on(check_command_line(carveout_evidence.layout, carveout_evidence.raw))


def test_raw_memory_map(carveout_evidence: Evidence) -> None:
    _fail_on(check_memory_map(carveout_evidence.layout, carveout_evidence.raw))


def test_raw_total(carveout_evidence: Evidence) -> None:
    _fail_on(check_total(carveout_evidence.layout, carveout_evidence.raw))


def test_raw_huge_pages(carveout_evidence: Evidence) -> None:
    if not carveout_evidence.layout.hugepages:
        pytest.skip("the layout has no huge pages")
    _fail_on(check_huge_pages(carveout_evidence.layout, carveout_evidence.raw))


def test_raw_dmemfs_file(carveout_evidence: Evidence) -> None:
    if not any(mount.kind == "dmemfs" for mount in carveout_evidence.layout.mounts):
        pytest.skip("the layout has no mount of dmemfs")
    _fail_on(check_touched(carveout_evidence.layout, carveout_evidence.raw))


def test_raw_own_files(carveout_evidence: Evidence) -> None:
    _fail_on(check_own_files(carveout_evidence.layout, carveout_evidence.raw))


def test_raw_device_files(carveout_evidence: Evidence) -> None:
    if not carveout_evidence.layout.devices:
        pytest.skip("the layout has no devices")
    _fail_on(check_device_files(carveout_evidence.layout, carveout_evidence.raw))


def _fail_on(messages: list[str]) -> None:
    if messages:
        pytest.fail("\n".join(messages), pytrace=False)
