# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the lab keeps its things."""

from __future__ import annotations

import os
from pathlib import Path


def checkout() -> Path:
    """The root of the checkout that this package lies in."""
    return Path(__file__).resolve().parent.parent


def state_root() -> Path:
    """The directory with one sub-directory for each virtual machine."""
    return checkout() / ".lab"


def cache_root() -> Path:
    """What is worth keeping between checkouts: disk images and the key pairs that they were built with."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification: a relative path is invalid and to be ignored
    parent = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return parent / "carveout" / "lab"
