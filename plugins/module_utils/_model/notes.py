# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a room of the model has to say beside its result.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """Something to know about a prediction; ``code`` is a stable word for programs."""

    code: str
    message: str
