# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception of the lab."""

from __future__ import annotations


class LabError(Exception):
    """What went wrong and what would help, in one line: it is printed as it is, without a traceback."""
