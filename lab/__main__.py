# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python3 -m lab COMMAND``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
