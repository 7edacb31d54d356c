# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One at a time: the boot service may still be at work when a module is already called.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

_BUS = "/sys/bus/dax"


@contextmanager
def exclusive() -> Iterator[None]:
    """Wait until no other Carveout changes DAX devices on this host, then hold that right.

    The lock is on the bus's own directory, so that nothing is left behind. Where the kernel has no
    DAX bus there is nothing to fight over.
    """
    try:
        handle = os.open(_BUS, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
