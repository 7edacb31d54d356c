# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``python -m bench``: every benchmark."""

from __future__ import annotations

from ansible_collections.carveout.memory.bench import fleet, one_host

one_host.report()
print()
fleet.report()
