# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The binding to augeas, where this interpreter has one.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from typing import Any

#: Interpreters of distributions, which their package python3-augeas is for.
SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python")


def open_augeas() -> Any:
    """An augeas that has loaded no file and no lens; None where there is none to be had."""
    try:
        from augeas import Augeas
    except (ImportError, OSError):  # the binding, or the library below it, is missing
        return None
    try:
        return Augeas(root="/", flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD)
    except (RuntimeError, ValueError):
        return None
