# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One at a time: two runs on a host, or a run while the boot service is still at work.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: What is changed under the lock. It is on the directory itself, so that nothing is left behind.
DAX_BUS = "/sys/bus/dax"
BOOT = "/boot"


@contextmanager
def exclusive(directory: str) -> Iterator[None]:
    """Wait until no other Carveout changes what the directory stands for, then hold that right.

    Where there is no such directory (a kernel without the DAX bus) there is nothing to fight over.
    """
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
