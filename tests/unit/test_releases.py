# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of differences between kernel releases, and the page that is generated from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._model.releases import DIFFERENCES, has
from ansible_collections.carveout.memory.tools.kernel_docs import PAGE, page

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.1.92", False),
        ("6.1.93", True),
        ("6.1.0-50-amd64", True),
        ("6.1.0-9-amd64", False),
        ("6.8.0-31-generic", False),
        ("6.2.99", False),
        ("6.9.12", False),
        ("6.10", True),
        ("7.2.13+deb14-amd64", True),
    ],
)
def test_older_branches_got_some_changes_too(release: str, expected: bool) -> None:
    assert has(release, "efi-stub-minds-memmap") is expected


def test_every_row_names_its_source() -> None:
    for name, row in DIFFERENCES.items():
        assert row.meaning and row.source, name
        assert all(branch[:2] < row.since for branch in row.stable), name


def test_the_page_on_kernels_is_the_one_that_is_generated() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(), "run: python -m tools.kernel_docs"
