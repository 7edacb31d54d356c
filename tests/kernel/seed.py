# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The seed of a run for which none is named."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

_DIGITS = 8


def seed_of(folder: Path) -> int:
    """A number that follows from the committed content: a change gets boots of its own, the same ones each time.

    So what failed on another machine fails again here. Where there is no repository it is the time.
    """
    argv = ["git", "-C", str(folder), "rev-parse", "--verify", "HEAD^{tree}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return int(time.time())
    return int(done.stdout[:_DIGITS], 16)
