# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every unit test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure; what has to be quick is measured by `make bench`.
settings.register_profile("carveout", deadline=None)
settings.load_profile("carveout")

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that is the checkout, and by a link the collection."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data measured on real hosts, which is not part of the project.

    `CARVEOUT_SHARED` names the folder that holds it, or it lies beside the checkout as `shared`.
    """
    named = os.environ.get("CARVEOUT_SHARED")
    data = (Path(named) if named else CHECKOUT.parent / "shared") / "data"
    if not data.is_dir():
        pytest.skip(f"no data of real hosts: {data} is missing (CARVEOUT_SHARED names the folder it is in)")
    return data
