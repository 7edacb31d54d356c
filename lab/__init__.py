# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab: a Debian host in QEMU with two NUMA nodes and a real GRUB, to be carved.

``python3 -m lab`` builds its disk image from Debian packages, starts it and gives a way in. It needs nothing but the
standard library and the programs named in tools/system-packages.txt.
"""

from __future__ import annotations
